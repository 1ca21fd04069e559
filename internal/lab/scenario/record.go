package scenario

import (
	"bytes"
	"cmp"
	"slices"
)

// Record returns the scenario with what was observed as its expectations, and
// says on what. A step whose expectation holds is left as its writer put it;
// of others the comments are kept, above the first new line. Counters are
// recorded for whom the step, or no line at all, spoke of them, shown
// properties likewise, the parent's tap only where it is named.
func (s *Scenario) Record(r *Result, on string) *Scenario {
	out := *s
	out.Recorded = on
	out.Steps = slices.Clone(s.Steps)
	wrong := map[int]bool{}
	for _, d := range Check(s, r) {
		wrong[d.Step] = true
	}
	for i := range out.Steps {
		st := &out.Steps[i]
		if i >= len(r.Outcomes) || st.Stated && !wrong[i] || st.Control != nil && st.Control.Verb != Show && !wrong[i] {
			continue
		}
		st.Expect = s.observed(i, &r.Outcomes[i])
		st.Stated = true
	}
	return &out
}

// observed makes an expectation of what was observed.
func (s *Scenario) observed(step int, got *Outcome) Outcome {
	st := &s.Steps[step]
	old := &st.Expect
	fresh := Outcome{Answer: got.Answer, InOrder: old.InOrder}
	if st.Send != nil {
		fresh.Gets = s.observedGets(step, got)
	}
	for _, c := range got.Counts {
		named := slices.ContainsFunc(old.Counts, func(o Count) bool { return o.Who == c.Who })
		if named || !st.Stated && st.Send != nil && c.Counters != (Counters{}) {
			fresh.Counts = append(fresh.Counts, c)
		}
	}
	slices.SortStableFunc(fresh.Counts, func(a, b Count) int { return cmp.Compare(a.Counters.String(), b.Counters.String()) })
	for _, sh := range got.Shows {
		i := slices.IndexFunc(old.Shows, func(o Shown) bool { return o.Who == sh.Who })
		fields := slices.DeleteFunc(slices.Clone(sh.Fields), func(f Field) bool { return i >= 0 && old.Shows[i].Value(f.Key) == "" })
		if len(fields) > 0 {
			fresh.Shows = append(fresh.Shows, Shown{sh.Who, fields})
		}
	}
	fresh.notes = old.comments(fresh.first(st.Send != nil))
	return fresh
}

// observedGets writes deliveries as a person would: what is like the frame that
// was sent needs no bytes, equal ones stand together, vmacs before the rest.
func (s *Scenario) observedGets(step int, got *Outcome) []Delivery {
	sent, _ := s.Frame(step)
	old := &s.Steps[step].Expect
	var list []Delivery
	for _, d := range got.Gets {
		if d.Who == Tap && !slices.ContainsFunc(old.Gets, isTap) {
			continue
		}
		if d.StackType != nil && *d.StackType == d.Type {
			d.StackType = nil
		}
		if bytes.Equal(d.Frame, sent) || d.Who == Stack && bytes.Equal(bareFrame(d.Frame), bareFrame(sent)) {
			d.Frame = nil
		}
		d.Times = max(1, d.Times)
		same := func(o Delivery) bool {
			n, m := o, d
			n.Times, m.Times = 1, 1
			return o.Who == d.Who && n.words() == m.words()
		}
		if i := slices.IndexFunc(list, same); i >= 0 && !old.InOrder {
			list[i].Times += d.Times
			continue
		}
		list = append(list, d)
	}
	if !old.InOrder {
		slices.SortStableFunc(list, func(a, b Delivery) int {
			return cmp.Or(cmp.Compare(placeRank(a.Who), placeRank(b.Who)), cmp.Compare(a.words(), b.words()))
		})
	}
	for i := range list {
		if list[i].Times == 1 {
			list[i].Times = 0
		}
	}
	return list
}

func placeRank(who string) int { return slices.Index([]string{Stack, Wire, Tap}, who) }

// first is the line that Format will begin with; an answer is written if it has
// a comment.
func (o *Outcome) first(send bool) lineKey {
	switch {
	case !o.Answer.OK():
	case len(o.Gets) > 0:
		return lineKey{'g', 0}
	case send:
		return lineKey{'n', 0}
	case len(o.Shows) > 0:
		return lineKey{'s', 0}
	}
	return lineKey{'a', 0}
}

// comments puts all comments of an expectation above one line.
func (o *Outcome) comments(at lineKey) map[lineKey]Note {
	keys := make([]lineKey, 0, len(o.notes))
	for k := range o.notes {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b lineKey) int {
		return cmp.Or(cmp.Compare(bytes.IndexByte([]byte("agnosc"), a.kind), bytes.IndexByte([]byte("agnosc"), b.kind)), cmp.Compare(a.index, b.index))
	})
	var n Note
	for _, k := range keys {
		n.Above = append(n.Above, o.notes[k].Above...)
		if right := o.notes[k].Right; right != "" {
			n.Above = append(n.Above, right)
		}
	}
	if !n.speaks() {
		return nil
	}
	return map[lineKey]Note{at: n}
}
