package lab

import (
	"context"
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab/random"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// seeds are those that run always; each has shown something once.
var seeds = []struct{ seed, number uint64 }{{3, 10}, {11, 3}, {21, 52}, {22, 37}, {22, 57}, {4, 32}}

// fuzz plays the fixed seeds in these ways.
func fuzz(t *testing.T, ways ...scenario.Player) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	frames := 0
	for _, n := range seeds {
		r, err := random.Run(context.Background(), ways, random.Options{
			Seed: n.seed, First: n.number, Scenarios: 1, Size: random.Size{Frames: 300, Controls: 20}, Compare: CompareBursts,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			t.Errorf("seed %d, %v", n.seed, f)
			for _, d := range f.Differences {
				t.Logf("%s: %s %s", f.Scenario.Steps[d.Step].String(), d.Who, d.What)
			}
		}
		frames += r.Frames
	}
	t.Logf("%d frames", frames)
}

func TestFuzzEmulator(t *testing.T) {
	Need(t, NeedNS, NeedTUN)
	e := EmulatorPlayer()
	fuzz(t, scenario.NewModel(), Bursts{e})
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestFuzzKernel(t *testing.T) {
	Need(t, NeedNS, NeedTUN, NeedMacvlan)
	k, e := KernelPlayer(), EmulatorPlayer()
	fuzz(t, Bursts{k}, scenario.NewModel(), Bursts{e})
	for _, p := range []*Player{k, e} {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A burst observes what the frames do one by one.
func TestBurstsAreThePlayer(t *testing.T) {
	Need(t, NeedNS, NeedMacvlan)
	k := KernelPlayer()
	defer k.Close()
	s := random.New(5, 1, random.Size{Frames: 80, Controls: 8})
	one, err := k.Play(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	model, err := scenario.NewModel().Play(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	// A burst doesn't look for groups that leak through a filter by chance.
	var all *scenario.Result
	for range 20 {
		if all, err = (Bursts{k}).Play(context.Background(), s); err != nil {
			t.Fatal(err)
		}
		if !random.Leaked(s, model, all) {
			break
		}
	}
	for _, d := range scenario.Compare(s, random.Fold(s, one), all) {
		if d.Who != scenario.Port || d.Kind != scenario.KindCounter {
			t.Errorf("%s: %s %s", s.Steps[d.Step].String(), d.Who, d.What)
		}
	}
}
