package vnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func TestSum(t *testing.T) {
	r := rng(3)
	b := make([]byte, 700)
	for n := range b {
		for i := range b[:n] {
			b[i] = byte(r.Uint32())
			if n%3 == 0 {
				b[i] = 0xff // carries everywhere
			}
		}
		got := make([]byte, 2)
		binary.NativeEndian.PutUint16(got, fold(sum(b[:n], 0)))
		if want := slowSum(b[:n]); binary.BigEndian.Uint16(got) != want {
			t.Fatalf("%d bytes: %x, want %x", n, got, want)
		}
	}
}

// plain makes an ordinary frame with an unfinished checksum.
func (p packet) plain(seed uint64) (raw, payload []byte) {
	raw, payload = p.raw(rng(seed))
	h := Parse(raw)
	h.GSOType, h.GSOSize = GSONone, 0
	h.Put(raw)
	return raw, payload
}

func TestComplete(t *testing.T) {
	for seed := range uint64(500) {
		p := randomPacket(rng(seed))
		raw, payload := p.plain(seed)
		if err := Complete(raw); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		d, err := decode(raw[HdrLen:])
		if err != nil || !bytes.Equal(d.payload, payload) {
			t.Fatalf("seed %d, %+v: %v", seed, p, err)
		}
		if h := Parse(raw); h.NeedsCsum() || h.CsumStart != 0 || h.CsumOffset != 0 {
			t.Fatalf("header %+v", h)
		}
		again := bytes.Clone(raw)
		if err := Complete(again); err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("seed %d: completing twice changes the frame: %v", seed, err)
		}
		// From scratch, whatever stands there.
		scratch := bytes.Clone(raw[HdrLen:])
		full, _ := p.plain(seed)
		h := Parse(full)
		scratch[int(h.CsumStart)+int(h.CsumOffset)] ^= 0x5a
		if err := CompleteUnmarked(scratch); err != nil || !bytes.Equal(scratch, raw[HdrLen:]) {
			t.Fatalf("seed %d: CompleteUnmarked: %v", seed, err)
		}
	}
}

// TestZeroBecomesFFFF looks for payloads whose checksum is zero.
func TestZeroBecomesFFFF(t *testing.T) {
	p := packet{udp: true, payload: 2}
	raw, _ := p.plain(1)
	at := len(raw) - 2
	for v := range 1 << 16 {
		trial := bytes.Clone(raw)
		binary.BigEndian.PutUint16(trial[at:], uint16(v))
		if err := Complete(trial); err != nil {
			t.Fatal(err)
		}
		if trial[at-2] == 0 && trial[at-1] == 0 {
			t.Fatalf("payload %04x: no checksum", v)
		}
		if trial[at-2] == 0xff && trial[at-1] == 0xff {
			if _, err := decode(trial[HdrLen:]); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no payload has checksum zero")
}

func TestCompleteRefuses(t *testing.T) {
	raw, _ := packet{payload: 3000, gso: 1000}.raw(rng(1))
	before := bytes.Clone(raw)
	if err := Complete(raw); err == nil || !bytes.Equal(raw, before) {
		t.Errorf("super-frame: %v", err)
	}
	for _, tt := range []struct {
		name   string
		p      packet
		change func(f []byte)
		want   error
	}{
		{"IPv4 first fragment", packet{payload: 100}, func(f []byte) { f[20] |= 0x20 }, errors.ErrUnsupported},
		{"IPv4 last fragment", packet{payload: 100}, func(f []byte) { f[21] = 9 }, errors.ErrUnsupported},
		{"ICMP", packet{payload: 100}, func(f []byte) { f[23] = 1 }, errors.ErrUnsupported},
		{"ARP", packet{payload: 100}, func(f []byte) { f[13] = 6 }, errors.ErrUnsupported},
		{"IPv6 fragment", packet{v6: true, options: 8, payload: 100}, func(f []byte) { f[20] = 44 }, errors.ErrUnsupported},
		{"IPv6 routing", packet{v6: true, options: 8, payload: 100}, func(f []byte) { f[20], f[57] = 43, 1 }, errors.ErrUnsupported},
		{"no next header", packet{v6: true, payload: 100}, func(f []byte) { f[20] = 59 }, errors.ErrUnsupported},
		{"extension beyond the packet", packet{v6: true, options: 8, payload: 10}, func(f []byte) { f[55] = 200 }, ErrHeader},
		{"IPv4 length beyond the frame", packet{payload: 100}, func(f []byte) { f[16] = 9 }, ErrHeader},
		{"IPv4 length below its header", packet{payload: 100}, func(f []byte) { f[16], f[17] = 0, 19 }, ErrHeader},
		{"IHL 4", packet{payload: 100}, func(f []byte) { f[14] = 0x44 }, ErrHeader},
		{"version 5", packet{payload: 100}, func(f []byte) { f[14] = 0x55 }, ErrHeader},
		{"TCP header beyond the packet", packet{payload: 0}, func(f []byte) { f[46] = 0xf0 }, ErrHeader},
		{"TCP header too short", packet{payload: 100}, func(f []byte) { f[46] = 0x40 }, ErrHeader},
		{"UDP length beyond the packet", packet{udp: true, payload: 100}, func(f []byte) { f[39]++ }, ErrHeader},
		{"UDP length below its header", packet{udp: true, payload: 100}, func(f []byte) { f[39] = 7 }, ErrHeader},
	} {
		raw, _ := tt.p.plain(1)
		f := raw[HdrLen:]
		tt.change(f)
		before := bytes.Clone(f)
		if err := CompleteUnmarked(f); !errors.Is(err, tt.want) || !bytes.Equal(f, before) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestSCTP(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		var network gopacket.SerializableLayer = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolSCTP, SrcIP: net.IPv4(10, 0, 0, 1), DstIP: net.IPv4(10, 0, 0, 2)}
		etype, l4 := layers.EthernetTypeIPv4, 34
		if v6 {
			network = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolSCTP, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("fd00::2")}
			etype, l4 = layers.EthernetTypeIPv6, 54
		}
		buf := gopacket.NewSerializeBuffer()
		err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: etype}, network,
			&layers.SCTP{SrcPort: 1, DstPort: 2, VerificationTag: 0x12345678}, gopacket.Payload("\x0b\x00\x00\x04"))
		if err != nil {
			t.Fatal(err)
		}
		want := buf.Bytes()
		raw := append(make([]byte, HdrLen), want...)
		copy(raw[HdrLen+l4+8:], "\xde\xad\xbe\xef")
		if err := CompleteUnmarked(raw[HdrLen:]); err != nil || !bytes.Equal(raw[HdrLen:], want) {
			t.Errorf("v6 %v: %v\n got %x\nwant %x", v6, err, raw[HdrLen:], want)
		}
		copy(raw[HdrLen+l4+8:], "\xde\xad\xbe\xef")
		Hdr{Flags: FlagNeedsCsum, CsumStart: uint16(l4), CsumOffset: 8}.Put(raw)
		if err := Complete(raw); err != nil || !bytes.Equal(raw[HdrLen:], want) || Parse(raw) != (Hdr{}) {
			t.Errorf("v6 %v: %v\n got %x\nwant %x", v6, err, raw[HdrLen:], want)
		}
	}
}

