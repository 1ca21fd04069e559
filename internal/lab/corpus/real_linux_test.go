package corpus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// The kernel's driver does what the files say, and the model what the kernel
// does. The emulator does so too, but for what docs/semantics.md lists, and all
// that it lists happens.
func TestReal(t *testing.T) {
	lab.Need(t, lab.NeedNS)
	list := read(t)
	if testing.Short() {
		list = sample(list)
	}
	model := map[string]*scenario.Result{}
	for _, s := range list {
		if s.Runs(scenario.Model) {
			r, err := scenario.NewModel().Play(context.Background(), s)
			if err != nil {
				t.Fatal(err)
			}
			model[s.File] = r
		}
	}

	kernel := map[string]*scenario.Result{}
	t.Run("kernel", func(t *testing.T) {
		lab.Need(t, lab.NeedMacvlan)
		kernel = playAll(t, lab.KernelPlayer(), list, func(s *scenario.Scenario, k *scenario.Result) []scenario.Difference {
			wrong := scenario.Check(s, k)
			if m := model[s.File]; m != nil {
				wrong = append(wrong, scenario.Compare(s, m, k)...)
			}
			return wrong
		})
	})

	t.Run("emulator", func(t *testing.T) {
		lab.Need(t, lab.NeedTUN)
		listed := map[string]int{}
		playAll(t, lab.EmulatorPlayer(), list, func(s *scenario.Scenario, r *scenario.Result) (unlisted []scenario.Difference) {
			ref := kernel[s.File]
			if ref == nil {
				ref = model[s.File] // this machine has no macvlan
			}
			if ref == nil {
				return nil
			}
			for _, d := range lab.Judge(s, ref, r) {
				if d.Listed != "" {
					listed[d.Listed]++
				} else {
					unlisted = append(unlisted, d)
				}
			}
			return unlisted
		})
		t.Logf("differences that docs/semantics.md lists, by number: %v", listed)
		for _, d := range lab.Deviations {
			// Some show only in what the kernel does, which the model doesn't say.
			if listed[d.Number] == 0 && d.Shows() && len(kernel) > 0 && !testing.Short() {
				t.Errorf("number %s of docs/semantics.md, %s, never shows: strike it off, or add a scenario", d.Number, d.Name)
			}
		}
	})
}

// sample is every eighth of them.
func sample(list []*scenario.Scenario) (few []*scenario.Scenario) {
	for i := 0; i < len(list); i += 8 {
		few = append(few, list[i])
	}
	return few
}

// tries is how often a scenario is played until nothing is wrong. Which groups a
// vmac's filter takes for others is chance, and so is, on a machine with much else
// to do, what comes in time.
const tries = 3

// playAll plays what the player can until nothing is wrong, and looks whether it
// leaves anything behind.
func playAll(t *testing.T, p *lab.Player, list []*scenario.Scenario, judge func(*scenario.Scenario, *scenario.Result) []scenario.Difference) map[string]*scenario.Result {
	t.Helper()
	before, start := lab.Measure(), time.Now()
	results := map[string]*scenario.Result{}
	again := 0
	for _, s := range list {
		if !s.Runs(p.Way()) {
			continue
		}
		for n := 1; ; n++ {
			r, err := p.Play(context.Background(), s)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Log(err)
				break
			}
			if err != nil {
				t.Error(err)
				break
			}
			results[s.File] = r
			wrong := judge(s, r)
			if len(wrong) == 0 {
				break
			}
			if n < tries {
				again++
				t.Logf("%s, played again: %s", p.Way(), line(s, wrong[0]))
				continue
			}
			for _, d := range wrong {
				t.Errorf("%s: %s", p.Way(), line(s, d))
			}
			break
		}
	}
	if again > 2+len(list)/20 {
		t.Errorf("%d times something was wrong at first", again)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
	t.Logf("%d scenarios on the %s in %v", len(results), p.Way(), time.Since(start).Round(time.Millisecond))
	return results
}
