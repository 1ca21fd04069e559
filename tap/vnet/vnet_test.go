package vnet

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func TestHdr(t *testing.T) {
	h := Hdr{Flags: 1, GSOType: GSOTCPv4 | GSOECN, HdrLen: 0x1234, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}
	b := make([]byte, HdrLen)
	h.Put(b)
	if got := Parse(b); got != h {
		t.Errorf("Parse(Put(%+v)) = %+v", h, got)
	}
	if !h.IsGSO() || !h.NeedsCsum() || (Hdr{}).IsGSO() || (Hdr{}).NeedsCsum() || (Hdr{Flags: FlagDataValid}).NeedsCsum() {
		t.Error("IsGSO or NeedsCsum")
	}
	if got := Parse(b[:9]); got != (Hdr{}) {
		t.Errorf("Parse of 9 bytes = %+v", got)
	}
	h.Put(b[:9])
}

func TestCheck(t *testing.T) {
	good := Hdr{Flags: FlagNeedsCsum, GSOType: GSOTCPv4, HdrLen: 54, GSOSize: 10, CsumStart: 34, CsumOffset: 16}
	for _, tt := range []struct {
		name   string
		change func(h *Hdr)
		want   error
	}{
		{"good", func(h *Hdr) {}, nil},
		{"zero", func(h *Hdr) { *h = Hdr{} }, nil},
		{"no hint", func(h *Hdr) { h.HdrLen = 0 }, nil},
		{"verified super-frame", func(h *Hdr) { h.Flags = FlagDataValid }, nil},
		{"no super-frame, size ignored", func(h *Hdr) { h.GSOType, h.GSOSize = GSONone, 0 }, nil},
		{"ecn", func(h *Hdr) { h.GSOType |= GSOECN }, nil},
		{"udp", func(h *Hdr) { h.GSOType, h.CsumOffset = GSOUDPL4, 6 }, nil},
		{"last possible checksum", func(h *Hdr) { h.GSOType, h.CsumStart = GSONone, 82 }, nil},
		{"checksum one further", func(h *Hdr) { h.GSOType, h.CsumStart = GSONone, 83 }, ErrHeader},
		{"offset wraps", func(h *Hdr) { h.CsumStart, h.CsumOffset = 34, 0xffff }, ErrHeader},
		{"start wraps", func(h *Hdr) { h.CsumStart, h.CsumOffset = 0xffff, 16 }, ErrHeader},
		{"checksum in the Ethernet header", func(h *Hdr) { h.CsumStart = 0 }, ErrHeader},
		{"tcp header beyond the frame", func(h *Hdr) { h.CsumStart = 81 }, ErrHeader},
		{"tcp with udp's checksum", func(h *Hdr) { h.CsumOffset = 6 }, ErrHeader},
		{"udp with tcp's checksum", func(h *Hdr) { h.GSOType = GSOUDPL4 }, ErrHeader},
		{"hdr_len beyond the frame", func(h *Hdr) { h.HdrLen = 101 }, ErrHeader},
		{"hdr_len alone", func(h *Hdr) { *h = Hdr{HdrLen: 101} }, ErrHeader},
		{"no segment size", func(h *Hdr) { h.GSOSize = 0 }, ErrHeader},
		{"GSO_BY_FRAGS", func(h *Hdr) { h.GSOSize = 0xffff }, ErrHeader},
		{"ufo", func(h *Hdr) { h.GSOType = GSOUFO }, errors.ErrUnsupported},
		{"unknown type", func(h *Hdr) { h.GSOType = 2 }, errors.ErrUnsupported},
		{"ecn alone", func(h *Hdr) { h.GSOType = GSOECN }, errors.ErrUnsupported},
		{"ecn on udp", func(h *Hdr) { h.GSOType, h.CsumOffset = GSOUDPL4|GSOECN, 6 }, errors.ErrUnsupported},
	} {
		h := good
		tt.change(&h)
		raw := make([]byte, HdrLen+100)
		h.Put(raw)
		if err := Check(raw); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := Check(make([]byte, HdrLen+13)); !errors.Is(err, ErrHeader) {
		t.Errorf("13 bytes: %v", err)
	}
	if err := Check(nil); !errors.Is(err, ErrHeader) {
		t.Errorf("nothing: %v", err)
	}
}

func TestInsertVLAN(t *testing.T) {
	for seed := range uint64(200) {
		r := rng(seed)
		p := randomPacket(r)
		raw, _ := p.raw(r)
		buf := append(make([]byte, TagRoom), raw...)
		got := InsertVLAN(buf, 0x88a8, 0xe123)

		q := p
		q.tags = append([]uint16{0x88a8}, p.tags...)
		want := append([]byte(nil), raw[:HdrLen+12]...)
		want = append(append(want, 0x88, 0xa8, 0xe1, 0x23), raw[HdrLen+12:]...)
		h := Parse(raw)
		h.CsumStart += 4
		h.HdrLen += 4
		h.Put(want)
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d:\n got %x\nwant %x", seed, got, want)
		}
		if &got[0] != &buf[0] {
			t.Fatal("result does not start where buf starts")
		}
		if !p.udp || p.payload > 0 {
			segs, _, err := Segment(got, make([]byte, 1<<22), nil)
			if err != nil || len(segs) == 0 {
				t.Fatalf("seed %d: offsets do not fit the frame with the tag: %v", seed, err)
			}
		}
	}
}

func TestInsertVLANEdges(t *testing.T) {
	// A zero header stays zero.
	got := InsertVLAN(make([]byte, TagRoom+HdrLen+60), 0x8100, 5)
	if Parse(got) != (Hdr{}) {
		t.Errorf("header %+v", Parse(got))
	}
	// An offset beyond every frame stays there.
	buf := make([]byte, TagRoom+HdrLen+60)
	Hdr{Flags: FlagNeedsCsum, CsumStart: 0xfffe, HdrLen: 0xfffd}.Put(buf[TagRoom:])
	if h := Parse(InsertVLAN(buf, 0x8100, 5)); h.CsumStart != 0xffff || h.HdrLen != 0xffff {
		t.Errorf("header %+v", h)
	}
	for n := range TagRoom + HdrLen + ethLen {
		if InsertVLAN(make([]byte, n), 0x8100, 5) != nil {
			t.Errorf("%d bytes are no frame", n)
		}
	}
}

func TestAllocs(t *testing.T) {
	r := rng(1)
	p := packet{payload: 60000, gso: 1448, tags: []uint16{0x8100}}
	raw, _ := p.raw(r)
	small, _ := packet{payload: 1000}.raw(r)
	h := Parse(small)
	h.GSOType = GSONone
	bad := append([]byte(nil), raw...)
	bad[1] = GSOUFO
	arena := make([]byte, 1<<17)
	segs, none := make([][]byte, 0, 64), make([][]byte, 0, 64)
	buf := append(make([]byte, TagRoom), raw...)
	for name, f := range map[string]func(){
		"Check":            func() { _ = Check(raw); _ = Check(bad) },
		"Segment":          func() { segs, _, _ = Segment(raw, arena, segs[:0]) },
		"Segment, no room": func() { none, _, _ = Segment(raw, arena[:1000], none[:0]) },
		"Complete":         func() { h.Put(small); _ = Complete(small) },
		"CompleteUnmarked": func() { _ = CompleteUnmarked(small[HdrLen:]) },
		"InsertVLAN":       func() { InsertVLAN(buf, 0x8100, 7) },
	} {
		if n := testing.AllocsPerRun(50, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	if len(segs) == 0 || len(none) != 0 {
		t.Error("Segment without room left segments")
	}
}
