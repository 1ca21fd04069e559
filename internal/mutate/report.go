package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// parseEquivalents reads equivalent.txt: a line that names a mutant, and an
// indented one that says why no test can tell it from the original.
func parseEquivalents(text string) (map[string]string, error) {
	reasons := map[string]string{}
	key := ""
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case line[0] != '\t':
			if key != "" {
				return nil, fmt.Errorf("equivalent.txt:%d: no reason is given for %s", i, key)
			}
			key = line
		case key == "" || reasons[key] != "":
			return nil, fmt.Errorf("equivalent.txt:%d: a reason, but of what?", i+1)
		default:
			reasons[key] = strings.TrimSpace(line)
			key = ""
		}
	}
	if key != "" {
		return nil, fmt.Errorf("equivalent.txt: no reason is given for %s", key)
	}
	return reasons, nil
}

// report prints the outcome and says whether it is a failure. If whole, every
// entry of equivalent about this package has to have survived.
func (p *pkg) report(w io.Writer, equivalent map[string]string, whole bool, took time.Duration) (failed bool) {
	killed, listed := 0, map[string]bool{}
	for _, m := range p.mutants {
		reason := equivalent[m.key()]
		listed[m.key()] = true
		switch {
		case m.killed && reason != "":
			fmt.Fprintf(w, "killed, but listed as equivalent: %v\n", m)
			failed = true
		case !m.killed && reason == "":
			fmt.Fprintf(w, "survived: %v\n", m)
			failed = true
		case !m.killed:
			fmt.Fprintf(w, "equivalent: %v\n\t%s\n", m, reason)
		}
		if m.killed {
			killed++
		}
	}
	for _, key := range slices.Sorted(maps.Keys(equivalent)) {
		if whole && strings.HasPrefix(key, p.name+"/") && strings.Count(key[len(p.name)+1:strings.Index(key, " ")], "/") == 0 && !listed[key] {
			fmt.Fprintf(w, "no such mutant: %s\n", key)
			failed = true
		}
	}
	fmt.Fprintf(w, "%s: %d of %d mutants killed (%.2f %%) in %v\n", p.name, killed, len(p.mutants),
		100*float64(killed)/float64(max(1, len(p.mutants))), took.Round(time.Second))
	return failed || whole && 100*killed < least*len(p.mutants)
}
