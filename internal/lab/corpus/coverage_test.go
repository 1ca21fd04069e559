package corpus

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// observedRows is how many rows section 8 of the behaviour reference has.
const observedRows = 221

// Every row of the reference is in a file, or in README.md with the reason why
// not.
func TestRows(t *testing.T) {
	var text strings.Builder
	for _, s := range read(t) {
		src, err := fs.ReadFile(Files(), s.File)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(src)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	in := numbers(`KERNEL\.md row (\d+)`, text.String())
	out := numbers(`(?m)^\| (\d+) \|`, string(readme))
	for n := 1; n <= observedRows; n++ {
		if in[n] == out[n] {
			t.Errorf("row %d: in a file %v, left out %v", n, in[n], out[n])
		}
	}
}

func numbers(form, text string) map[int]bool {
	m := map[int]bool{}
	for _, f := range regexp.MustCompile(form).FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(f[1])
		m[n] = true
	}
	return m
}

// unreachable are the reasons that no scenario can bring about.
var unreachable = map[classify.Reason]string{
	classify.OwnFrame: "the host's own frames are no decision of a vmac's, so that the model explains none",
	classify.Runt:     "the sender's socket refuses such a frame",

	classify.TapDown: moving, classify.TapGone: moving, classify.TapRefused: moving, classify.TapNoBuffer: moving,
	classify.WireDown: moving, classify.WireGone: moving, classify.WireTooLong: moving, classify.WireRefused: moving,
	classify.WireNoBuffer: moving, classify.WireBusy: moving, classify.Truncated: moving, classify.BadOffload: moving,
	classify.VmacGone: moving,

	classify.FragmentNoRoom: "it takes four megabytes of fragments",
}

const moving = "met while moving frames, which the model does not do; tests of the data plane have it"

// The model runs all but what isn't its own, as expected, and with that every
// reason, action and answer occurs.
func TestModel(t *testing.T) {
	player := scenario.NewModel()
	c := coverage{map[classify.Reason]int{}, map[string]int{}, map[string]int{}}
	for _, s := range read(t) {
		if !s.Runs(scenario.Model) {
			continue
		}
		r, err := player.Play(context.Background(), s)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, d := range scenario.Check(s, r) {
			t.Error(line(s, d))
		}
		if s.Profile == scenario.Current {
			c.add(s, r)
		}
	}
	c.check(t)
}

// cannotRun is how many scenarios each way leaves to the others.
var cannotRun = map[scenario.Way]int{scenario.Model: 1, scenario.Emulator: 20, scenario.Kernel: 20}

func TestWays(t *testing.T) {
	list := read(t)
	for _, w := range scenario.Ways {
		n := 0
		for _, s := range list {
			if !s.Runs(w) {
				n++
				if s.OnlyWhy == "" {
					t.Errorf("%s doesn't say why the %s can't run it", s.File, w)
				}
			}
		}
		t.Logf("the %s runs %d of %d scenarios", w, len(list)-n, len(list))
		if n != cannotRun[w] {
			t.Errorf("the %s can't run %d, want %d", w, n, cannotRun[w])
		}
	}
}

func line(s *scenario.Scenario, d scenario.Difference) string {
	return fmt.Sprintf("%s:%d: %s %s", s.File, s.Steps[d.Step].Line, d.Who, d.What)
}

// coverage counts what occurred.
type coverage struct {
	reasons map[classify.Reason]int
	actions map[string]int
	answers map[string]int
}

func (c *coverage) add(s *scenario.Scenario, r *scenario.Result) {
	for i, o := range r.Outcomes {
		if x := o.Explained; x != nil {
			c.reasons[x.Verdict.Reason]++
			for _, v := range x.Vmacs {
				c.reasons[v.Reason]++
			}
		}
		for _, w := range o.Why {
			c.reasons[w.Reason]++
		}
		done := actions(&s.Steps[i])
		for _, a := range done {
			c.actions[a]++
		}
		c.answers[strings.Join(done, ", ")+" "+o.Answer.String()]++
	}
}

// actions names what a step does: one thing, or several in one request.
func actions(step *scenario.Step) []string {
	c := step.Control
	switch {
	case c == nil:
		return []string{"send"}
	case c.Link != nil:
		return link(c.Link)
	}
	who := "vmac"
	if c.Who == scenario.Port {
		who = scenario.Port
	}
	name := string(c.Verb) + " " + who
	if c.Attr != "" {
		name += " " + string(c.Attr)
		if c.Value == "on" || c.Value == "off" || c.Value == "pass" || c.Value == "drop" {
			name += " " + c.Value
		}
	}
	return []string{name}
}

