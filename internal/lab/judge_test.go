package lab

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// fake is a way of running that does what the model does, and then something of
// its own.
type fake struct {
	way    scenario.Way
	tamper func(o []scenario.Outcome)
}

func (f fake) Way() scenario.Way { return f.way }

func (f fake) Play(ctx context.Context, s *scenario.Scenario) (*scenario.Result, error) {
	r, err := scenario.NewModel().Play(ctx, s)
	if err != nil {
		return nil, err
	}
	r.Way = f.way
	if f.tamper != nil {
		f.tamper(r.Outcomes)
	}
	return r, nil
}

func parse(t *testing.T, text string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("x.scenario", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func try(t *testing.T, text string, players ...scenario.Player) *Trial {
	t.Helper()
	trial, err := Try(context.Background(), parse(t, text), players)
	if err != nil {
		t.Fatal(err)
	}
	return trial
}

// unlisted and listed are what a trial found.
func unlisted(t *Trial) (list []string) {
	for _, f := range t.Findings {
		if f.Listed == "" {
			list = append(list, f.String())
		}
	}
	return list
}

func listed(t *Trial) (list []string) {
	for _, f := range t.Findings {
		if f.Listed != "" && !slices.Contains(list, f.Listed) {
			list = append(list, f.Listed)
		}
	}
	slices.Sort(list)
	return list
}

const flood = `title A broadcast
vmac b1 mode bridge
vmac b2 mode bridge
send b1: b1 > broadcast
  b2 wire get broadcast
  b2 counts rx 1/74 multicast 1
  b1 counts tx 1/60
`

// What a way does otherwise than expected is found, whatever it is.
func TestTrialFinds(t *testing.T) {
	first := func(o *scenario.Outcome, who string) *scenario.Delivery {
		return &o.Gets[slices.IndexFunc(o.Gets, func(d scenario.Delivery) bool { return d.Who == who })]
	}
	for name, c := range map[string]struct {
		tamper func(o *scenario.Outcome)
		finds  string
	}{
		"nothing": {func(*scenario.Outcome) {}, ""},
		"an unexpected delivery": {func(o *scenario.Outcome) {
			d := *first(o, "b2")
			d.Who = "b1"
			o.Gets = append(o.Gets, d)
		}, "b1 got broadcast"},
		"an unexpected second one": {func(o *scenario.Outcome) { o.Gets = append(o.Gets, *first(o, "b2")) }, "b2 got broadcast"},
		"a missing one": {func(o *scenario.Outcome) {
			o.Gets = slices.DeleteFunc(o.Gets, func(d scenario.Delivery) bool { return d.Who == "b2" })
		}, "b2 got no broadcast"},
		"the wire's missing": {func(o *scenario.Outcome) {
			o.Gets = slices.DeleteFunc(o.Gets, func(d scenario.Delivery) bool { return d.Who == scenario.Wire })
		}, "wire got no broadcast"},
		"other bytes": {func(o *scenario.Outcome) {
			d := first(o, "b2")
			d.Frame = bytes.Clone(d.Frame)
			d.Frame[59] ^= 1
		}, "b2 got ffffffffffff"},
		"another type": {func(o *scenario.Outcome) { first(o, "b2").Type = classify.TypeOther }, "b2 got other"},
		"a counter": {func(o *scenario.Outcome) {
			for i := range o.Counts {
				if o.Counts[i].Who == "b2" {
					o.Counts[i].RxBytes = 60
				}
			}
		}, "b2 counts rx 1/60"},
		"an answer": {func(o *scenario.Outcome) { o.Answer.Errno = "ENOBUFS" }, "answered ENOBUFS"},
	} {
		for _, way := range []scenario.Way{scenario.Model, scenario.Kernel} {
			trial := try(t, flood, fake{way, func(o []scenario.Outcome) { c.tamper(&o[0]) }})
			got := strings.Join(unlisted(trial), "\n")
			if trial.OK() != (c.finds == "") || !strings.Contains(got, c.finds) {
				t.Errorf("%s on the %s: ok %v, found %q, want %q", name, way, trial.OK(), got, c.finds)
			}
		}
		// Expected or not, two ways differ.
		text, _, _ := strings.Cut(flood, "  b2")
		trial := try(t, text, scenario.NewModel(), fake{scenario.Kernel, func(o []scenario.Outcome) { c.tamper(&o[0]) }})
		if trial.OK() != (c.finds == "") {
			t.Errorf("%s, kernel and model: ok %v, found %q", name, trial.OK(), unlisted(trial))
		}
	}
}

// asEmulator does to the model's outcomes what the emulator is known to do.
func asEmulator(s *scenario.Scenario) func(o []scenario.Outcome) {
	return func(o []scenario.Outcome) {
		c := newCourse(s, &scenario.Result{Outcomes: o})
		for _, d := range Deviations {
			for i := range o {
				if d.expect != nil && d.Shows() {
					d.expect(c, i, &o[i], func(string, string, string) {})
				}
			}
		}
	}
}

var deviating = []struct{ number, text string }{
	{"1", "title Unicast\nvmac b1 mode bridge\nsend wire: ext > b1\n  b1 gets host\n"},
	{"1", "title Tagged\nvmac b1 mode bridge\nsend wire: ext > b1 vlan 5\n  b1 gets host stack-type other\n"},
	{"1", "title Echo\nvmac p1 mode private\nsend wire: p1 > broadcast\n  p1 gets broadcast\n"},
	{"2", "title Foreign\nvmac pt mode passthru\nsend wire: ext > unknown\n  pt gets host\n"},
	{"2", "title Listed\nvmac s1 mode source list listed\nsend wire: listed > parent\n  s1 stack get host\n"},
	{"6", "title No room\nvmac b1 mode bridge bcqueuelen 0\nsend wire: ext > broadcast\n  stack gets broadcast\n  parent counts rx 1/60 rx-dropped 1\n"},
	{"19", "title Left\nvmac b1 mode bridge join vrrp\nleave b1 vrrp\nsend wire: ext > vrrp\n  b1 stack get multicast\n  b1 counts rx 1/60 multicast 1\n"},
	{"20", "title New broadcast\nvmac b1 mode bridge\nset b1 broadcast 01:02:03:04:05:06\nsend wire: ext > broadcast\n  b1 get multicast\n  stack gets broadcast\n"},
	{"7", "title Siblings\nvmac b1 mode bridge\nvmac b2 mode bridge\nsend b1: b1 > b2\n  b2 gets host\n  tap gets other\n"},
}

// kernelWith lets the emulator be judged as on a kernel without any optional
// feature, or with all of them.
func kernelWith(t *testing.T, all bool) {
	was := may
	may = func(feature.Name) bool { return all }
	t.Cleanup(func() { may = was })
}

// What is listed is no fault, with the kernel or the model to compare with, or
// the file alone; and it is one if it doesn't happen.
func TestDeviations(t *testing.T) {
	kernelWith(t, false)
	for _, c := range deviating {
		s := parse(t, c.text)
		kernel, emulator := fake{scenario.Kernel, nil}, fake{scenario.Emulator, asEmulator(s)}
		for name, players := range map[string][]scenario.Player{
			"kernel": {kernel, emulator}, "model": {scenario.NewModel(), emulator}, "file": {emulator},
		} {
			trial := try(t, c.text, players...)
			if !trial.OK() {
				t.Errorf("%s beside the %s: %q", s.Title, name, unlisted(trial))
			}
			if name != "file" && !slices.Contains(listed(trial), c.number) {
				t.Errorf("%s beside the %s: number %s not among %v", s.Title, name, c.number, listed(trial))
			}
		}
		for _, ref := range []scenario.Player{kernel, scenario.NewModel()} {
			trial := try(t, c.text, ref, fake{scenario.Emulator, nil})
			got := strings.Join(unlisted(trial), "\n")
			if trial.OK() || c.number != "7" && !strings.Contains(got, "number "+c.number+" of docs/semantics.md says") {
				t.Errorf("%s: an emulator that is the kernel's equal: ok %v, %q", s.Title, trial.OK(), got)
			}
		}
	}
}

// What is listed at one place excuses nothing at another.
func TestDeviationsExcuseNoMore(t *testing.T) {
	kernelWith(t, false)
	for _, c := range deviating {
		s := parse(t, c.text)
		for name, spoil := range map[string]func(o *scenario.Outcome){
			"wire": func(o *scenario.Outcome) {
				o.Gets = append(o.Gets, scenario.Delivery{Who: scenario.Wire, Type: classify.TypeOther, Frame: make([]byte, 60)})
			},
			"more": func(o *scenario.Outcome) { o.Gets = append(o.Gets, o.Gets[0]) },
			"less": func(o *scenario.Outcome) {
				o.Gets = slices.DeleteFunc(o.Gets, func(d scenario.Delivery) bool { return d.Who != scenario.Tap })
			},
			"count": func(o *scenario.Outcome) { o.Counts[0].TxDropped++ },
		} {
			deviate := asEmulator(s)
			trial := try(t, c.text, fake{scenario.Kernel, nil}, fake{scenario.Emulator, func(o []scenario.Outcome) {
				deviate(o)
				spoil(&o[len(o)-1])
			}})
			if trial.OK() {
				t.Errorf("%s, %s: nothing found", s.Title, name)
			}
		}
	}
}

func TestTrialSkips(t *testing.T) {
	trial := try(t, "title Old\nprofile 4.4\nvmac b1 mode bridge\nsend wire: ext > b1\n", scenario.NewModel(), fake{scenario.Kernel, nil})
	if trial.Result(scenario.Model) == nil || trial.Result(scenario.Kernel) != nil || trial.Runs[1].Skipped == "" {
		t.Errorf("profile 4.4: %+v", trial.Runs)
	}
	trial = try(t, "title Timing\nonly kernel because it is about timing\nvmac b1 mode bridge\nsend wire: ext > b1\n", scenario.NewModel())
	if got := trial.Runs[0].Skipped; got != "it is about timing" {
		t.Errorf("skipped because %q", got)
	}
}

// Where the kernel has what it takes the parent's stack is held to get just what
// the driver gives it, and a vmac's handlers to see its types.
func TestSpared(t *testing.T) {
	for _, c := range deviating[:5] {
		s := parse(t, c.text)
		kernelWith(t, false)
		poor := asEmulator(s)
		kernelWith(t, true)
		rich := asEmulator(s)
		for name, ref := range map[string]scenario.Player{"kernel": fake{scenario.Kernel, nil}, "model": scenario.NewModel()} {
			trial := try(t, c.text, ref, fake{scenario.Emulator, rich})
			if !trial.OK() || slices.Contains(listed(trial), "1") || slices.Contains(listed(trial), "2") != (c.number == "2") {
				t.Errorf("%s beside the %s: ok %v, listed %v, %q", s.Title, name, trial.OK(), listed(trial), unlisted(trial))
			}
			trial = try(t, c.text, ref, fake{scenario.Emulator, func(o []scenario.Outcome) {
				kernelWith(t, false)
				poor(o)
				kernelWith(t, true)
				for i := range o[len(o)-1].Gets { // as a player does
					if d := &o[len(o)-1].Gets[i]; d.StackType == nil {
						typ := d.Type
						d.StackType = &typ
					}
				}
			}})
			if trial.OK() {
				t.Errorf("%s beside the %s: an emulator that takes nothing is found to be right", s.Title, name)
			}
		}
	}
}

func TestTable(t *testing.T) {
	kernelWith(t, false)
	text := deviating[0].text + "show b1\n  b1 shows mode vepa\n"
	trial := try(t, text, scenario.NewModel(), fake{scenario.Emulator, asEmulator(parse(t, text))})
	var b strings.Builder
	r := trial.Report()
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Unicast\n", "line 3: send wire: ext > b1\n", "(1) stack ", "! b1 mode ", "model shows mode bridge, expected vepa",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if r.OK || !r.Lists("1") || r.Lists("2") {
		t.Errorf("ok %v, lists 1 %v, 2 %v", r.OK, r.Lists("1"), r.Lists("2"))
	}
}
