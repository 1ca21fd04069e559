package scenario

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// optionWords follow the addresses of a send, in any order.
var optionWords = []string{"len", "type", "vlan", "svlan", "tag", "payload", "times"}

// maxTimes bounds how often a frame can be sent, or expected.
const maxTimes = 1_000_000

const sendWords = "len, type, vlan, svlan, tag, payload, times, or a frame's name"

// send reads what follows "send".
func (p *parser) send() *Send {
	const from = "wire:, host: or a vmac with a colon"
	s := &Send{Times: 1}
	name, colon := strings.CutSuffix(p.next(from), ":")
	if !colon || name != Wire && name != Host && !p.knownVmac(name) {
		p.wrong(from)
	}
	s.From = name
	switch {
	case p.accept("bytes"):
		s.Bytes = p.hex()
	case p.accept("pcap"):
		const want = "a capture file, a colon, and the number of a record, from 1"
		w := p.next(want)
		i := strings.LastIndexByte(w, ':')
		n, err := strconv.ParseUint(w[i+1:], 10, 31)
		if i < 1 || err != nil || n == 0 {
			p.wrong(want)
		}
		s.Capture, s.Record = w[:i], int(n)
	default:
		s.Src = p.addr("a source address, bytes or pcap", true)
		if !p.accept(">") {
			p.fail(`">"`)
		}
		s.Dst = p.addr("a destination address", true)
	}
	whole := s.Src == ""
	for seen := map[string]bool{}; p.more(); {
		word := p.next(sendWords)
		if !slices.Contains(optionWords, word) {
			if _, ok := frameKinds[word]; !ok || whole || s.Kind != nil {
				p.wrong(sendWords)
			}
			for s.Kind = []string{word}; p.more() && !slices.Contains(optionWords, p.peek()); {
				s.Kind = append(s.Kind, p.next("an argument"))
			}
			continue
		}
		if whole && word != "times" {
			p.wrong("times")
		}
		if tag := word == "vlan" || word == "svlan" || word == "tag"; seen[word] && !tag {
			p.wrong("%s once", word)
		}
		seen[word] = true
		p.sendOption(s, word)
	}
	if s.Kind != nil && s.Type != nil {
		p.fail("a named frame without type")
	}
	return s
}

func (p *parser) sendOption(s *Send, word string) {
	switch word {
	case "len":
		s.Len = int(p.number("a length of 1 to 65535", 65535))
		if s.Len == 0 {
			p.wrong("a length of 1 to 65535")
		}
	case "type":
		s.Type = ptr(uint16(p.number("an ethertype, such as 0x88b5", 0xffff)))
	case "vlan", "svlan":
		t := Tag{TPID: 0x8100}
		if word == "svlan" {
			t.TPID = 0x88a8
		}
		t.TCI = uint16(p.number("a VLAN id of 0 to 4095", 4095))
		if p.accept("pcp") {
			t.TCI |= uint16(p.number("a priority of 0 to 7", 7)) << 13
		}
		s.Tags = append(s.Tags, t)
	case "tag":
		const want = "a tag's TPID and TCI, four hexadecimal digits each with a colon between them"
		a, b, _ := strings.Cut(p.next(want), ":")
		tpid, err1 := strconv.ParseUint(a, 16, 16)
		tci, err2 := strconv.ParseUint(b, 16, 16)
		if err1 != nil || err2 != nil {
			p.wrong(want)
		}
		s.Tags = append(s.Tags, Tag{uint16(tpid), uint16(tci)})
	case "payload":
		s.Payload = p.hex()
	case "times":
		s.Times = int(p.number("a number of 1 to 1000000", maxTimes))
		if s.Times == 0 {
			p.wrong("a number of 1 to 1000000")
		}
	}
}

func (p *parser) hex() []byte {
	const want = "bytes in hexadecimal"
	b, err := hex.DecodeString(p.next(want))
	if err != nil || len(b) == 0 || len(b) > 1<<16 {
		p.wrong(want)
	}
	return b
}

