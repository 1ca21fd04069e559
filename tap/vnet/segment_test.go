package vnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// checkSegments compares segments with the packet that they were cut from.
func checkSegments(t *testing.T, p packet, payload []byte, segs [][]byte) {
	t.Helper()
	if want := max(1, (len(payload)+int(p.gso)-1)/int(p.gso)); len(segs) != want {
		t.Fatalf("%d segments, want %d", len(segs), want)
	}
	var all []byte
	for i, seg := range segs {
		if Parse(seg) != (Hdr{}) {
			t.Fatalf("segment %d has header %+v", i, Parse(seg))
		}
		d, err := decode(seg[HdrLen:])
		if err != nil {
			t.Fatalf("segment %d: %v", i, err)
		}
		if len(d.tags) != len(p.tags) {
			t.Fatalf("segment %d: tags %v, want %d", i, d.tags, len(p.tags))
		}
		if d.ip4 != nil {
			if d.ip4.Id != p.id+uint16(i) {
				t.Fatalf("segment %d: id %d, first %d", i, d.ip4.Id, p.id)
			}
			if int(d.ip4.Length) != len(d.ip4.Contents)+len(d.ip4.Payload) {
				t.Fatalf("segment %d: IPv4 length %d", i, d.ip4.Length)
			}
		} else if int(d.ip6.Length) != len(seg)-HdrLen-14-4*len(p.tags)-40 {
			t.Fatalf("segment %d: IPv6 length %d", i, d.ip6.Length)
		}
		first, last := i == 0, i == len(segs)-1
		if d.tcp != nil {
			if d.tcp.Seq != p.seq+uint32(len(all)) {
				t.Fatalf("segment %d: seq %d", i, d.tcp.Seq)
			}
			want := p.tcpFlag
			if !first {
				want &^= 0x80
			}
			if !last {
				want &^= 0x09
			}
			if got := d.tcp.Contents[13]; got != want {
				t.Fatalf("segment %d: flags %02x, want %02x", i, got, want)
			}
		}
		if !last && len(d.payload) != int(p.gso) {
			t.Fatalf("segment %d has %d bytes", i, len(d.payload))
		}
		all = append(all, d.payload...)
	}
	if !bytes.Equal(all, payload) {
		t.Fatal("payload changed")
	}
}

func TestSegment(t *testing.T) {
	arena := make([]byte, 1<<20)
	for seed := range uint64(500) {
		r := rng(seed)
		p := randomPacket(r)
		raw, payload := p.raw(r)
		before := bytes.Clone(raw)
		out := make([][]byte, 1, 8)
		segs, rest, err := Segment(raw, arena, out)
		if err != nil {
			t.Fatalf("seed %d, %+v: %v", seed, p, err)
		}
		checkSegments(t, p, payload, segs[1:])
		used := 0
		for _, s := range segs[1:] {
			used += len(s)
			if cap(s) != len(s) {
				t.Fatal("a segment can grow into the next")
			}
		}
		if len(rest) != len(arena)-used || !bytes.Equal(raw, before) {
			t.Fatal("arena or original")
		}
		// Exactly enough room, and a byte less.
		if _, rest, err := Segment(raw, arena[:used], nil); err != nil || len(rest) != 0 {
			t.Fatalf("exact arena: %v, rest %d", err, len(rest))
		}
		segs, rest, err = Segment(raw, arena[:used-1], out)
		if !errors.Is(err, ErrArena) || len(segs) != 1 || len(rest) != used-1 {
			t.Fatalf("small arena: %v", err)
		}
	}
}

