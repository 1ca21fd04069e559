package classify

import (
	"math"
	"testing"
)

// The bucket and the filter bit are what the reference, which was written beside
// the driver, computes.
func TestHashes(t *testing.T) {
	for _, m := range append(append(append([]MAC{}, unicasts...), groups...), odd...) {
		if got, want := int(m.bucket()), slowEthHash(m); got != want {
			t.Errorf("bucket of %v: %d, want %d", m, got, want)
		}
		for _, key := range []uint32{0, 1, 0xdeadbeef} {
			if got, want := int(m.groupHash(key)), slowMCHash(key, m); got != want {
				t.Errorf("bit of %v with %#x: %d, want %d", m, key, got, want)
			}
		}
	}
}

// Addresses with a pattern must not pile up, nor any be lost.
func TestMACHash(t *testing.T) {
	for name, address := range map[string]func(i int) MAC{
		"last octets":   func(i int) MAC { return 2 | MAC(i>>8&0xff)<<32 | MAC(i&0xff)<<40 },
		"middle octets": func(i int) MAC { return 2 | MAC(i)<<16 },
		"first octets":  func(i int) MAC { return MAC(i+1) << 1 },
		"inverse of the multiplier": func(i int) MAC {
			return MAC(uint64(i+1)*0xf1de83e19937733d) & Broadcast &^ 1
		},
	} {
		for _, n := range []int{0, 1, 2, 3, 255, 4096, 1 << 16} {
			slots, have := []uint64(nil), map[MAC]bool{}
			for i := range n {
				if m := address(i); m != 0 && !have[m] {
					have[m] = true
					slots = append(slots, uint64(m)|uint64(i)<<48)
				}
			}
			h := newMACHash(slots)
			for _, s := range slots {
				if got := h.lookup(MAC(s & macMask)); got != s {
					t.Fatalf("%s, %d: looking up %x gives %x", name, n, s, got)
				}
			}
			for i := range 1000 {
				m := MAC(uint64(i)*0x9E3779B97F4A7C15) & Broadcast &^ 1
				if got := h.lookup(m); got != 0 && !have[m] {
					t.Fatalf("%s, %d: %v is nobody's, got %x", name, n, m, got)
				}
			}
			if probe := h.worst(); probe > 4*longestProbe {
				t.Errorf("%s, %d: %d probes", name, n, probe)
			}
		}
	}
}

func (h *macHash) worst() (probe int) {
	for i, s := range h.slots {
		if s != 0 {
			probe = max(probe, i-int((s&macMask&^notByDst)*h.mul>>h.shift))
		}
	}
	return probe
}

// A run that reaches the end of the table goes on behind it.
func TestHashEnd(t *testing.T) {
	last := bunch(4, 6, 63)
	h := macHash{slots: make([]uint64, 64), mul: multipliers[0], shift: 64 - 6}
	s := sourceHash{keys: make([]MAC, 64), lists: make([]sourceList, 64), shift: 64 - 6}
	for i, m := range last[:3] {
		h.insert(uint64(m) | uint64(i)<<48)
		s.insert(m, sourceList{end: uint32(i)})
	}
	for i, m := range last[:3] {
		if slot := h.lookup(m); vmacOf(slot) != int32(i) || MAC(slot&macMask) != m {
			t.Errorf("%v is at %x", m, slot)
		}
		if at := s.find(m); at < 0 || s.keys[at] != m || s.lists[at].end != uint32(i) {
			t.Errorf("%v is key %d", m, at)
		}
	}
	if h.lookup(last[3]) != 0 || s.find(last[3]) != -1 {
		t.Errorf("%v is found, and isn't there", last[3])
	}
	if len(h.slots) != 64+2 || len(s.keys) != 64+2 || len(s.lists) != 64+2 {
		t.Errorf("%d slots, %d keys, %d lists: two more than 64 are taken", len(h.slots), len(s.keys), len(s.lists))
	}
}

// bunch returns n addresses that hash to one slot of a table with so many bits.
func bunch(n int, bits uint8, slot uint64) (list []MAC) {
	for m := MAC(2); len(list) < n; m += 2 {
		if uint64(m)*multipliers[0]>>(64-bits) == slot {
			list = append(list, m)
		}
	}
	return list
}

