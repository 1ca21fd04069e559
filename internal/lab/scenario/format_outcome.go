package scenario

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// outcome writes what is expected: the answer, who gets what, what is shown,
// what is counted.
func (f *formatter) outcome(o *Outcome, send bool) {
	if n, ok := o.notes[lineKey{'a', 0}]; ok || !o.Answer.OK() {
		f.line("  ", "answers "+o.Answer.String(), n)
	}
	for i := 0; i < len(o.Gets); {
		n := o.run('g', i, len(o.Gets), func(j int) bool { return o.Gets[i].likeButWho(o.Gets[j]) && !repeats(o.Gets[i:j], o.Gets[j].Who) })
		var who []string
		for _, d := range o.Gets[i : i+n] {
			who = append(who, d.Who)
		}
		f.line("  ", namesGet(who)+o.Gets[i].words(), o.notes[lineKey{'g', i}])
		i += n
	}
	if len(o.Gets) == 0 && send {
		f.line("  ", "nobody", o.notes[lineKey{'n', 0}])
	}
	if o.InOrder {
		f.line("  ", "in order", o.notes[lineKey{'o', 0}])
	}
	for i := range o.Shows {
		text := o.Shows[i].Who + " shows"
		for _, v := range o.Shows[i].Fields {
			text += " " + v.Key + " " + v.Value
		}
		f.line("  ", text, o.notes[lineKey{'s', i}])
	}
	for i := 0; i < len(o.Counts); {
		n := o.run('c', i, len(o.Counts), func(j int) bool { return o.Counts[i].Counters == o.Counts[j].Counters })
		var who []string
		for _, c := range o.Counts[i : i+n] {
			who = append(who, c.Who)
		}
		f.line("  ", strings.Join(who, " ")+" counts "+o.Counts[i].Counters.String(), o.notes[lineKey{'c', i}])
		i += n
	}
}

// run is how many from i on fit in one line. A line with a comment of its own
// stays one.
func (o *Outcome) run(kind byte, i, end int, same func(int) bool) int {
	n := 1
	for ; i+n < end && same(i+n) && !o.notes[lineKey{kind, i + n}].speaks(); n++ {
	}
	return n
}

func repeats(list []Delivery, who string) bool {
	return slices.ContainsFunc(list, func(d Delivery) bool { return d.Who == who })
}

func namesGet(who []string) string {
	if len(who) == 1 {
		return who[0] + " gets "
	}
	return strings.Join(who, " ") + " get "
}

// likeButWho reports whether both go into one line.
func (d Delivery) likeButWho(e Delivery) bool { return d.words() == e.words() }

// words are what comes after "gets".
func (d Delivery) words() string {
	w := []string{typeWord(d.Type)}
	if d.StackType != nil {
		w = append(w, "stack-type "+typeWord(*d.StackType))
	}
	if d.Len != 0 {
		w = append(w, fmt.Sprintf("len %d", d.Len))
	}
	if d.Frame != nil {
		w = append(w, "bytes "+hex.EncodeToString(d.Frame))
	}
	switch {
	case d.Most != 0:
		w = append(w, fmt.Sprintf("times %d..%d", d.Times, d.Most))
	case d.Times > 1:
		w = append(w, fmt.Sprintf("times %d", d.Times))
	}
	return strings.Join(w, " ")
}

// typeWord is the language's word for a packet type.
func typeWord(t classify.PacketType) string {
	if t == classify.TypeOutgoing {
		return "out"
	}
	return t.String()
}

// String writes counters as a file does.
func (c Counters) String() string {
	var w []string
	for _, k := range counterWords {
		switch n := *k.of(&c); {
		case k.bytes != nil && (n != 0 || *k.bytes(&c) != 0):
			w = append(w, fmt.Sprintf("%s %d/%d", k.word, n, *k.bytes(&c)))
		case k.bytes == nil && n != 0:
			w = append(w, fmt.Sprintf("%s %d", k.word, n))
		}
	}
	if w == nil {
		return "nothing"
	}
	return strings.Join(w, " ")
}

// String writes an answer as a file does.
func (a Answer) String() string {
	switch {
	case a.OK():
		return "ok"
	case a.Text != "":
		return a.Errno + " " + strconv.Quote(a.Text)
	}
	return a.Errno
}

// Hinted is String with the hint, if there is one.
func (a Answer) Hinted() string {
	if a.Hint == "" {
		return a.String()
	}
	return a.String() + " (" + a.Hint + ")"
}
