package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SyntaxError is the first thing in a file that isn't the language.
type SyntaxError struct {
	File string
	Line int // from 1
	Got  string
	Want string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: expected %s, got %s", e.File, e.Line, e.Want, e.Got)
}

// Parse reads a scenario. The error is a *SyntaxError. Nothing of src is kept.
func Parse(file string, src []byte) (s *Scenario, err error) {
	p := parser{s: &Scenario{
		File: file, Profile: Current, notes: map[string]Note{},
		Parent: Parent{MTU: DefaultMTU, Address: ParentMAC},
	}}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *SyntaxError:
			s, err = nil, e
		default:
			panic(e)
		}
	}()
	for i, text := range strings.Split(string(src), "\n") {
		p.line = i + 1
		p.statement(text)
	}
	p.words, p.at = nil, 0
	if p.s.Title == "" {
		p.fail("the statement title, with one sentence")
	}
	p.s.end = trimBlank(p.above)
	p.resolve()
	return p.s, nil
}

// DefaultMTU is the parent's MTU if a scenario doesn't say another.
const DefaultMTU = 1500

// parser holds one line at a time. A failure is a panic with a *SyntaxError,
// which Parse turns into its error.
type parser struct {
	s     *Scenario
	line  int
	words []string
	at    int      // of the next word
	above []string // comment lines that wait for their statement
	note  Note     // of this statement
	uses  []use
}

// use is a name whose meaning is only known at the end of the file.
type use struct {
	line int
	addr Addr
	six  bool // six octets are needed
}

func (p *parser) fail(want string, args ...any) {
	got := "the end of the line"
	if p.at < len(p.words) {
		got = strconv.Quote(p.words[p.at])
	}
	p.failGot(got, want, args...)
}

func (p *parser) failGot(got, want string, args ...any) {
	panic(&SyntaxError{File: p.s.File, Line: p.line, Got: got, Want: fmt.Sprintf(want, args...)})
}

// wrong is fail about the word that was taken last.
func (p *parser) wrong(want string, args ...any) {
	p.at--
	p.fail(want, args...)
}

func (p *parser) peek() string {
	if p.at < len(p.words) {
		return p.words[p.at]
	}
	return ""
}

func (p *parser) more() bool { return p.at < len(p.words) }

// next takes a word, which has to be there.
func (p *parser) next(want string) string {
	if p.at >= len(p.words) {
		p.fail("%s", want)
	}
	p.at++
	return p.words[p.at-1]
}

// accept takes a word if it is this one.
func (p *parser) accept(word string) bool {
	ok := p.at < len(p.words) && p.words[p.at] == word
	if ok {
		p.at++
	}
	return ok
}

func (p *parser) done() {
	if p.at < len(p.words) {
		p.fail("the end of the line")
	}
}

func (p *parser) number(want string, most uint64) uint64 {
	n, err := strconv.ParseUint(p.next(want), 0, 64)
	if err != nil || n > most {
		p.wrong("%s", want)
	}
	return n
}

// addr takes a name or octets.
func (p *parser) addr(want string, six bool) Addr {
	a := p.addrOf(p.next(want), want)
	p.uses = append(p.uses, use{p.line, a, six})
	return a
}

func (p *parser) addrOf(word, want string) Addr {
	if !strings.Contains(word, ":") {
		return Addr(word)
	}
	b, ok := octets(word)
	if !ok {
		p.wrong("%s", want)
	}
	return literal(b)
}

// addrs takes a list with commas.
func (p *parser) addrs(want string, six bool) []Addr {
	var list []Addr
	for _, w := range strings.Split(p.next(want), ",") {
		if w == "" {
			p.wrong("%s", want)
		}
		list = append(list, p.addrOf(w, want))
		p.uses = append(p.uses, use{p.line, list[len(list)-1], six})
	}
	return list
}

// statement reads one line.
func (p *parser) statement(text string) {
	p.words, p.at = nil, 0
	text = strings.TrimRightFunc(text, unicode.IsSpace)
	if !utf8.ValidString(text) {
		p.failGot("a byte that isn't", "UTF-8 text")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }); i >= 0 {
		r, _ := utf8.DecodeRuneInString(text[i:])
		p.failGot(strconv.QuoteRune(r), "text without control characters")
	}
	indented := text != strings.TrimLeftFunc(text, unicode.IsSpace)
	text = strings.TrimSpace(text)
	if text == "" || text[0] == '#' {
		if text != "" || len(p.above) == 0 || p.above[len(p.above)-1] != "" {
			p.above = append(p.above, text)
		}
		return
	}
	p.note = Note{Above: p.above}
	p.above = nil
	words, comment := p.split(text)
	p.words, p.note.Right = words, comment
	if p.s.Title == "" {
		p.note.Above = trimLeadingBlank(p.note.Above)
	}
	if indented {
		p.expectation()
		return
	}
	p.top()
}

// split cuts a line into words; one in double quotes may hold blanks.
func (p *parser) split(text string) (words []string, comment string) {
	// What text statements say is no word with quotes.
	plain := false
	for text != "" {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		if text != "" && text[0] == '#' {
			return words, text
		}
		if text == "" {
			break
		}
		n := strings.IndexFunc(text, unicode.IsSpace)
		if n < 0 {
			n = len(text)
		}
		if text[0] == '"' && !plain {
			q, err := strconv.QuotedPrefix(text)
			if err != nil || len(q) != len(text) && !startsBlank(text[len(q):]) {
				p.failGot(strconv.Quote(text[:n]), "text that ends with a double quote")
			}
			n = len(q)
		}
		words = append(words, text[:n])
		if len(words) == 1 {
			plain = words[0] == "title" || words[0] == "only" || words[0] == "recorded"
		}
		text = text[n:]
	}
	return words, ""
}

func startsBlank(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsSpace(r)
}

// rest takes all words that are left, as text.
func (p *parser) rest(want string) string {
	if !p.more() {
		p.fail("%s", want)
	}
	t := strings.Join(p.words[p.at:], " ")
	p.at = len(p.words)
	return t
}

// keep stores the note of a statement of which there is one, and refuses a
// second.
func (p *parser) keep(keyword string) {
	if _, twice := p.s.notes[keyword]; twice {
		p.at = 0
		p.fail("one statement %s, not two", keyword)
	}
	p.s.notes[keyword] = p.note
}

// resolve looks at what could not be known before the end.
func (p *parser) resolve() {
	vmacs := map[string]bool{}
	p.s.eachVmac(func(v *Vmac) bool { vmacs[v.Name] = true; return true })
	for _, n := range p.s.Names {
		if vmacs[n.Name] {
			p.failGot(strconv.Quote(n.Name), "an address with a name that no vmac has")
		}
	}
	for _, u := range p.uses {
		p.line = u.line
		b, err := p.s.Octets(u.addr)
		if err != nil {
			p.failGot(strconv.Quote(string(u.addr)), "an address, or the name of one")
		}
		if u.six && len(b) != 6 {
			p.failGot(fmt.Sprintf("%d", len(b)), "six octets")
		}
	}
	p.frames()
}

func trimLeadingBlank(lines []string) []string {
	if len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	return orNil(lines)
}

func trimBlank(lines []string) []string {
	if n := len(lines); n > 0 && lines[n-1] == "" {
		lines = lines[:n-1]
	}
	return orNil(lines)
}

func orNil(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	return lines
}
