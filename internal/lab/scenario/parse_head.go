package scenario

import (
	"slices"

	"github.com/umacvlan/umacvlan/classify"
)

// top reads a statement that isn't indented.
func (p *parser) top() {
	const statements = "one of title, profile, only, recorded, parent, name, vmac, send, add, set, delete, join, leave, fdb, show"
	word := p.next(statements)
	if p.s.Title == "" && word != "title" {
		p.wrong("the statement title, with one sentence")
	}
	header := slices.Contains([]string{"title", "profile", "only", "recorded", "parent", "name", "vmac"}, word)
	if header && len(p.s.Steps) > 0 {
		if word == "vmac" {
			p.wrong("vmac before the first action, or add")
		}
		if word == "parent" {
			p.wrong("parent before the first action, or set parent")
		}
		p.wrong("%s before the first action", word)
	}
	switch word {
	case "title":
		p.keep(word)
		p.s.Title = p.rest("a sentence")
	case "profile":
		p.keep(word)
		p.s.Profile = Profile(p.next("a profile"))
		if !slices.Contains(Profiles, p.s.Profile) {
			p.wrong("one of the profiles current, 5.4, 4.4, 3.10")
		}
	case "only":
		p.keep(word)
		p.only()
	case "recorded":
		p.keep(word)
		if !p.accept("on") {
			p.fail(`"on", and a kernel`)
		}
		p.s.Recorded = p.rest("a kernel, such as Linux 6.18.44")
	case "parent":
		p.keep(word)
		p.parent()
	case "name":
		p.name()
	case "vmac":
		v := p.vmac()
		v.Note = p.note
		if slices.ContainsFunc(p.s.Vmacs, func(o Vmac) bool { return o.Name == v.Name }) {
			p.at = 1
			p.fail("a name that no vmac has yet")
		}
		p.s.Vmacs = append(p.s.Vmacs, *v)
	case "send":
		p.step(Step{Send: p.send()})
	case "add", "set", "delete", "join", "leave", "fdb", "show":
		p.step(Step{Control: p.control(Verb(word))})
	default:
		p.wrong(statements)
	}
	p.done()
}

func (p *parser) step(s Step) {
	s.Line, s.Note = p.line, p.note
	p.s.Steps = append(p.s.Steps, s)
}

func (p *parser) only() {
	for p.more() && !p.accept("because") {
		w := Way(p.next("a way"))
		if !slices.Contains(Ways, w) {
			p.wrong("model, emulator, kernel, or because")
		}
		if slices.Contains(p.s.Only, w) {
			p.wrong("each way once")
		}
		p.s.Only = append(p.s.Only, w)
	}
	if len(p.s.Only) == 0 {
		p.fail("model, emulator or kernel")
	}
	if p.words[p.at-1] == "because" {
		p.s.OnlyWhy = p.rest("a reason")
	}
}

func (p *parser) parent() {
	const want = "mtu, address or offloads"
	if !p.more() {
		p.fail(want)
	}
	for p.more() {
		switch p.next(want) {
		case "mtu":
			p.s.Parent.MTU = int(p.number("an MTU, 68 to 65535", 65535))
			if p.s.Parent.MTU < 68 {
				p.wrong("an MTU, 68 to 65535")
			}
		case "address":
			b, ok := octets(p.next("six octets"))
			if !ok || len(b) != 6 || !classify.MACFrom(b).IsValid() {
				p.wrong("six octets, no group")
			}
			p.s.Parent.Address = classify.MACFrom(b)
		case "offloads":
			p.s.Parent.Offloads = p.onOff()
		default:
			p.wrong(want)
		}
	}
}

func (p *parser) onOff() bool {
	switch p.next("on or off") {
	case "on":
		return true
	case "off":
	default:
		p.wrong("on or off")
	}
	return false
}

func (p *parser) name() {
	n := Name{Name: p.next("a name"), Note: p.note}
	if !validName(n.Name) {
		p.wrong("a name of 1 to 15 letters, digits, _ - or full stops that means nothing else")
	}
	if slices.ContainsFunc(p.s.Names, func(o Name) bool { return o.Name == n.Name }) {
		p.wrong("a name that no address has yet")
	}
	b, ok := octets(p.next("six octets"))
	if !ok || len(b) != 6 {
		p.wrong("six octets")
	}
	n.MAC = classify.MACFrom(b)
	p.s.Names = append(p.s.Names, n)
}
