package dataplane_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// needBPF skips where bpf(2) isn't to be had.
func needBPF(t *testing.T) dataplane.Taker {
	t.Helper()
	k, err := dataplane.NewStealProgram()
	if err != nil {
		if os.Getenv("CI") == "true" && !feature.Off(feature.BPF) {
			t.Fatalf("needs bpf(2): %v", err)
		}
		t.Skipf("needs bpf(2): %v", err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// stealSpec draws a port with up to most vmacs; several share addresses with
// listed senders, the parent and nobody.
func stealSpec(r *rand.Rand, most int) *classify.Spec {
	s := &classify.Spec{Parent: stealMAC(r, most), BCLim: 1, FilterAll: r.IntN(2) == 0}
	modes := []classify.Mode{classify.Bridge, classify.Private, classify.Vepa, classify.Source}
	if r.IntN(4) == 0 {
		modes, most = []classify.Mode{classify.Passthru}, 1
	}
	up := map[classify.MAC]bool{}
	for range r.IntN(most + 1) {
		v := classify.Vmac{Mode: modes[r.IntN(len(modes))], MAC: stealMAC(r, most), Up: r.IntN(4) > 0, Flags: classify.Flags(r.IntN(4))}
		v.Up = v.Up && !up[v.MAC]
		up[v.MAC] = up[v.MAC] || v.Up
		s.Vmacs = append(s.Vmacs, v)
		if e := (classify.SourceEntry{Vmac: len(s.Vmacs) - 1, MAC: stealMAC(r, most)}); v.Mode == classify.Source && r.IntN(2) == 0 {
			s.Sources = append(s.Sources, e)
		}
	}
	return s
}

func stealMAC(r *rand.Rand, of int) classify.MAC {
	n := r.IntN(of + 4)
	return classify.MACFrom([]byte{0x02, 0, byte(n >> 8), 0, 1, byte(n)})
}

func stealFrame(r *rand.Rand, of int) []byte {
	f := make([]byte, 60)
	stealMAC(r, of).Put(f)
	if r.IntN(3) == 0 {
		f[0] |= 1
	}
	stealMAC(r, of).Put(f[6:])
	if r.IntN(16) == 0 {
		f[6] |= 1
	}
	f[12], f[13] = 0x88, 0xb5
	return f
}

// TestStealProgram holds what the kernel's BPF machine answers against the
// decision, on the same random frames, through many changes of one port.
func TestStealProgram(t *testing.T) {
	k := needBPF(t)
	r := rand.New(rand.NewPCG(7, 7))
	reasons := map[classify.Reason]int{}
	for round := range 300 {
		most := []int{1, 4, 12, 12, 300}[r.IntN(5)]
		table, err := classify.NewTable(stealSpec(r, most))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Take(table.Taken()); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			frame := stealFrame(r, most)
			_, v := table.Ingress(frame, classify.Meta{Type: classify.TypeOther}, nil)
			got, err := dataplane.RunSteal(k, slices.Clone(frame))
			if err != nil {
				t.Fatal(err)
			}
			reasons[v.Reason]++
			if got == v.Host {
				t.Fatalf("round %d: taken %v, but the decision is %+v: frame %x", round, got, v, frame)
			}
		}
	}
	for _, want := range []classify.Reason{classify.Unicast, classify.VmacDown, classify.SourceOnly, classify.SourceMode, classify.Echoed, classify.NoOwner, classify.NoReceiver} {
		if reasons[want] == 0 {
			t.Errorf("no frame was decided as %v", want)
		}
	}
}
