package lab

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Report is a Trial to be printed: the same for people and as JSON.
type Report struct {
	File  string       `json:"file"`
	Title string       `json:"title"`
	OK    bool         `json:"ok"`
	Ways  []ReportWay  `json:"ways"`
	Steps []ReportStep `json:"steps"`
}

// ReportWay is one way of running.
type ReportWay struct {
	Way     scenario.Way `json:"way"`
	Version string       `json:"version,omitempty"`
	Skipped string       `json:"skipped,omitempty"`
	Error   string       `json:"error,omitempty"`
}

// ReportStep is one statement and what came of it.
type ReportStep struct {
	Line      int         `json:"line"`
	Statement string      `json:"statement"`
	Rows      []ReportRow `json:"rows"`
}

// ReportRow is one receiver, counter, answer or property: a cell for each way
// that ran, in the order of Ways.
type ReportRow struct {
	Who      string   `json:"who"`
	Cells    []string `json:"cells"`
	Why      string   `json:"why,omitempty"`
	Listed   []string `json:"listed,omitempty"`   // numbers of docs/semantics.md
	Unlisted []string `json:"unlisted,omitempty"` // what is wrong
}

// Report makes a table of a trial.
func (t *Trial) Report() *Report {
	s := t.Scenario
	r := &Report{File: s.File, Title: s.Title, OK: t.OK()}
	var ran []*scenario.Result
	for _, run := range t.Runs {
		w := ReportWay{Way: run.Way, Skipped: run.Skipped}
		if run.Err != nil {
			w.Error = run.Err.Error()
		}
		if run.Result != nil {
			w.Version = run.Result.Version
			ran = append(ran, run.Result)
		}
		r.Ways = append(r.Ways, w)
	}
	for i := range s.Steps {
		r.Steps = append(r.Steps, t.step(i, ran))
	}
	return r
}

func (t *Trial) step(i int, ran []*scenario.Result) ReportStep {
	s := t.Scenario
	st := &s.Steps[i]
	b := tableBuilder{trial: t, step: i, out: ReportStep{Line: st.Line, Statement: st.String()}}
	for _, r := range ran {
		var o *scenario.Outcome
		if i < len(r.Outcomes) {
			o = &r.Outcomes[i]
		}
		b.outcomes = append(b.outcomes, o)
	}
	if st.Send != nil {
		b.sent, _ = s.Frame(i)
		b.receivers(st)
	}
	b.answers(st)
	b.shown()
	b.counters(st)
	return b.out
}

// tableBuilder fills one step's rows.
type tableBuilder struct {
	trial    *Trial
	step     int
	sent     []byte
	outcomes []*scenario.Outcome
	out      ReportStep
}

// row adds one, with what was found about it.
func (b *tableBuilder) row(who, why string, kinds []string, cell func(o *scenario.Outcome) string) {
	r := ReportRow{Who: who, Why: why}
	for _, o := range b.outcomes {
		text := ""
		if o != nil {
			text = cell(o)
		}
		r.Cells = append(r.Cells, text)
	}
	about, _, _ := strings.Cut(who, " ")
	if about == "answer" {
		about = ""
	}
	for _, f := range b.trial.Findings {
		if f.Step != b.step || f.Who != about || !slices.Contains(kinds, f.Kind) {
			continue
		}
		if f.Listed != "" {
			r.Listed = append(r.Listed, f.Listed)
			continue
		}
		r.Unlisted = append(r.Unlisted, string(f.Way)+" "+f.What)
	}
	slices.Sort(r.Listed)
	r.Listed = slices.Compact(r.Listed)
	b.out.Rows = append(b.out.Rows, r)
}

