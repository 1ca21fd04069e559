package dataplane_test

import (
	"errors"
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

// TestStealSteady: while what is taken changes to and fro, a frame that is taken
// before and after is taken all the time, and one that never is never is.
func TestStealSteady(t *testing.T) {
	k := needBPF(t)
	mac := func(n int) classify.MAC { return classify.MACFrom([]byte{2, 0, 0, 0, byte(n >> 8), byte(n)}) }
	var a, b classify.Taken
	for n := range 200 {
		a.To = append(a.To, mac(n))
		b.To = append(b.To, mac(100+n))
		if n < 20 {
			b.From = append(b.From, mac(1000+n))
		}
	}
	frame := func(to, from classify.MAC) []byte {
		f := make([]byte, 60)
		to.Put(f)
		from.Put(f[6:])
		return f
	}
	if err := k.Take(a); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for range 150 {
			if err := errors.Join(k.Take(b), k.Take(a)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for n := 0; ; n++ {
		both, none := frame(mac(100+n%100), mac(5000)), frame(mac(400), mac(n%100))
		other := frame(mac(n%100), mac(1000+n%20)) // for where it goes, or where it comes from
		for _, c := range []struct {
			frame []byte
			taken bool
		}{{both, true}, {none, false}, {other, true}} {
			if got, err := dataplane.RunSteal(k, c.frame); err != nil || got != c.taken {
				t.Fatalf("taken %v, %v: frame %x", got, err, c.frame[:14])
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d frames", 3*n)
			// What is no longer taken is not kept for ever.
			if err := errors.Join(k.Take(classify.Taken{}), k.Take(classify.Taken{Unicast: true})); err != nil {
				t.Fatal(err)
			}
			if left := dataplane.StealEntries(k); left != 0 {
				t.Errorf("%d addresses are kept", left)
			}
			return
		default:
		}
	}
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
