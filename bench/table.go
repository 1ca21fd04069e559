package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteTable prints results for people: medians, in brackets the smallest and
// the largest repetition, and below each case what else was seen.
func WriteTable(w io.Writer, results []Result) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(results) > 0 {
		fmt.Fprint(tw, "traffic\tunit")
		for i, s := range results[0].Series {
			fmt.Fprintf(tw, "\t%s", s.Contender)
			if i > 0 {
				fmt.Fprint(tw, "\tratio")
			}
		}
		fmt.Fprint(tw, "\tfloor\n")
	}
	for _, r := range results {
		fmt.Fprintf(tw, "%s\t%s", r.Case.Title, r.Case.Unit)
		for i, s := range r.Series {
			fmt.Fprintf(tw, "\t%s", s.Spread())
			if i > 0 {
				fmt.Fprintf(tw, "\t%.2f", r.Ratio(i))
			}
		}
		if r.Case.Floor > 0 {
			fmt.Fprintf(tw, "\t%.2f", r.Case.Floor)
		} else {
			fmt.Fprint(tw, "\t-")
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, s := range r.Series {
			if line := s.remarks(); line != "" {
				if _, err := fmt.Fprintf(w, "  %s, %s: %s\n", r.Case.Title, s.Contender, line); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// remarks is what a series has to say beside its rate.
func (s Series) remarks() string {
	var parts []string
	notes := s.Notes()
	for _, k := range slices.Sorted(maps.Keys(notes)) {
		parts = append(parts, fmt.Sprintf("%s %s", k, notes[k]))
	}
	drops := s.Drops()
	for _, k := range slices.Sorted(maps.Keys(drops)) {
		parts = append(parts, fmt.Sprintf("dropped %d %s", drops[k], k))
	}
	return strings.Join(parts, ", ")
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
		default:
			digits = 2
		}
	}
	if s.Min == s.Max {
		fmt.Fprintf(f, "%.*f", digits, s.Median)
		return
	}
	fmt.Fprintf(f, "%.*f (%.*f–%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}