// receivers are all vmacs that there are, the wire, the host's stack, and the
// parent's tap where the scenario speaks of it.
func (b *tableBuilder) receivers(st *scenario.Step) {
	var names []string
	why := map[string]string{}
	note := func(n string) {
		if n != scenario.Port && n != scenario.Wire && n != scenario.Stack && n != scenario.Tap && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, v := range b.trial.Scenario.Vmacs {
		if slices.ContainsFunc(b.outcomes, func(o *scenario.Outcome) bool { return exists(o, v.Name) }) {
			note(v.Name)
		}
	}
	for _, o := range b.outcomes {
		if o == nil {
			continue
		}
		for _, c := range o.Counts {
			note(c.Who)
		}
		for _, d := range o.Gets {
			note(d.Who)
		}
		for _, w := range o.Why {
			why[w.Who] = w.Text
		}
	}
	names = append(names, scenario.Wire, scenario.Stack)
	if slices.ContainsFunc(st.Expect.Gets, isTap) {
		names = append(names, scenario.Tap)
	}
	kinds := []string{scenario.KindDelivery, scenario.KindType, scenario.KindBytes}
	for _, n := range names {
		b.row(n, why[n], kinds, func(o *scenario.Outcome) string { return b.gets(o, n) })
	}
	if b.found("", scenario.KindOrder) {
		b.row("order", "", []string{scenario.KindOrder}, func(*scenario.Outcome) string { return "" })
	}
}

func exists(o *scenario.Outcome, vmac string) bool {
	return o != nil && slices.ContainsFunc(o.Counts, func(c scenario.Count) bool { return c.Who == vmac })
}

// gets is one cell: what somebody got.
func (b *tableBuilder) gets(o *scenario.Outcome, who string) string {
	var words []string
	for _, d := range o.Gets {
		if d.Who != who {
			continue
		}
		w := typeName(d.Type)
		if d.StackType != nil && *d.StackType != d.Type {
			w += "/" + typeName(*d.StackType)
		}
		if d.Times > 1 {
			w += fmt.Sprintf(" ×%d", d.Times)
		}
		if d.Frame != nil && who != scenario.Stack && !bytes.Equal(d.Frame, b.sent) {
			w += fmt.Sprintf(" altered %dB", len(d.Frame))
		}
		words = append(words, w)
	}
	if words == nil {
		return "-"
	}
	return strings.Join(words, ", ")
}

func typeName(t classify.PacketType) string {
	if t == classify.TypeOutgoing {
		return "out"
	}
	return t.String()
}

func (b *tableBuilder) answers(st *scenario.Step) {
	said := !st.Expect.Answer.OK() || b.found("", scenario.KindAnswer) ||
		slices.ContainsFunc(b.outcomes, func(o *scenario.Outcome) bool { return o != nil && !o.Answer.OK() })
	if said || st.Control != nil && st.Control.Verb != scenario.Show {
		b.row("answer", "", []string{scenario.KindAnswer}, func(o *scenario.Outcome) string { return o.Answer.String() })
	}
}

// shown has a row for every property.
func (b *tableBuilder) shown() {
	var keys [][2]string
	for _, o := range b.outcomes {
		if o == nil {
			continue
		}
		for _, sh := range o.Shows {
			for _, f := range sh.Fields {
				if k := [2]string{sh.Who, f.Key}; !slices.Contains(keys, k) {
					keys = append(keys, k)
				}
			}
		}
	}
	for _, k := range keys {
		b.row(k[0]+" "+k[1], "", nil, func(o *scenario.Outcome) string {
			for _, sh := range o.Shows {
				if sh.Who == k[0] {
					return sh.Value(k[1])
				}
			}
			return ""
		})
		last := &b.out.Rows[len(b.out.Rows)-1]
		for _, f := range b.trial.Findings {
			// A finding names the device; its text names the property first.
			if f.Step == b.step && f.Who == k[0] && f.Kind == scenario.KindShow && strings.Contains(f.What, " "+k[1]+" ") {
				if f.Listed != "" {
					last.Listed = append(last.Listed, f.Listed)
				} else {
					last.Unlisted = append(last.Unlisted, string(f.Way)+" "+f.What)
				}
			}
		}
	}
}

// counters have a row where the scenario speaks of them, or they differ.
func (b *tableBuilder) counters(st *scenario.Step) {
	var names []string
	for _, c := range st.Expect.Counts {
		names = append(names, c.Who)
	}
	for _, f := range b.trial.Findings {
		if f.Step == b.step && f.Kind == scenario.KindCounter && !slices.Contains(names, f.Who) {
			names = append(names, f.Who)
		}
	}
	for _, n := range names {
		b.row(n+" counts", "", []string{scenario.KindCounter}, func(o *scenario.Outcome) string {
			for _, c := range o.Counts {
				if c.Who == n {
					return c.Counters.String()
				}
			}
			return "nothing"
		})
	}
}

func (b *tableBuilder) found(who, kind string) bool {
	return slices.ContainsFunc(b.trial.Findings, func(f Finding) bool { return f.Step == b.step && f.Who == who && f.Kind == kind })
}

// WriteText prints the table. Rows that differ begin with "!", or with the
// number of the listed deviation.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Title)
	var ran []string
	for _, way := range r.Ways {
		switch {
		case way.Error != "":
			fmt.Fprintf(&b, "  ! the %s failed: %s\n", way.Way, way.Error)
		case way.Skipped != "":
			fmt.Fprintf(&b, "  not on the %s: %s\n", way.Way, way.Skipped)
		default:
			ran = append(ran, string(way.Way))
		}
	}
	widths := []int{8}
	for _, name := range ran {
		widths = append(widths, len(name))
	}
	for _, st := range r.Steps {
		for _, row := range st.Rows {
			for i, c := range append([]string{row.Who}, row.Cells...) {
				widths[i] = max(widths[i], min(utf8.RuneCountInString(c), 40))
			}
		}
	}
	line := func(mark string, cells []string, end string) {
		text := fmt.Sprintf("  %5s ", mark)
		for i, c := range cells {
			text += c + strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(c))+2)
		}
		b.WriteString(strings.TrimRight(text+end, " ") + "\n")
	}
	for _, st := range r.Steps {
		fmt.Fprintf(&b, "\n  line %d: %s\n", st.Line, st.Statement)
		line("", append([]string{""}, ran...), "")
		for _, row := range st.Rows {
			mark := ""
			if len(row.Listed) > 0 {
				mark = "(" + strings.Join(row.Listed, ",") + ")"
			}
			if len(row.Unlisted) > 0 {
				mark = "!"
			}
			line(mark, append([]string{row.Who}, row.Cells...), row.Why)
			for _, u := range row.Unlisted {
				fmt.Fprintf(&b, "        ! %s\n", u)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Lists says whether a row is excused by the deviation of that number.
func (r *Report) Lists(number string) bool {
	return slices.ContainsFunc(r.Steps, func(s ReportStep) bool {
		return slices.ContainsFunc(s.Rows, func(row ReportRow) bool { return slices.Contains(row.Listed, number) })
	})
}
