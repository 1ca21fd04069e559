package classify

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// takes is how Taken is meant.
func (k *Taken) takes(frame []byte, typ PacketType) bool {
	if typ == TypeOutgoing || typ == TypeLoopback {
		return false
	}
	to, from := MACFrom(frame), MACFrom(frame[6:])
	switch {
	case slices.Contains(k.From, from):
		return true
	case to.IsGroup():
		return slices.Contains(k.Groups, from)
	}
	return k.Unicast || slices.Contains(k.To, to)
}

// TestTaken holds Taken against the decision itself, on frames that get as far
// as an ingress hook.
func TestTaken(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	reasons := map[Reason]int{}
	for range 20_000 {
		b := make([]byte, 200)
		for i := 0; i < len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], r.Uint64())
		}
		s := &script{b}
		spec := s.spec()
		table, err := NewTable(spec)
		if err != nil {
			t.Fatal(err)
		}
		if k := table.Taken(); k.Unicast && len(k.To) > 0 {
			t.Fatalf("%+v: single addresses beside all", k)
		}
		k := table.Taken()
		for range 8 {
			for i := range s.b {
				s.b[i] = byte(r.Uint32())
			}
			again := &script{slices.Clone(s.b)}
			frame, m := again.frame(), again.meta()
			_, v := table.Ingress(frame, m, nil)
			if v.Reason == Runt || v.Reason == VLANTruncated {
				continue
			}
			reasons[v.Reason]++
			if got := k.takes(frame, m.Type); got == v.Host {
				t.Fatalf("taken %v, but the decision is %+v: frame %x type %v of %+v", got, v, frame, m.Type, spec)
			}
		}
		for _, l := range [][]MAC{k.To, k.From, k.Groups} {
			if !slices.IsSorted(l) || len(slices.Compact(slices.Clone(l))) != len(l) {
				t.Fatalf("list %v", l)
			}
		}
	}
	for _, want := range []Reason{OwnFrame, SourceOnly, NoOwner, SourceMode, Unicast, VmacDown, Echoed, NoGroup, Flooded} {
		if reasons[want] == 0 {
			t.Errorf("no frame was decided as %v", want)
		}
	}
}