// The first multiplier is good enough if no address is further than longestProbe
// from its place.
func TestSecondMultiplier(t *testing.T) {
	for n, want := range map[int]uint64{longestProbe + 1: multipliers[0], longestProbe + 2: multipliers[1]} {
		var slots []uint64
		for i, m := range bunch(n, 7, 5) {
			slots = append(slots, uint64(m)|uint64(i)<<48)
		}
		if h := newMACHash(slots); h.mul != want || h.shift != 64-7 {
			t.Errorf("%d addresses in one place: multiplier %#x, want %#x; shift %d", n, h.mul, want, h.shift)
		}
	}
}

// At most a quarter of the slots is taken, and no more are made than that needs.
func TestHashSizes(t *testing.T) {
	for n, want := range map[int]uint8{0: 1, 1: 2, 2: 3, 3: 4, 4: 4, 5: 5, 16: 6, 17: 7} {
		slots := make([]uint64, n)
		spec := &Spec{Vmacs: []Vmac{{Mode: Source, MAC: 2}}}
		for i := range slots {
			slots[i] = 2 * uint64(i+1)
			spec.Sources = append(spec.Sources, SourceEntry{0, MAC(slots[i])})
		}
		if h := newMACHash(slots); h.shift != 64-want {
			t.Errorf("%d vmacs: shift %d, want %d", n, h.shift, 64-want)
		}
		table, err := NewTable(spec)
		if err != nil {
			t.Fatal(err)
		}
		switch h := table.sources; {
		case n == 0 && h.keys != nil:
			t.Errorf("no listed address, %d keys", len(h.keys))
		case n > 0 && h.shift != 64-max(want, 6):
			t.Errorf("%d listed addresses: shift %d, want %d", n, h.shift, 64-max(want, 6))
		}
	}
}

// An address in the very first place is found like any other, and the zero
// address never is.
func TestFirstSlot(t *testing.T) {
	listed := bunch(1, 6, 0)[0]
	spec := parseTopology("s1:source:07 b1:bridge:05")
	spec.Sources = []SourceEntry{{0, listed}}
	table, err := NewTable(spec)
	if err != nil {
		t.Fatal(err)
	}
	if table.sources.find(listed) != 0 || table.sources.find(0) != -1 {
		t.Errorf("%v is key %d, the zero address %d", listed, table.sources.find(listed), table.sources.find(0))
	}
	for _, dst := range []MAC{spec.Vmacs[1].MAC, Broadcast} {
		frame := make([]byte, 60)
		dst.Put(frame)
		listed.Put(frame[6:])
		checkEqual(t, spec, table, frame, FromWire, Meta{Type: TypeOther})
	}
}

// Nobody owns a group, not even the vmac whose address differs in that bit alone
// and which stands where the search begins.
func TestGroupHasNoOwner(t *testing.T) {
	m := named("ext")
	table := &Table{hash: macHash{slots: make([]uint64, 4), shift: 62}} // without a multiplier all begins at 0
	table.hash.insert(uint64(m) | 3<<48)
	if got := table.owner(m); got != 3 {
		t.Errorf("%v is owned by %d", m, got)
	}
	if got := table.owner(m | 1); got != -1 {
		t.Errorf("%v is owned by %d", m|1, got)
	}
}

// Lengths that no frame has.
func TestLimits(t *testing.T) {
	huge := uint32(min(uint64(math.MaxInt), math.MaxUint32))
	for _, c := range []struct{ got, want uint32 }{
		{frameLimit(60, Meta{}), 60}, {frameLimit(60, Meta{GSO: true}), 0}, {frameLimit(math.MaxInt, Meta{}), huge},
		{maxForward(1500), 1518}, {maxForward(1), 19}, {maxForward(0), math.MaxUint32},
		{maxForward(math.MaxInt), uint32(min(uint64(math.MaxInt)+18, math.MaxUint32))},
	} {
		if c.got != c.want {
			t.Errorf("%d, want %d", c.got, c.want)
		}
	}
}
