package scenario

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// Kinds of a Difference.
const (
	KindDelivery = "delivery" // somebody got a frame or didn't
	KindType     = "type"     // with another packet type
	KindBytes    = "bytes"    // with other bytes
	KindOrder    = "order"
	KindCounter  = "counter"
	KindAnswer   = "answer"
	KindShow     = "show"
)

// Runs reports whether the scenario can be run in this way.
func (s *Scenario) Runs(w Way) bool { return len(s.Only) == 0 || slices.Contains(s.Only, w) }

// Check compares what was observed with what the scenario expects.
func Check(s *Scenario, r *Result) []Difference {
	var all []Difference
	for i := range s.Steps {
		step := &s.Steps[i]
		if i >= len(r.Outcomes) {
			return append(all, Difference{Step: i, Kind: KindAnswer, What: "was not played"})
		}
		c := comparison{s: s, step: i, left: &step.Expect, right: &r.Outcomes[i]}
		if step.Stated || step.Control != nil {
			c.answers("expected")
		}
		if !step.Stated {
			all = append(all, c.found...)
			continue
		}
		if step.Send != nil {
			c.sent, _ = s.Frame(i)
			c.deliveries("expected")
		}
		for _, want := range c.left.Counts {
			c.counter(want, "expected")
		}
		c.shown("expected")
		all = append(all, c.found...)
	}
	return all
}

// Compare compares what two ways observed: everything that both looked at. The
// differences are worded from the right one's side.
func Compare(s *Scenario, left, right *Result) []Difference {
	var all []Difference
	other := string(left.Way)
	for i := range s.Steps {
		if i >= len(left.Outcomes) || i >= len(right.Outcomes) {
			if len(left.Outcomes) != len(right.Outcomes) {
				all = append(all, Difference{Step: i, Kind: KindAnswer, What: "was not played everywhere"})
			}
			return all
		}
		c := comparison{s: s, step: i, left: &left.Outcomes[i], right: &right.Outcomes[i], both: true}
		c.answers(other)
		if s.Steps[i].Send != nil {
			c.sent, _ = s.Frame(i)
			c.deliveries(other)
		}
		for _, want := range c.left.Counts {
			if slices.ContainsFunc(c.right.Counts, func(o Count) bool { return o.Who == want.Who }) {
				c.counter(want, other)
			}
		}
		c.shown(other)
		all = append(all, c.found...)
	}
	return all
}

// comparison is of one step: left is right by definition.
type comparison struct {
	s           *Scenario
	step        int
	left, right *Outcome
	both        bool // left was observed, too
	sent        []byte
	found       []Difference
}

func (c *comparison) differ(kind, who, format string, args ...any) {
	c.found = append(c.found, Difference{Step: c.step, Who: who, Kind: kind, What: fmt.Sprintf(format, args...)})
}

func (c *comparison) answers(other string) {
	a, b := c.left.Answer, c.right.Answer
	if a.Errno != b.Errno || a.Text != "" && b.Text != "" && a.Text != b.Text {
		c.differ(KindAnswer, "", "answered %s, %s %v", b.Hinted(), other, a)
	}
}

func (c *comparison) counter(want Count, other string) {
	var got Counters
	for _, o := range c.right.Counts {
		if o.Who == want.Who {
			got = o.Counters
		}
	}
	if got != want.Counters {
		c.differ(KindCounter, want.Who, "counts %v, %s %v", got, other, want.Counters)
	}
}

func (c *comparison) shown(other string) {
	for _, want := range c.left.Shows {
		i := slices.IndexFunc(c.right.Shows, func(s Shown) bool { return s.Who == want.Who })
		if i < 0 {
			if !c.both {
				c.differ(KindShow, want.Who, "was not shown")
			}
			continue
		}
		for _, f := range want.Fields {
			got := c.right.Shows[i].Value(f.Key)
			switch {
			case got == "" && c.both:
			case got == "":
				c.differ(KindShow, want.Who, "shows no %s, %s %s", f.Key, other, f.Value)
			case c.s.plainValue(Field{f.Key, got}) != c.s.plainValue(f):
				c.differ(KindShow, want.Who, "shows %s %s, %s %s", f.Key, got, other, f.Value)
			}
		}
	}
}

// deliveries compares who got what. Tap is looked at if both, or the
// expectation, have it.
func (c *comparison) deliveries(other string) {
	names := map[string]bool{}
	for _, d := range slices.Concat(c.left.Gets, c.right.Gets) {
		names[d.Who] = true
	}
	if !slices.ContainsFunc(c.left.Gets, isTap) || c.both && !slices.ContainsFunc(c.right.Gets, isTap) {
		delete(names, Tap)
	}
	sorted := make([]string, 0, len(names))
	for n := range names {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted)
	for _, who := range sorted {
		c.whoGets(who, other)
	}
	if c.left.InOrder && len(c.found) == 0 {
		want, got := order(c.left.Gets), order(c.right.Gets)
		if !slices.Equal(want, got) {
			c.differ(KindOrder, "", "served %s, %s %s", strings.Join(got, " "), other, strings.Join(want, " "))
		}
	}
}

