package classify

import (
	"encoding/json"
	"net"
	"testing"
)

func TestParseMAC(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string // empty: refused
	}{
		{"02:00:00:00:0e:01", "02:00:00:00:0e:01"},
		{"2:0:0:0:E:1", "02:00:00:00:0e:01"},
		{"FF:ff:Ff:fF:ff:FF", "ff:ff:ff:ff:ff:ff"},
		{"00-00-5e-00-01-01", "00:00:5e:00:01:01"},
		{"0200.0000.0e01", "02:00:00:00:0e:01"},
		{in: ""}, {in: "02"}, {in: "02:00:00:00:0e"}, {in: "02:00:00:00:0e:01:02"}, {in: "02:00:00:00:0e:"},
		{in: "02:00:00:00:0e:001"}, {in: "02:00:00:00:0e:0g"}, {in: "2-0-0-0-e-1"}, {in: "200.0.e01"},
		{in: "02:00:00-00:0e:01"}, {in: " 02:00:00:00:0e:01"}, {in: "02:00:00:00:00:00:0e:01"}, {in: "+2:0:0:0:0:1"},
		{in: "127.0.0.1"}, {in: "020000000e01"},
	} {
		m, err := ParseMAC(c.in)
		if (err == nil) != (c.want != "") || err == nil && m.String() != c.want {
			t.Errorf("ParseMAC(%q) = %v, %v, want %q", c.in, m, err, c.want)
		}
	}
}

func TestMAC(t *testing.T) {
	m := named("02:01:5e:7f:0e:fd")
	b := m.Bytes()
	if want := (net.HardwareAddr{2, 1, 0x5e, 0x7f, 0xe, 0xfd}); net.HardwareAddr(b[:]).String() != want.String() || m.String() != want.String() {
		t.Errorf("Bytes %x, String %v, want %v", b, m, want)
	}
	put := make([]byte, 8)
	m.Put(put)
	if MACFrom(put) != m || put[6] != 0 {
		t.Errorf("Put wrote %x", put)
	}
	if Broadcast.String() != "ff:ff:ff:ff:ff:ff" || !Broadcast.IsGroup() || Broadcast.IsValid() {
		t.Error("Broadcast is not the broadcast address")
	}
	for _, c := range []struct {
		mac                MAC
		group, zero, valid bool
	}{{0, false, true, false}, {m, false, false, true}, {m | 1, true, false, false}, {m | 1<<48, false, false, false}} {
		if c.mac.IsGroup() != c.group || c.mac.IsZero() != c.zero || c.mac.IsValid() != c.valid {
			t.Errorf("%#x: group %v zero %v valid %v", uint64(c.mac), c.mac.IsGroup(), c.mac.IsZero(), c.mac.IsValid())
		}
	}
}

func TestText(t *testing.T) {
	type all struct {
		MAC   MAC
		Mode  Mode
		Flags Flags
		Keys  map[MAC]int
	}
	in := all{named("ext"), Passthru, NoPromisc | NoDst, map[MAC]int{named("virt"): 1}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"MAC":"02:00:00:00:0e:01","Mode":"passthru","Flags":"nopromisc nodst","Keys":{"00:00:5e:00:01:01":1}}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var out all
	if err := json.Unmarshal(b, &out); err != nil || out.MAC != in.MAC || out.Mode != in.Mode || out.Flags != in.Flags || out.Keys[named("virt")] != 1 {
		t.Errorf("read back %+v, %v", out, err)
	}
	for _, bad := range []string{`{"MAC":"x"}`, `{"Mode":"macvtap"}`, `{"Flags":"nodst,nopromisc"}`} {
		if err := json.Unmarshal([]byte(bad), &out); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if out.Mode != Passthru {
		t.Error("a refused text has changed the value")
	}
	if f, err := ParseFlags("null"); f != 0 || err != nil {
		t.Errorf("flags null: %v, %v", f, err)
	}
	for _, m := range []Mode{0, 3, 32, 128} {
		if m.IsValid() {
			t.Errorf("mode %d is valid", m)
		}
	}
	if s := Mode(3).String() + Flags(9).String() + PacketType(9).String() + Path(9).String(); s != "mode(3)nopromisc flags(0x8)type(9)path(9)" {
		t.Error(s)
	}
}

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
	var last []MAC
	for m := MAC(2); len(last) < 4; m += 2 {
		if uint64(m)*multipliers[0]>>(64-6) == 63 {
			last = append(last, m)
		}
	}
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
}