func FuzzComplete(f *testing.F) {
	for seed := range uint64(8) {
		raw, _ := randomPacket(rng(seed)).plain(seed)
		f.Add(raw[:min(len(raw), 200)])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		one := bytes.Clone(raw)
		h := Parse(raw)
		if err := Complete(one); err == nil && h.NeedsCsum() && h.CsumOffset == sctpCsum {
			return // perhaps a CRC
		} else if err == nil && h.NeedsCsum() {
			// The finished checksum makes the sum from csum_start that of the
			// pseudo-header's complement, which was in the field.
			b := raw[HdrLen+int(h.CsumStart):]
			want := ^slowSum(b)
			if want == 0 {
				want = 0xffff
			}
			got := binary.BigEndian.Uint16(one[HdrLen+int(h.CsumStart)+int(h.CsumOffset):])
			if got != want {
				t.Fatalf("checksum %04x, want %04x", got, want)
			}
		} else if !bytes.Equal(one, raw) {
			t.Fatal("frame changed")
		}
		if len(raw) < HdrLen {
			return
		}
		frame := bytes.Clone(raw[HdrLen:])
		if CompleteUnmarked(frame) == nil {
			again := bytes.Clone(frame)
			if err := CompleteUnmarked(again); err != nil || !bytes.Equal(again, frame) {
				t.Fatalf("second time: %v", err)
			}
		} else if !bytes.Equal(frame, raw[HdrLen:]) {
			t.Fatal("refused and changed")
		}
	})
}

func FuzzInsertVLAN(f *testing.F) {
	raw, _ := packet{payload: 20}.plain(1)
	f.Add(append(make([]byte, TagRoom), raw...), uint16(0x8100), uint16(1))
	f.Fuzz(func(t *testing.T, buf []byte, tpid, tci uint16) {
		before := bytes.Clone(buf)
		got := InsertVLAN(buf, tpid, tci)
		if got == nil {
			if len(buf) >= TagRoom+HdrLen+ethLen || !bytes.Equal(buf, before) {
				t.Fatal("refused a frame, or changed what it refused")
			}
			return
		}
		frame := got[HdrLen:]
		if !bytes.Equal(frame[:12], before[TagRoom+HdrLen:][:12]) || !bytes.Equal(frame[16:], before[TagRoom+HdrLen+12:]) ||
			binary.BigEndian.Uint16(frame[12:]) != tpid || binary.BigEndian.Uint16(frame[14:]) != tci {
			t.Fatal("frame")
		}
		if (Check(before[TagRoom:]) == nil) != (Check(got) == nil) {
			t.Fatalf("Check: %v before, %v behind", Check(before[TagRoom:]), Check(got))
		}
	})
}