func isTap(d Delivery) bool { return d.Who == Tap }

// order is the vmacs as they were served.
func order(list []Delivery) []string {
	var names []string
	for _, d := range list {
		if d.Who == Wire || d.Who == Stack || d.Who == Tap {
			continue
		}
		for range max(1, d.Times) {
			names = append(names, d.Who)
		}
	}
	return names
}

// whoGets matches what one place should get with what it got: first what is
// equal in everything, then what is only nearly so.
func (c *comparison) whoGets(who, other string) {
	want, got := c.of(c.left, who), c.of(c.right, who)
	for _, same := range []func(w, g *Delivery) bool{c.equal, c.sameBytes, c.sameType} {
		for i := range want {
			for j := range got {
				w, g := &want[i], &got[j]
				if w.Most == 0 || g.Times == 0 || !same(w, g) {
					continue
				}
				n := min(w.Most, g.Times)
				w.Most, w.Times, g.Times = w.Most-n, max(0, w.Times-n), g.Times-n
				c.nearly(who, other, w, g)
			}
		}
	}
	for i := range want {
		if w := &want[i]; w.Times > 0 {
			c.differ(KindDelivery, who, "got no %s%s, %s it does", typeWord(w.Type), timesWord(w.Times), other)
		}
	}
	for i := range got {
		if g := &got[i]; g.Times > 0 {
			c.differ(KindDelivery, who, "got %s%s, %s it doesn't", typeWord(g.Type), timesWord(g.Times), other)
		}
	}
}

func timesWord(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" %d times", n)
}

// nearly says in what two that were matched differ.
func (c *comparison) nearly(who, other string, w, g *Delivery) {
	if w.Type != g.Type {
		c.differ(KindType, who, "got %s, %s %s", typeWord(g.Type), other, typeWord(w.Type))
	} else if !sameStack(w, g) {
		c.differ(KindType, who, "got %s with stack-type %s, %s %s", typeWord(g.Type), typeWord(stackOf(g)), other, typeWord(stackOf(w)))
	}
	if !c.sameBytes(w, g) {
		if w.Len != 0 {
			c.differ(KindBytes, who, "got %d bytes, %s %d", len(g.Frame), other, w.Len)
		} else {
			c.differ(KindBytes, who, "got %s, %s %s", hex.EncodeToString(g.Frame), other, hex.EncodeToString(w.Frame))
		}
	}
}

func (c *comparison) equal(w, g *Delivery) bool {
	return c.sameBytes(w, g) && w.Type == g.Type && sameStack(w, g)
}

func (c *comparison) sameBytes(w, g *Delivery) bool {
	switch {
	case w.Len != 0:
		return w.Len == len(g.Frame)
	case w.Who == Stack:
		return bytes.Equal(bareFrame(w.Frame), bareFrame(g.Frame))
	}
	return bytes.Equal(w.Frame, g.Frame)
}

func (c *comparison) sameType(_, _ *Delivery) bool { return true }

// sameStack compares what handlers see if both say so; an expectation that
// doesn't say it means: the same.
func sameStack(w, g *Delivery) bool { return g.StackType == nil || stackOf(w) == stackOf(g) }

func stackOf(d *Delivery) classify.PacketType {
	if d.StackType != nil {
		return *d.StackType
	}
	return d.Type
}

// of returns what one place gets with Times and Most filled in, equal ones
// together.
func (c *comparison) of(o *Outcome, who string) []Delivery {
	var list []Delivery
	for _, d := range o.Gets {
		if d.Who != who {
			continue
		}
		if d.Most == 0 {
			d.Times = max(1, d.Times)
			d.Most = d.Times
		}
		if d.Frame == nil && d.Len == 0 {
			d.Frame = c.sent
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b Delivery) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), bytes.Compare(a.Frame, b.Frame))
	})
	return list
}

// untagged takes the outermost tag away.
func untagged(frame []byte) []byte {
	if len(frame) < headerLen+tagLen || !isTag(binary.BigEndian.Uint16(frame[12:])) {
		return frame
	}
	return slices.Concat(frame[:12], frame[16:])
}

// bareFrame takes all tags away: which of them handlers see depends on what is
// in them.
func bareFrame(frame []byte) []byte {
	for {
		inner := untagged(frame)
		if len(inner) == len(frame) {
			return frame
		}
		frame = inner
	}
}

func isTag(typ uint16) bool { return typ == 0x8100 || typ == 0x88a8 }