// expectation reads an indented line.
func (p *parser) expectation() {
	const want = "who gets or counts what, nobody, in order, or answers"
	if len(p.s.Steps) == 0 {
		p.fail("an action before what follows from it")
	}
	step := &p.s.Steps[len(p.s.Steps)-1]
	out := &step.Expect
	step.Stated = true
	switch word := p.next(want); word {
	case "nobody":
		p.once(out, 'n')
		if len(out.Gets) > 0 || step.Send == nil {
			p.wrong("nobody below a send only, and where nobody gets anything")
		}
		p.keepLine(out, lineKey{'n', 0})
	case "in":
		if !p.accept("order") {
			p.fail("order")
		}
		p.once(out, 'o')
		out.InOrder = true
		p.keepLine(out, lineKey{'o', 0})
	case "answers":
		p.once(out, 'a')
		p.answer(out)
		p.keepLine(out, lineKey{'a', 0})
	default:
		p.at--
		p.someone(step)
	}
	p.done()
}

// someone reads a line that begins with names.
func (p *parser) someone(step *Step) {
	const want = "get, gets, counts, shows, or another name"
	out := &step.Expect
	var who []string
	for {
		name := p.next(want)
		switch name {
		case "get", "gets":
			if step.Send == nil {
				p.wrong("what an action gives: answers or shows")
			}
			p.gets(out, who)
			return
		case "counts":
			p.counts(out, who)
			return
		case "shows":
			if step.Control == nil || step.Control.Verb != Show {
				p.wrong("shows below show only")
			}
			p.shows(out, who)
			return
		}
		if !slices.Contains([]string{Wire, Stack, Tap, Port}, name) && !p.knownVmac(name) {
			if len(who) == 0 {
				p.wrong("a vmac that has been made above, wire, stack, tap or parent; or nobody, in order, answers")
			}
			p.wrong(want)
		}
		if slices.Contains(who, name) {
			p.wrong("each name once")
		}
		who = append(who, name)
	}
}

// typeWords are the packet types as the language says them.
var typeWords = map[string]classify.PacketType{
	"host": classify.TypeHost, "broadcast": classify.TypeBroadcast, "multicast": classify.TypeMulticast,
	"other": classify.TypeOther, "out": classify.TypeOutgoing,
}

func (p *parser) packetType() classify.PacketType {
	const want = "host, broadcast, multicast, other or out"
	t, ok := typeWords[p.next(want)]
	if !ok {
		p.wrong(want)
	}
	return t
}

func (p *parser) gets(out *Outcome, who []string) {
	if len(who) == 0 || slices.Contains(who, Port) {
		p.wrong("vmacs, wire, stack or tap before gets")
	}
	if _, ok := out.notes[lineKey{'n', 0}]; ok {
		p.wrong("nothing that anybody gets below nobody")
	}
	const want = "stack-type, len, bytes or times"
	d := Delivery{Type: p.packetType()}
	for seen := map[string]bool{}; p.more(); {
		word := p.next(want)
		if seen[word] {
			p.wrong("%s once", word)
		}
		seen[word] = true
		switch word {
		case "stack-type":
			d.StackType = ptr(p.packetType())
		case "len":
			d.Len = int(p.number("a length of 1 to 65557", 65557))
			if d.Len == 0 || d.Frame != nil {
				p.wrong("a length of 1 to 65557, and no bytes")
			}
		case "bytes":
			d.Frame = p.hex()
			if d.Len != 0 {
				p.wrong("no bytes beside len")
			}
		case "times":
			p.times(&d)
		default:
			p.wrong(want)
		}
	}
	p.keepLine(out, lineKey{'g', len(out.Gets)})
	for _, name := range who {
		one := d
		one.Who = name
		out.Gets = append(out.Gets, one)
	}
}

// times reads N or N..M.
func (p *parser) times(d *Delivery) {
	const want = "how often: a number, or two with .. between them"
	a, b, span := strings.Cut(p.next(want), "..")
	n, err := strconv.ParseUint(a, 10, 31)
	m := n
	if span && err == nil {
		m, err = strconv.ParseUint(b, 10, 31)
	}
	if err != nil || m < n || m == 0 || m > maxTimes {
		p.wrong(want)
	}
	if m == n {
		m = 0
	}
	if n == 1 && m == 0 {
		n = 0 // as if it weren't said
	}
	d.Times, d.Most = int(n), int(m)
}
