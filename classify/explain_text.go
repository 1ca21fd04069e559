package classify

import (
	"fmt"
	"strings"
)

func (x *explainer) step(depth int, where, format string, args ...any) {
	x.Steps = append(x.Steps, Step{depth, where, fmt.Sprintf(format, args...)})
}

// modeList names the modes of a mask.
func modeList(mask Mode) string {
	var names []string
	for _, e := range modes {
		if mask&e.mode != 0 {
			names = append(names, e.name)
		}
	}
	return strings.Join(names, ", ")
}

// String writes the explanation as a tree: the frame, the kernel's steps, the
// verdict, then every vmac.
func (x Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "from %s: %v > %v, ethertype %#04x, %d octets, type %v\n", x.From, x.Src, x.To, x.EtherType, x.Len, x.Type)
	for _, s := range x.Steps {
		fmt.Fprintf(&b, "%s%s: %s\n", strings.Repeat("  ", s.Depth+1), s.Where, s.What)
	}
	fmt.Fprintf(&b, "verdict %v: %s\n", x.Verdict.Reason, x.Verdict.Reason.Sentence())
	fmt.Fprintf(&b, "  parent's stack %s, wire %s, broadcast queue %s\n", yes(x.Verdict.Host), yes(x.Verdict.Wire), yes(x.Verdict.Queued))
	width := 0
	for i := range x.Vmacs {
		width = max(width, len(x.Vmacs[i].Name))
	}
	for i := range x.Vmacs {
		o := &x.Vmacs[i]
		state := "down"
		if o.Up {
			state = "up"
		}
		fmt.Fprintf(&b, "%-*s  %v  %-8v  %-4s  ", width, o.Name, o.MAC, o.Mode, state)
		if o.Reason != Delivered {
			fmt.Fprintf(&b, "nothing (%v): %s\n", o.Reason, o.Why)
			continue
		}
		for j, c := range o.Copies {
			if j > 0 {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "%v, as type %v", c.Path, c.Type)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