// A NIC that merges frames itself gives super-frames whose checksum it verified.
func TestSegmentVerified(t *testing.T) {
	p := packet{payload: 5000, gso: 1400, seq: 7, tcpFlag: 0x99}
	raw, payload := p.raw(rng(1))
	h := Parse(raw)
	h.Flags, h.CsumStart, h.CsumOffset = FlagDataValid, 0, 0
	h.Put(raw)
	segs, _, err := Segment(raw, make([]byte, 1<<16), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkSegments(t, p, payload, segs)

	p = packet{udp: true, payload: 5000, gso: 1400}
	raw, _ = p.raw(rng(1))
	h = Parse(raw)
	at := HdrLen + int(h.CsumStart+h.CsumOffset)
	raw[at], raw[at+1] = 0, 0
	h.Flags = 0
	h.Put(raw)
	segs, _, err = Segment(raw, make([]byte, 1<<16), nil)
	if err != nil || len(segs) != 4 {
		t.Fatalf("%d segments, %v", len(segs), err)
	}
	for _, s := range segs {
		if s[at] != 0 || s[at+1] != 0 {
			t.Error("a datagram sent without checksum got one")
		}
	}
}

func TestSegmentSingle(t *testing.T) {
	raw, payload := packet{payload: 100}.plain(1)
	before := bytes.Clone(raw)
	segs, rest, err := Segment(raw, make([]byte, 1000), nil)
	if err != nil || len(segs) != 1 || len(rest) != 1000-len(raw) || !bytes.Equal(raw, before) {
		t.Fatalf("%d segments, rest %d, %v", len(segs), len(rest), err)
	}
	if d, err := decode(segs[0][HdrLen:]); err != nil || !bytes.Equal(d.payload, payload) {
		t.Error(err)
	}
	if _, _, err := Segment(raw, make([]byte, len(raw)-1), nil); !errors.Is(err, ErrArena) {
		t.Errorf("small arena: %v", err)
	}
}

func TestSegmentRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		p      packet
		change func(raw []byte, h *Hdr)
		want   error
	}{
		{"ufo", packet{udp: true}, func(_ []byte, h *Hdr) { h.GSOType = GSOUFO }, errors.ErrUnsupported},
		{"IPv6 said to be IPv4", packet{v6: true}, func(_ []byte, h *Hdr) { h.GSOType = GSOTCPv4 }, errors.ErrUnsupported},
		{"TCP said to be UDP", packet{}, func(_ []byte, h *Hdr) { h.GSOType, h.CsumOffset = GSOUDPL4, 6 }, errors.ErrUnsupported},
		{"fragment", packet{}, func(raw []byte, _ *Hdr) { raw[HdrLen+20] = 0x20 }, errors.ErrUnsupported},
		{"an inner header's checksum", packet{}, func(_ []byte, h *Hdr) { h.CsumStart += 20 }, ErrHeader},
		{"no segment size", packet{}, func(_ []byte, h *Hdr) { h.GSOSize = 0 }, ErrHeader},
	} {
		p := tt.p
		p.payload, p.gso = 3000, 1000
		raw, _ := p.raw(rng(1))
		h := Parse(raw)
		tt.change(raw, &h)
		h.Put(raw)
		arena := make([]byte, 10000)
		segs, rest, err := Segment(raw, arena, nil)
		if !errors.Is(err, tt.want) || segs != nil || len(rest) != len(arena) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// The smallest segments of the largest frame: bounded by the arena, also where
// an int has 32 bits.
func TestSegmentFlood(t *testing.T) {
	p := packet{v6: true, payload: 65000, gso: 1}
	raw, _ := p.raw(rng(1))
	segs, _, err := Segment(raw, make([]byte, 1<<18), nil)
	if !errors.Is(err, ErrArena) || segs != nil {
		t.Errorf("%d segments, %v", len(segs), err)
	}
}

// FuzzSegment takes any bytes for a raw frame.
func FuzzSegment(f *testing.F) {
	for seed := range uint64(12) {
		p := randomPacket(rng(seed))
		p.payload = int(seed) * 10
		p.gso = uint16(seed) + 3
		raw, _ := p.raw(rng(seed))
		f.Add(raw)
	}
	arena := make([]byte, 1<<20)
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		segs, rest, err := Segment(raw, arena, nil)
		if !bytes.Equal(raw, before) {
			t.Fatal("original changed")
		}
		if err != nil {
			if segs != nil || len(rest) != len(arena) {
				t.Fatal("refused, but something is left")
			}
			return
		}
		h := Parse(raw)
		if !h.IsGSO() {
			return
		}
		frame := raw[HdrLen:]
		l, err := parse(frame)
		if err != nil {
			t.Fatal(err)
		}
		want := frame[l.payload:l.end]
		for _, s := range segs {
			g := s[HdrLen:]
			payload := g[l.payload:]
			if !bytes.HasPrefix(want, payload) || len(payload) > int(h.GSOSize) {
				t.Fatal("payload")
			}
			want = want[len(payload):]
			if !l.v6 && slowSum(g[l.l3:l.l4]) != 0xffff {
				t.Fatal("IPv4 checksum")
			}
			verifyTransport(t, g, l)
		}
		if len(want) != 0 {
			t.Fatalf("%d bytes missing", len(want))
		}
	})
}

// verifyTransport is slow, and takes from l only where the headers start.
func verifyTransport(t *testing.T, g []byte, l offsets) {
	t.Helper()
	var b []byte
	if l.v6 {
		b = append(b, g[l.l3+8:l.l3+40]...)
	} else {
		b = append(b, g[l.l3+12:l.l3+20]...)
	}
	proto, at := byte(6), l.l4+16
	if l.proto == protoUDP {
		proto, at = 17, l.l4+6
	}
	field := binary.BigEndian.Uint16(g[at:])
	b = append(b, 0, proto)
	b = binary.BigEndian.AppendUint16(b, uint16(len(g)-l.l4))
	b = append(b, g[l.l4:]...)
	if l.proto == protoUDP && !l.v6 && field == 0 {
		return
	}
	if slowSum(b) != 0xffff {
		t.Fatalf("transport checksum %04x", field)
	}
}

// FuzzSegmentPacket builds the frame from what the fuzzer says, so that every
// case is a good one.
func FuzzSegmentPacket(f *testing.F) {
	f.Add(uint64(1), uint16(1448), uint16(4000))
	f.Fuzz(func(t *testing.T, seed uint64, gso, payload uint16) {
		r := rng(seed)
		p := randomPacket(r)
		p.gso = max(1, min(gso, 0xfffe))
		p.payload = min(int(payload), 65000-200, int(p.gso)*500)
		raw, want := p.raw(r)
		segs, _, err := Segment(raw, make([]byte, 1<<18), nil)
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		checkSegments(t, p, want, segs)
	})
}

func BenchmarkSegment64K(b *testing.B) {
	for name, p := range map[string]packet{
		"kind=tcp4": {payload: 65000, gso: 1448, tcpOpts: 12},
		"kind=udp6": {payload: 65000, gso: 1448, udp: true, v6: true},
	} {
		b.Run(name, func(b *testing.B) {
			raw, _ := p.raw(rng(1))
			arena := make([]byte, 1<<17)
			segs := make([][]byte, 0, 64)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				segs, _, _ = Segment(raw, arena, segs[:0])
			}
		})
	}
}

func BenchmarkComplete(b *testing.B) {
	raw, _ := packet{payload: 1448}.plain(1)
	h := Parse(raw)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		h.Put(raw)
		_ = Complete(raw)
	}
}

func BenchmarkCheck(b *testing.B) {
	raw, _ := packet{payload: 1448, gso: 1000}.raw(rng(1))
	b.ReportAllocs()
	for b.Loop() {
		_ = Check(raw)
	}
}
