package scenario

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// once refuses a second line of a kind of which there is one.
func (p *parser) once(out *Outcome, kind byte) {
	if _, twice := out.notes[lineKey{kind, 0}]; twice {
		p.wrong("one such line below an action")
	}
}

func (p *parser) keepLine(out *Outcome, at lineKey) {
	if out.notes == nil {
		out.notes = map[lineKey]Note{}
	}
	out.notes[at] = p.note
}

func (p *parser) answer(out *Outcome) {
	const want = `ok, or an errno such as EBUSY and maybe a text in double quotes`
	w := p.next(want)
	if w == "ok" {
		return
	}
	if !errnoName(w) {
		p.wrong(want)
	}
	out.Answer.Errno = w
	if p.more() {
		text, err := strconv.Unquote(p.next(want))
		if err != nil || p.words[p.at-1][0] != '"' || text == "" {
			p.wrong("a text in double quotes")
		}
		out.Answer.Text = text
	}
}

func errnoName(w string) bool {
	return len(w) > 1 && w[0] == 'E' && strings.IndexFunc(w, func(r rune) bool { return !('A' <= r && r <= 'Z' || '0' <= r && r <= '9') }) < 0
}

type counterWord struct {
	word  string
	of    func(*Counters) *uint64
	bytes func(*Counters) *uint64 // nil: packets only
}

// counterWords are in the order in which they are written.
var counterWords = []counterWord{
	{"rx", func(c *Counters) *uint64 { return &c.RxPackets }, func(c *Counters) *uint64 { return &c.RxBytes }},
	{"multicast", func(c *Counters) *uint64 { return &c.Multicast }, nil},
	{"rx-errors", func(c *Counters) *uint64 { return &c.RxErrors }, nil},
	{"rx-dropped", func(c *Counters) *uint64 { return &c.RxDropped }, nil},
	{"tx", func(c *Counters) *uint64 { return &c.TxPackets }, func(c *Counters) *uint64 { return &c.TxBytes }},
	{"tx-dropped", func(c *Counters) *uint64 { return &c.TxDropped }, nil},
}

func (p *parser) counts(out *Outcome, who []string) {
	const want = "rx P/B, multicast N, rx-errors N, rx-dropped N, tx P/B, tx-dropped N, or nothing"
	if len(who) == 0 || slices.ContainsFunc(who, func(n string) bool { return n == Wire || n == Stack || n == Tap }) {
		p.wrong("vmacs or parent before counts")
	}
	for _, name := range who {
		if slices.ContainsFunc(out.Counts, func(c Count) bool { return c.Who == name }) {
			p.wrong("one line that says what %s counts", name)
		}
	}
	var c Counters
	if !p.accept("nothing") {
		p.peekNeeded(want)
		for seen := map[string]bool{}; p.more(); {
			p.counter(&c, seen, want)
		}
	}
	p.keepLine(out, lineKey{'c', len(out.Counts)})
	for _, name := range who {
		out.Counts = append(out.Counts, Count{name, c})
	}
}

func (p *parser) peekNeeded(want string) {
	if !p.more() {
		p.fail("%s", want)
	}
}

func (p *parser) counter(c *Counters, seen map[string]bool, want string) {
	word := p.next(want)
	i := slices.IndexFunc(counterWords, func(w counterWord) bool { return w.word == word })
	if i < 0 || seen[word] {
		p.wrong("%s, each once", want)
	}
	seen[word] = true
	w := counterWords[i]
	if w.bytes == nil {
		*w.of(c) = p.number("a number", math.MaxInt64)
		return
	}
	packets, bytes, _ := strings.Cut(p.next("packets/bytes"), "/")
	n, err1 := strconv.ParseUint(packets, 10, 63)
	m, err2 := strconv.ParseUint(bytes, 10, 63)
	if err1 != nil || err2 != nil {
		p.wrong("packets/bytes")
	}
	*w.of(c), *w.bytes(c) = n, m
}

// showKeys are in the order in which they are written.
var showKeys = []string{
	ShowExists, ShowMode, ShowFlags, ShowAddress, ShowMTU, ShowState, ShowCarrier, ShowBCQueueLen, ShowUsedLen, ShowBCLim, ShowList,
	ShowPromiscuity, ShowAllmulti, ShowUnicast, ShowMulticast,
}

func (p *parser) shows(out *Outcome, who []string) {
	want := "one of " + strings.Join(showKeys, ", ")
	if len(who) != 1 || who[0] == Wire || who[0] == Stack || who[0] == Tap {
		p.wrong("one vmac, or parent, before shows")
	}
	sh := Shown{Who: who[0]}
	p.peekNeeded(want)
	for p.more() {
		key := p.next(want)
		if !slices.Contains(showKeys, key) || sh.Value(key) != "" {
			p.wrong("%s, each once", want)
		}
		sh.Fields = append(sh.Fields, Field{key, p.showValue(key)})
	}
	slices.SortStableFunc(sh.Fields, func(a, b Field) int { return slices.Index(showKeys, a.Key) - slices.Index(showKeys, b.Key) })
	p.keepLine(out, lineKey{'s', len(out.Shows)})
	out.Shows = append(out.Shows, sh)
}

// showValue brings a value into the form in which players give it.
func (p *parser) showValue(key string) string {
	want := "a value of " + key
	v := p.next(want)
	list := strings.Split(v, ",")
	switch key {
	case ShowFlags:
		return v
	case ShowAddress, ShowList, ShowUnicast, ShowMulticast:
		if v == "none" {
			return v
		}
		for i, a := range list {
			if a == "" || key == ShowAddress && len(list) > 1 {
				p.wrong("%s", want)
			}
			// A name stays one until all of the file is known.
			list[i] = string(p.addrOf(a, want))
			p.uses = append(p.uses, use{p.line, Addr(list[i]), true})
		}
		return strings.Join(list, ",")
	}
	return v
}

// Value returns a field's value, empty if it isn't there.
func (s *Shown) Value(key string) string {
	for _, f := range s.Fields {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}

// plainValue is a field's value with names resolved and lists sorted.
func (s *Scenario) plainValue(f Field) string {
	switch f.Key {
	case ShowAddress, ShowList, ShowUnicast, ShowMulticast:
	default:
		return f.Value
	}
	if f.Value == "none" {
		return f.Value
	}
	list := strings.Split(f.Value, ",")
	for i, a := range list {
		if b, err := s.Octets(Addr(a)); err == nil {
			list[i] = string(literal(b))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}
