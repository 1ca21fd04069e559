package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

var update = flag.Bool("update", false, "write docs/matrix.* and testdata")

func build(t *testing.T, players ...scenario.Player) *Matrix {
	t.Helper()
	m, err := Build(t.Context(), players, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func text(t *testing.T, m *Matrix) string {
	t.Helper()
	var b strings.Builder
	if err := m.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// golden compares with a file, which -update writes.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the model gives; go test ./internal/lab/matrix -update, and look at the difference", path)
	}
}

// The pages in docs are what the command prints on the model.
func TestPages(t *testing.T) {
	m := build(t, scenario.NewModel())
	golden(t, "../../../docs/matrix.md", m.Markdown("matrix.svg"))
	golden(t, "../../../docs/matrix.svg", m.SVG())
	golden(t, "testdata/matrix.txt", []byte(text(t, m)))
}

// What was recorded on the kernel is what the model says, counters included.
func TestRecorded(t *testing.T) {
	names, scenarios, err := Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		s := scenarios[name]
		if !strings.HasPrefix(s.Recorded, "Linux ") {
			t.Errorf("%s was never recorded", name)
		}
		r, err := scenario.NewModel().Play(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range scenario.Check(s, r) {
			t.Errorf("%s:%d: %+v", s.File, s.Steps[d.Step].Line, d)
		}
		for _, st := range s.Steps {
			if !st.Stated || st.Send == nil || st.Note.Right == "" {
				t.Errorf("%s:%d: not recorded, no frame or no label", s.File, st.Line)
			}
		}
	}
	m := build(t, scenario.NewModel())
	list, answers := m.Differences()
	if len(list) != 0 || answers < 1000 || len(m.Ways) != 2 || !m.Ways[1].Recorded {
		t.Errorf("%d answers, ways %v, differences %v", answers, m.Ways, list)
	}
	// Every mode has every kind of frame and sender, or has no such vmac.
	for _, table := range m.Tables {
		for _, s := range table.Sections {
			for _, r := range s.Rows {
				for i, c := range r.Cells {
					if !c.Sent && table.Blocks[i].Name != "passthru" {
						t.Errorf("%s, %s, %s: no frame", table.Blocks[i].Name, s.Title, r.Label)
					}
				}
			}
		}
	}
}

// liar is a kernel that answers as the model, with changes.
type liar struct {
	version string
	change  func(file string, play int, step int, o *scenario.Outcome)
	plays   map[string]int
}

func (*liar) Way() scenario.Way { return scenario.Kernel }

func (l *liar) Play(ctx context.Context, s *scenario.Scenario) (*scenario.Result, error) {
	r, err := scenario.NewModel().Play(ctx, s)
	if err != nil {
		return nil, err
	}
	l.plays[s.File]++
	r.Way, r.Version = scenario.Kernel, l.version
	for i := range r.Outcomes {
		l.change(s.File, l.plays[s.File], i, &r.Outcomes[i])
	}
	return r, nil
}

// Where the kernel answers otherwise, every form of the page says so.
func TestDifferences(t *testing.T) {
	k := &liar{version: "Linux 9.9", plays: map[string]int{}, change: func(file string, _, step int, o *scenario.Outcome) {
		switch {
		case file == "bridge.scenario" && step == 0: // ext > vmac1, for vmac1 as host
			o.Gets = append(o.Gets, scenario.Delivery{Who: scenario.Stack, Type: classify.TypeOther})
		case file == "private.scenario" && step == 4: // ext > broadcast
			o.Gets = slices.DeleteFunc(o.Gets, func(d scenario.Delivery) bool { return d.Who == "vmac2" })
		case file == "vepa.scenario" && step == 0:
			o.Gets = append(o.Gets, scenario.Delivery{Who: "vmac2", Type: classify.TypeOther, Times: 2}, scenario.Delivery{Who: scenario.Tap})
		}
	}}
	m := build(t, scenario.NewModel(), k)
	list, _ := m.Differences()
	if len(list) != 3 || list[0].Way != scenario.Model {
		t.Fatalf("%v", list)
	}
	page := text(t, m)
	for _, want := range []string{
		"\n  to vmac1                        H  ·  ·  >    H  ·2 ·  >    H  ·  ·O >    H  ·  >  ",
		"\n  to everybody                    B  B· B  >    B  B  B  >  ",
		"From: model, kernel (Linux 9.9). Of 1140 answers these are not alike:\n",
		"\n  model: stack gets nothing where the kernel gives other, 1 times; first bridge, wire: ext > vmac1\n",
		"\n  model: a vmac gets broadcast where the kernel gives nothing, 1 times; first private, wire: ext > broadcast\n",
		"\n  model: a vmac gets nothing where the kernel gives other and other, 1 times; first vepa, wire: ext > vmac1\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if md := string(m.Markdown("")); !strings.Contains(md, "| to vmac1 | 1 **H** | 1 **H**, 2 **·≠2** | 1 **H**, h **·≠O** | 1 **H** |") || strings.Contains(md, "![") {
		t.Errorf("%s", md)
	}
	// A legend and three answers.
	if svg := string(m.SVG()); strings.Count(svg, `class="ring"`) != 4 {
		t.Errorf("%d rings", strings.Count(svg, `class="ring"`))
	}
	var page2 struct {
		Ways        []struct{ Way, Version string }
		Answers     int
		Differences []Difference
		Frames      []struct {
			Port, Sender, Frame, Send string
			Gets                      map[string]map[string][]string
		}
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &page2); err != nil {
		t.Fatal(err)
	}
	f := page2.Frames[0]
	if len(page2.Differences) != 3 || page2.Answers != 1140 || page2.Ways[1].Version != "Linux 9.9" ||
		f.Port != "private" || f.Sender != "A stranger on the wire sends" || f.Frame != "to vmac1" || f.Send != "wire: ext > vmac1" ||
		len(f.Gets) != 2 || !slices.Equal(f.Gets["kernel"]["vmac1"], []string{"host"}) {
		t.Errorf("%+v", page2)
	}
}

// A leak through a vmac's filter goes away when the vmac is made anew; what
// stays is no leak.
func TestLeaks(t *testing.T) {
	leaks := func(until int) *liar {
		return &liar{plays: map[string]int{}, change: func(file string, play, step int, o *scenario.Outcome) {
			if file == "bridge.scenario" && step == 6 && play < until { // ext > UNJOINED
				o.Gets = append(o.Gets, scenario.Delivery{Who: "vmac2", Type: classify.TypeMulticast})
			}
		}}
	}
	k := leaks(3)
	if list, _ := build(t, scenario.NewModel(), k).Differences(); len(list) != 0 || k.plays["bridge.scenario"] != 3 || k.plays["private.scenario"] != 1 {
		t.Errorf("%v after %v", list, k.plays)
	}
	if list, _ := build(t, scenario.NewModel(), leaks(99)).Differences(); len(list) != 1 {
		t.Errorf("a constant leak gives %v", list)
	}
}

type broken struct{ scenario.Player }

func (broken) Play(context.Context, *scenario.Scenario) (*scenario.Result, error) {
	return nil, io.ErrUnexpectedEOF
}

func TestPlayerFails(t *testing.T) {
	_, err := Build(t.Context(), []scenario.Player{scenario.NewModel(), broken{&liar{}}}, func(string) {})
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(err.Error(), "private on kernel: ") {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Build(ctx, []scenario.Player{scenario.NewModel()}, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The picture is XML, stays inside its frame, and has a class for everything it
// draws.
func TestPicture(t *testing.T) {
	svg := build(t, scenario.NewModel()).SVG()
	dec := xml.NewDecoder(bytes.NewReader(svg))
	style := string(svg[bytes.Index(svg, []byte("<style>")):bytes.Index(svg, []byte("</style>"))])
	n := 0
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		n++
		for _, a := range e.Attr {
			if a.Name.Local != "class" {
				continue
			}
			for _, c := range strings.Fields(a.Value) {
				if !strings.Contains(style, "."+c+" {") {
					t.Errorf("no style for %s", c)
				}
			}
		}
	}
	if n < 1000 {
		t.Errorf("%d elements", n)
	}
}
