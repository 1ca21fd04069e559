package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText prints the report for people: medians, in brackets the smallest and
// the largest repetition, the ratio to the baseline, what else was seen, and
// what became of the goals.
func (r *Report) WriteText(w io.Writer, metrics bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nMedians of %d repetitions of %d ms, taking turns; in brackets the smallest and the largest.\n", r.Machine, r.Repetitions, r.LastMS)
	for _, line := range r.Absent {
		fmt.Fprintln(&b, line)
	}
	if r.Broken != "" {
		fmt.Fprintln(&b, "The run ended early, these are the cases that it had finished:", r.Broken)
	}
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "\ntraffic\tcontender\t\tratio\n")
	for _, result := range r.Results {
		what := result.Case.Title
		for i, s := range result.Series {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", what, s.Contender, result.measured(i), result.ratio(i))
			what = ""
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	r.remarks(&b, metrics)
	if len(r.Verdicts) > 0 {
		fmt.Fprint(tw, "\ngoal, against kernel macvlan unless said\tmeasured\tmust\taim\t\n")
		for _, v := range r.Verdicts {
			must, aim := v.Goal.Bounds()
			value, word := fmt.Sprintf("%.3g", v.Value), v.Word
			if v.Word == Unmeasured {
				value = "-"
			}
			if v.Reason != "" {
				word += ": " + v.Reason
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", v.Goal.Row, value, must, aim, word)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ratio is Ratio, for a table.
func (r Result) ratio(i int) string {
	if i == 0 || r.Series[i].Failed != "" {
		return ""
	}
	return fmt.Sprintf("%.2f", r.Ratio(i))
}

// measured is what contender number i did, for a table.
func (r Result) measured(i int) string {
	if r.Series[i].Failed != "" {
		return "failed"
	}
	return fmt.Sprintf("%s %s", r.Series[i].Spread(), r.Case.Unit)
}

// remarks prints below the table which way the traffic took, what was dropped
// and, if asked for, every metric.
func (r *Report) remarks(b *strings.Builder, metrics bool) {
	first := true
	for _, result := range r.Results {
		for _, s := range result.Series {
			var parts []string
			if s.Failed != "" {
				parts = append(parts, "failed: "+s.Failed)
			}
			if s.Path != "" && metrics {
				parts = append(parts, s.Path)
			}
			m := s.Metrics()
			for _, k := range slices.Sorted(maps.Keys(m)) {
				if metrics || notable[k] && m[k].Max > 0 {
					parts = append(parts, fmt.Sprintf("%s %s", k, m[k]))
				}
			}
			drops := s.Drops()
			for _, k := range slices.Sorted(maps.Keys(drops)) {
				parts = append(parts, fmt.Sprintf("dropped %d %s", drops[k], k))
			}
			if len(parts) == 0 {
				continue
			}
			if first {
				fmt.Fprintln(b)
				first = false
			}
			fmt.Fprintf(b, "  %s, %s: %s\n", result.Case.Title, s.Contender, strings.Join(parts, ", "))
		}
	}
}

// notable metrics are printed unasked when they aren't 0.
var notable = map[string]bool{
	Jain: true, Loss: true, P99: true, Retransmits: true, CPUPerGB: true,
	"reordered": true, "duplicated": true, "corrupt": true, "lost": true, "CPUs busy beforehand %": true,
}

// Format prints "median (min–max)", with %.2f as asked or, with %s, as many
// digits as the size calls for.
func (s Spread) Format(f fmt.State, verb rune) {
	digits, ok := f.Precision()
	if !ok {
		switch {
		case s.Max >= 100:
			digits = 0
		case s.Max >= 10:
			digits = 1
		case s.Max >= 0.1 || s.Max == 0:
			digits = 2
		default:
			digits = 4
		}
	}
	if s.Min == s.Max {
		fmt.Fprintf(f, "%.*f", digits, s.Median)
		return
	}
	fmt.Fprintf(f, "%.*f (%.*f–%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}
