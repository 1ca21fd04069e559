package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Trial is one scenario run in every way that was asked for.
type Trial struct {
	Scenario *scenario.Scenario
	Runs     []Run
	Findings []Finding
}

// Run is one way of running it: a Result, or why there is none.
type Run struct {
	Way     scenario.Way
	Result  *scenario.Result
	Skipped string // the scenario is not for this way
	Err     error
}

// Finding is a difference between a way and what it was held against: another
// way, or what the scenario expects if Against is empty.
type Finding struct {
	scenario.Difference
	Way, Against scenario.Way
}

// Try runs a scenario. Every result is held against what the scenario expects,
// and against the kernel's, or if that did not run, the model's. Err is only
// ctx's; what else goes wrong is in the Trial.
func Try(ctx context.Context, s *scenario.Scenario, players []scenario.Player) (*Trial, error) {
	t := &Trial{Scenario: s}
	for _, p := range players {
		run := Run{Way: p.Way(), Skipped: skip(s, p.Way())}
		if run.Skipped == "" {
			run.Result, run.Err = p.Play(ctx, s)
			if errors.Is(run.Err, errors.ErrUnsupported) {
				run.Skipped, run.Err = run.Err.Error(), nil
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t.Runs = append(t.Runs, run)
	}
	t.judge()
	return t, nil
}

// skip says why a scenario is not run in a way.
func skip(s *scenario.Scenario, w scenario.Way) string {
	switch {
	case !s.Runs(w) && s.OnlyWhy != "":
		return s.OnlyWhy
	case !s.Runs(w):
		return "it is not for the " + string(w)
	case s.Profile != scenario.Current && s.Profile != "" && w != scenario.Model:
		return "profile " + string(s.Profile) + " is of the model alone"
	}
	return ""
}

// Result is what a way observed, or nil.
func (t *Trial) Result(w scenario.Way) *scenario.Result {
	for _, r := range t.Runs {
		if r.Way == w {
			return r.Result
		}
	}
	return nil
}

// OK reports that there is no difference but listed ones, and that nothing
// failed.
func (t *Trial) OK() bool {
	return !slices.ContainsFunc(t.Findings, func(f Finding) bool { return f.Listed == "" }) &&
		!slices.ContainsFunc(t.Runs, func(r Run) bool { return r.Err != nil })
}

// Err is what kept ways from running.
func (t *Trial) Err() error {
	var errs []error
	for _, r := range t.Runs {
		errs = append(errs, r.Err)
	}
	return errors.Join(errs...)
}

func (t *Trial) judge() {
	s := t.Scenario
	ref := t.Result(scenario.Kernel)
	if ref == nil {
		ref = t.Result(scenario.Model)
	}
	for _, r := range t.Runs {
		if r.Result == nil {
			continue
		}
		list := scenario.Check(s, r.Result)
		if r.Way == scenario.Emulator {
			against := ref
			if against == nil {
				against = asExpected(s, r.Result)
			}
			judged := Judge(s, against, r.Result)
			list = Excuse(list, judged)
			if ref != nil {
				t.find(judged, r.Way, ref.Way)
			}
		} else if ref != nil && r.Way != ref.Way {
			t.find(scenario.Compare(s, ref, r.Result), r.Way, ref.Way)
		}
		t.find(list, r.Way, "")
	}
	slices.SortStableFunc(t.Findings, func(a, b Finding) int { return a.Step - b.Step })
}

func (t *Trial) find(list []scenario.Difference, w, against scenario.Way) {
	for _, d := range list {
		t.Findings = append(t.Findings, Finding{d, w, against})
	}
}

// asExpected makes a result of what the scenario expects; where it expects
// nothing, what happened is right.
func asExpected(s *scenario.Scenario, r *scenario.Result) *scenario.Result {
	out := &scenario.Result{Way: r.Way}
	for i, o := range r.Outcomes {
		if s.Steps[i].Stated {
			o = s.Steps[i].Expect
			frame, _ := s.Frame(i)
			o.Gets = slices.Clone(o.Gets)
			for j := range o.Gets {
				if g := &o.Gets[j]; g.Frame == nil && g.Len == 0 {
					g.Frame = frame
				}
			}
			for _, d := range r.Outcomes[i].Gets {
				if d.Who == scenario.Tap && !slices.ContainsFunc(o.Gets, isTap) {
					o.Gets = append(o.Gets, d) // what the parent received is not what is in question
				}
			}
		}
		out.Outcomes = append(out.Outcomes, o)
	}
	return out
}

// String is a finding in one line, without its place.
func (f Finding) String() string {
	who := f.Who
	if who != "" {
		who += " "
	}
	text := fmt.Sprintf("%s: %s%s", f.Way, who, f.What)
	if f.Listed != "" {
		text += fmt.Sprintf(" (listed: %s)", f.Listed)
	}
	return text
}
