package classify

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// script turns bytes into choices; when it is used up every choice is the first.
type script struct{ b []byte }

func (s *script) byte() byte {
	if len(s.b) == 0 {
		return 0
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c
}

func (s *script) below(n int) int { return int(s.byte()) % n }
func (s *script) flip() bool      { return s.byte()&1 == 1 }

func oneOf[T any](s *script, of []T) T { return of[s.below(len(of))] }

// A small alphabet, so that addresses collide: owners, listed senders, the
// parent, strangers, three in one bucket; groups that share their last four
// octets.
var (
	unicasts = macs("02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:01:03", "02:00:00:00:01:04",
		"02:00:00:00:01:05", "02:00:00:00:01:06", "02:00:00:00:00:0a", "02:00:00:00:0e:01", "02:00:00:00:0e:02",
		"00:00:5e:00:01:01", "fe:ff:ff:ff:ff:ff", "02:00:00:62:02:01", "02:00:00:99:02:01")
	groups = macs("ff:ff:ff:ff:ff:ff", "01:00:5e:11:22:33", "33:33:5e:11:22:33", "01:00:5e:44:55:66",
		"01:80:c2:00:00:00", "01:80:c2:00:00:01", "33:33:00:00:00:01", "03:00:ff:ff:ff:ff", "01:02:03:04:05:06",
		"03:00:00:00:01:01")
	odd = macs("00:00:00:00:00:00", "02:00:00:00:77:77", "01:00:00:00:00:00")
)

func macs(list ...string) []MAC {
	out := make([]MAC, len(list))
	for i, s := range list {
		m, err := ParseMAC(s)
		if err != nil {
			panic(err)
		}
		out[i] = m
	}
	return out
}

func (s *script) spec() *Spec {
	spec := &Spec{
		Parent: oneOf(s, unicasts), ParentDown: s.below(16) == 15, FilterAll: s.flip(), QueueCounts: s.below(4) == 3,
		BCLim: oneOf(s, []int32{1, 0, -1, 2, 3, -5, 1 << 30}),
	}
	if s.below(8) == 7 {
		spec.Broadcast = oneOf(s, groups)
	}
	for n := s.below(9); len(spec.Vmacs) < n; {
		v := Vmac{
			Mode: oneOf(s, []Mode{Bridge, Private, Vepa, Source, Passthru}), Flags: Flags(s.below(4)),
			MAC: oneOf(s, unicasts), Up: s.below(4) != 3, UpSeq: uint64(s.below(6)),
			Promisc: s.below(8) == 7, Allmulti: s.below(8) == 7, FilterKey: oneOf(s, []uint32{0, 1, 0x9e3779b9, 0xffffffff}),
			BCQueueLen: uint32(s.byte()),
		}
		if s.below(4) == 3 {
			v.MTU = oneOf(s, []int{68, 40, 1500, math.MaxInt32})
		}
		if s.below(8) == 7 {
			v.Broadcast = oneOf(s, groups)
		}
		for range s.below(4) {
			v.Groups = append(v.Groups, oneOf(s, groups))
		}
		spec.Vmacs = append(spec.Vmacs, v)
	}
	spec.repair()
	for range s.below(8) {
		if len(spec.Vmacs) == 0 {
			break
		}
		e := SourceEntry{s.below(len(spec.Vmacs)), oneOf(s, unicasts)}
		if spec.Vmacs[e.Vmac].Mode == Source && !slices.Contains(spec.Sources, e) {
			spec.Sources = append(spec.Sources, e)
		}
	}
	return spec
}

// repair makes a port that Validate accepts: a passthru vmac stands alone, and
// of several with one address only the first is up.
func (spec *Spec) repair() {
	up := map[MAC]bool{}
	for i := range spec.Vmacs {
		v := &spec.Vmacs[i]
		if v.Mode == Passthru && len(spec.Vmacs) > 1 {
			if i == 0 {
				spec.Vmacs = spec.Vmacs[:1]
				return
			}
			v.Mode = Bridge
		}
		v.Up = v.Up && !up[v.MAC]
		up[v.MAC] = up[v.MAC] || v.Up
	}
}

func (s *script) frame() []byte {
	if s.below(16) == 15 {
		return s.b
	}
	b := make([]byte, 14, 80)
	for i := range 2 {
		m := oneOf(s, unicasts)
		switch s.below(8) {
		case 5, 6:
			m = oneOf(s, groups)
		case 7:
			m = oneOf(s, odd)
		}
		m.Put(b[6*i:])
	}
	types := []uint16{0x88b5, 0x0800, 0x8808, 0x8100, 0x88a8, 0x9100, 0x0806}
	binary.BigEndian.PutUint16(b[12:], oneOf(s, types))
	b = binary.BigEndian.AppendUint16(b, uint16(s.byte()))
	b = binary.BigEndian.AppendUint16(b, oneOf(s, types))
	b = append(b, make([]byte, 62)...)
	return b[:oneOf(s, []int{60, 14, 13, 16, 18, 19, 20, 59, 80, 0})]
}

func (s *script) meta() Meta {
	return Meta{Type: PacketType(oneOf(s, []int{3, 0, 1, 2, 3, 4, 5, 7})), GSO: s.below(4) == 3}
}

// checkEqual asserts fast == slow == Explain for one frame in one direction.
func checkEqual(t *testing.T, spec *Spec, table *Table, frame []byte, from int, m Meta) {
	t.Helper()
	slow := slowPort{spec}
	before := Copy{Vmac: -1} // what is in the slice stays there
	var want, got []Copy
	var wantV, gotV Verdict
	if from == FromWire {
		want, wantV = slow.netifReceiveSkbCore(frame, m, nil)
		got, gotV = table.Ingress(frame, m, []Copy{before})
	} else {
		want, wantV = slow.macvlanQueueXmit(from, frame, m, nil)
		got, gotV = table.Egress(from, frame, m, []Copy{before})
	}
	if len(got) == 0 || got[0] != before {
		t.Fatalf("the table doesn't append\n%s", dump(spec, frame, from, m, gotV, got, wantV, want, table.Explain(frame, from, m)))
	}
	got = got[1:]
	x := table.Explain(frame, from, m)
	if gotV != wantV || !slices.Equal(got, want) {
		t.Fatalf("the table and the reference differ\n%s", dump(spec, frame, from, m, gotV, got, wantV, want, x))
	}
	if x.Verdict != gotV || !slices.Equal(x.Copies, got) {
		t.Fatalf("Explain and the table differ\n%s", dump(spec, frame, from, m, x.Verdict, x.Copies, gotV, got, x))
	}
	if err := checkExplanation(spec, x); err != nil {
		t.Fatalf("Explain: %v\n%s", err, dump(spec, frame, from, m, x.Verdict, x.Copies, gotV, got, x))
	}
}

// checkExplanation asserts that each vmac has one reason, and that it agrees
// with the copies.
func checkExplanation(spec *Spec, x Explanation) error {
	if len(x.Vmacs) != len(spec.Vmacs) || len(x.Steps) == 0 {
		return fmt.Errorf("%d vmacs of %d, %d steps", len(x.Vmacs), len(spec.Vmacs), len(x.Steps))
	}
	for i, o := range x.Vmacs {
		var arrivals []Arrival
		for _, c := range x.Copies {
			if int(c.Vmac) == i && c.Path != Skipped {
				arrivals = append(arrivals, Arrival{c.Path, c.Type})
			}
			if int(c.Vmac) == i && c.Path == Skipped && o.Reason != Delivered && o.Reason != c.Reason {
				return fmt.Errorf("vmac %d: %v, but its copy was skipped for %v", i, o.Reason, c.Reason)
			}
		}
		if !slices.Equal(arrivals, o.Copies) || (len(arrivals) > 0) != (o.Reason == Delivered) {
			return fmt.Errorf("vmac %d: %v with %v, planned %v", i, o.Reason, o.Copies, arrivals)
		}
		if !spec.Vmacs[i].Up && o.Reason == Delivered {
			return fmt.Errorf("vmac %d is down and got a copy", i)
		}
	}
	return nil
}

func dump(spec *Spec, frame []byte, from int, m Meta, v1 Verdict, c1 []Copy, v2 Verdict, c2 []Copy, x Explanation) string {
	s := fmt.Sprintf("frame %x from %d %+v\nparent %v\n", frame, from, m, spec.Parent)
	for i, v := range spec.Vmacs {
		s += fmt.Sprintf("vmac %d %+v\n", i, v)
	}
	return s + fmt.Sprintf("sources %v\ngot  %+v %+v\nwant %+v %+v\n%s", spec.Sources, v1, c1, v2, c2, x)
}

// checkScript runs one spec and as many frames as the bytes tell.
func checkScript(t *testing.T, b []byte, frames int) {
	s := &script{b}
	spec := s.spec()
	table, err := NewTable(spec)
	if err != nil {
		t.Fatalf("NewTable(%+v): %v", spec, err)
	}
	for range frames {
		frame, m := s.frame(), s.meta()
		checkEqual(t, spec, table, frame, FromWire, m)
		for i := range spec.Vmacs {
			checkEqual(t, spec, table, frame, i, m)
		}
	}
}

func TestFastSlowExplainAgree(t *testing.T) {
	specs := 8000
	if testing.Short() {
		specs = 250
	}
	for seed := range specs {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		checkScript(t, b, 16)
		if t.Failed() {
			return
		}
	}
}

func FuzzDecision(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 40, 120, 250} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkScript(t, b, 2) })
}

// FuzzFrame takes the frame as it is, on a port of every mode.
func FuzzFrame(f *testing.F) {
	spec := topology("MIX")
	table, err := NewTable(spec)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x0e\x02\x81\x00\x00\x0a\x88\x08\x00\x00"} {
		f.Add([]byte(s), byte(3), false)
	}
	f.Fuzz(func(t *testing.T, frame []byte, typ byte, gso bool) {
		m := Meta{Type: PacketType(typ), GSO: gso}
		checkEqual(t, spec, table, frame, FromWire, m)
		for i := range spec.Vmacs {
			checkEqual(t, spec, table, frame, i, m)
		}
	})
}
