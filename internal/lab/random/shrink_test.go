package random

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// twist is the model with something wrong about it.
type twist struct {
	scenario.Player
	wrong func(s *scenario.Scenario, i int, o *scenario.Outcome)
}

func (twist) Way() scenario.Way { return scenario.Emulator }

func (p twist) Play(ctx context.Context, s *scenario.Scenario) (*scenario.Result, error) {
	r, err := p.Player.Play(ctx, s)
	if err != nil {
		return nil, err
	}
	r = Fold(s, r)
	r.Way = p.Way()
	for i := range r.Outcomes {
		p.wrong(s, i, &r.Outcomes[i])
	}
	return r, nil
}

// A fault that takes a mode, a tag and an action to show is found, and the file
// that comes of it has hardly more than these.
func TestFindsAndShrinks(t *testing.T) {
	wrong := func(s *scenario.Scenario, i int, o *scenario.Outcome) {
		before := slices.ContainsFunc(s.Steps[:i], func(st scenario.Step) bool {
			return st.Control != nil && st.Control.Attr == scenario.AttrMTU
		})
		if st := s.Steps[i].Send; !before || st == nil || len(st.Tags) == 0 || o.Explained == nil {
			return
		}
		o.Gets = slices.DeleteFunc(o.Gets, func(d scenario.Delivery) bool {
			return slices.ContainsFunc(o.Explained.Vmacs, func(v classify.Outcome) bool { return v.Name == d.Who && v.Mode == classify.Bridge })
		})
	}
	ways := []scenario.Player{scenario.NewModel(), twist{scenario.NewModel(), wrong}}
	told := 0
	r, err := Run(context.Background(), ways, Options{
		Seed: 3, Scenarios: 12, Size: Size{Frames: 200, Controls: 20}, Shrink: 10 * time.Second, Found: func(*Finding) { told++ },
	})
	if err != nil || len(r.Findings) == 0 || told != len(r.Findings) || !errors.Is(r.Err(0), ErrFound) {
		t.Fatalf("%d findings, told of %d: %v, %v", len(r.Findings), told, err, r.Err(0))
	}
	for _, f := range r.Findings {
		text := string(f.Scenario.Format())
		if lines := strings.Count(text, "\n"); lines > 6 || !f.Again || len(f.Scenario.Steps) > 4 {
			t.Errorf("%v (again %v) has %d lines:\n%s", f, f.Again, lines, text)
		}
		if _, err := scenario.Parse("small", []byte(text)); err != nil {
			t.Errorf("%v:\n%s", err, text)
		}
	}
}

// What fails once and never again is told, and so is a way that can't play.
func TestFindsWhatPasses(t *testing.T) {
	once := true
	ways := []scenario.Player{scenario.NewModel(), twist{scenario.NewModel(), func(s *scenario.Scenario, i int, o *scenario.Outcome) {
		if once && len(o.Gets) > 0 {
			once, o.Gets = false, nil
		}
	}}}
	r, err := Run(context.Background(), ways, Options{Seed: 1, Scenarios: 2, Size: small(), Shrink: time.Second})
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Again {
		t.Errorf("findings %v: %v", r.Findings, err)
	}
	ways[1] = failing{}
	r, err = Run(context.Background(), ways, Options{Seed: 1, Scenarios: 1, Size: small()})
	if err != nil || len(r.Findings) != 1 || !errors.Is(r.Findings[0].Err, errFailing) {
		t.Errorf("findings %v: %v", r.Findings, err)
	}
}

var errFailing = errors.New("it fails")

type failing struct{}

func (failing) Way() scenario.Way { return scenario.Emulator }

func (failing) Play(context.Context, *scenario.Scenario) (*scenario.Result, error) {
	return nil, errFailing
}

// A leak is played again; one that doesn't pass is a difference.
func TestLeaks(t *testing.T) {
	for seed, reason := range map[uint64]classify.Reason{2: classify.NotSubscribed, 17: classify.PortFilter} {
		t.Run(reason.Key(), func(t *testing.T) {
			testLeaks(t, seed, reason, func(o *scenario.Outcome, who string) {
				if slices.ContainsFunc(o.Why, func(w scenario.Why) bool { return w.Who == who && w.Reason == reason }) {
					o.Gets = append(o.Gets, scenario.Delivery{Who: who, Type: classify.TypeMulticast, Frame: []byte{1}})
				}
			})
			testLeaks(t, seed, reason, func(o *scenario.Outcome, who string) { // too long for the vmac
				for i := range o.Counts {
					if o.Counts[i].Who == who {
						o.Counts[i].RxErrors++
					}
				}
			})
		})
	}
}

func testLeaks(t *testing.T, seed uint64, reason classify.Reason, gets func(*scenario.Outcome, string)) {
	t.Helper()
	times := 0
	leak := func(until int) twist {
		var who []string // in this burst
		return twist{scenario.NewModel(), func(s *scenario.Scenario, i int, o *scenario.Outcome) {
			if i == 0 {
				times++
			}
			for _, w := range o.Why {
				if w.Reason == reason && times <= until {
					who = append(who, w.Who)
				}
			}
			for _, w := range who {
				gets(o, w)
			}
			if o.Counts != nil {
				who = nil
			}
		}}
	}
	o := Options{Seed: seed, Scenarios: 1, Size: small()}
	r, err := Run(context.Background(), []scenario.Player{scenario.NewModel(), leak(3)}, o)
	if err != nil || len(r.Findings) != 0 || r.Repeated[scenario.Emulator] != 3 {
		t.Errorf("%d findings, played %v again: %v", len(r.Findings), r.Repeated, err)
	}
	r, err = Run(context.Background(), []scenario.Player{scenario.NewModel(), leak(1000)}, o)
	if err != nil || len(r.Findings) != 1 {
		t.Errorf("%d findings: %v", len(r.Findings), err)
	}
}

// What is always taken for a leak is no leak.
func TestTooManyLeaks(t *testing.T) {
	r := Report{Scenarios: 100, Histogram: NewHistogram(), Repeated: map[scenario.Way]int{scenario.Emulator: leaks + 25}}
	if err := r.Err(0); err != nil {
		t.Error(err)
	}
	r.Repeated[scenario.Emulator]++
	if r.Err(0) == nil {
		t.Error("a quarter of all plays repeated, and more, is no error")
	}
}

func TestBursts(t *testing.T) {
	s, err := scenario.Parse("t", []byte(`title T
vmac b1 mode bridge
send wire: ext > b1
send wire: ext > b1 type 0x88b7 payload 01
send wire: ext > b1 vlan 10 type 0x88b7 payload 01
send b1: ext > b1
set b1 up
send wire: ext > b1
`))
	if err != nil {
		t.Fatal(err)
	}
	// The third is the second with a tag.
	if got, want := Bursts(s), []Burst{{0, 2}, {2, 4}, {5, 6}}; !slices.Equal(got, want) {
		t.Errorf("bursts %v, want %v", got, want)
	}
	r, err := scenario.NewModel().Play(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	counts := Fold(s, r).Outcomes
	if len(counts[0].Counts) != 0 || len(counts[1].Counts) != 2 || counts[1].Counts[0].RxPackets != 2 {
		t.Errorf("folded %v and %v", counts[0].Counts, counts[1].Counts)
	}
}