func link(l *scenario.Link) (list []string) {
	macaddr := []string{"add", "del", "flush", "set"}
	for what, said := range map[string]bool{
		"mode": l.Mode != nil, "flag": l.Flags != nil, "bcqueuelen": l.BCQueueLen != nil, "bclim": l.BCLim != nil, "macaddr": l.MacaddrMode != nil,
	} {
		if said && what == "macaddr" && int(*l.MacaddrMode) < len(macaddr) {
			what += " " + macaddr[*l.MacaddrMode]
		}
		if said {
			list = append(list, "set vmac "+what)
		}
	}
	slices.Sort(list)
	return list
}

// allActions are all that the language can do.
var allActions = []string{
	"send", "add vmac", "delete vmac", "delete parent", "delete vmac netns", "join vmac", "leave vmac", "show vmac", "show parent", "fdb vmac add", "fdb vmac replace", "fdb vmac del",
	"set vmac mode", "set vmac flag", "set vmac bcqueuelen", "set vmac bclim",
	"set vmac macaddr add", "set vmac macaddr del", "set vmac macaddr flush", "set vmac macaddr set",
	"set vmac macaddr", // with a number that is none of these
	"set vmac up", "set vmac down", "set vmac address", "set vmac mtu", "set vmac broadcast", "set vmac netns",
	"set vmac promisc on", "set vmac promisc off", "set vmac allmulti on", "set vmac allmulti off",
	"set parent up", "set parent down", "set parent address", "set parent mtu", "set parent netns",
	"set parent promisc on", "set parent promisc off", "set parent allmulti on", "set parent allmulti off", "set parent carrier on", "set parent carrier off",
	"set parent ingress", "set parent ingress pass", "set parent ingress drop", "set parent egress pass", "set parent egress drop",
}

// allAnswers are what requests can be refused with, by what was asked.
var allAnswers = []string{
	"send EINVAL", "send EMSGSIZE", "send ENETDOWN", "send ENOBUFS",
	"add vmac EINVAL", "add vmac ENODEV", "add vmac EBUSY", "add vmac EEXIST", "add vmac EADDRNOTAVAIL",
	`add vmac EINVAL "mtu less than device minimum"`, `add vmac EINVAL "mtu greater than device maximum"`,
	"set vmac mode EINVAL", "set vmac flag EINVAL",
	"set vmac macaddr add EINVAL", "set vmac macaddr add EADDRNOTAVAIL", "set vmac macaddr del EINVAL", "set vmac macaddr EINVAL",
	"set vmac macaddr flush EINVAL", "set vmac macaddr set EINVAL", "set vmac macaddr set EADDRNOTAVAIL",
	"set vmac address EINVAL", "set vmac address EADDRINUSE", "set vmac address EADDRNOTAVAIL", "set vmac up EADDRINUSE",
	"set vmac mtu EINVAL", `set vmac mtu EINVAL "mtu less than device minimum"`, `set vmac mtu EINVAL "mtu greater than device maximum"`,
	"delete vmac ENODEV",
	"fdb vmac add EOPNOTSUPP", "fdb vmac add EEXIST", "fdb vmac replace EOPNOTSUPP", "fdb vmac del EOPNOTSUPP", "fdb vmac del ENOENT",
	"set vmac macaddr add, set vmac mode EINVAL", "set vmac macaddr add, set vmac mode EADDRNOTAVAIL",
	"set vmac bcqueuelen, set vmac mode EINVAL", "set vmac bcqueuelen, set vmac flag EINVAL", "set vmac bcqueuelen, set vmac macaddr flush EINVAL",
	"set vmac bclim, set vmac bcqueuelen, set vmac flag, set vmac macaddr add, set vmac mode EINVAL",
}

func (c *coverage) check(t *testing.T) {
	for r := range classify.Reason(classify.NumReasons) {
		if why := unreachable[r]; (c.reasons[r] > 0) == (why != "") {
			t.Errorf("reason %v occurs %d times; out of reach: %q", r, c.reasons[r], why)
		}
	}
	for _, a := range allActions {
		if c.actions[a] == 0 {
			t.Errorf("nothing does %q", a)
		}
	}
	for _, a := range slices.Sorted(maps.Keys(c.actions)) {
		if !slices.Contains(allActions, a) {
			t.Errorf("%q is not in the list of actions", a)
		}
	}
	for _, a := range allAnswers {
		if c.answers[a] == 0 {
			t.Errorf("nothing is answered %q", a)
		}
	}
	for _, a := range slices.Sorted(maps.Keys(c.answers)) {
		if !strings.HasSuffix(a, " ok") && !slices.Contains(allAnswers, a) {
			t.Errorf("%q (%d times) is not in the list of answers", a, c.answers[a])
		}
	}
}
