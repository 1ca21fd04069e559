package scenario

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

const (
	linkWords = "mode, flag, bcqueuelen, bclim, list or macaddr"
	vmacWords = linkWords + ", address, mtu, broadcast, join, promisc, allmulti, down, netns, on"
)

// vmac reads what follows "vmac" and "add".
func (p *parser) vmac() *Vmac {
	v := &Vmac{Name: p.next("a vmac's name")}
	if !validName(v.Name) {
		p.wrong("a vmac's name of 1 to 15 letters, digits, _ - or full stops that means nothing else")
	}
	seen := map[string]bool{}
	for p.more() {
		word := p.next(vmacWords)
		if seen[word] {
			p.wrong("%s once", word)
		}
		seen[word] = true
		if p.link(word, &v.Link) {
			continue
		}
		switch word {
		case "address":
			v.Address = p.vmacAddress()
		case "mtu":
			v.MTU = ptr(uint32(p.number("an MTU", math.MaxUint32)))
		case "broadcast":
			v.Broadcast = p.addr("an address", true)
		case "join":
			v.Groups = p.addrs("groups with commas between them", true)
		case "promisc":
			v.Promisc = true
		case "allmulti":
			v.Allmulti = true
		case "down":
			v.Down = true
		case "netns":
			v.Netns = p.netns()
		case "on":
			v.On = p.next("a vmac, none, missing, lo or busy")
			if !p.knownVmac(v.On) && !slices.Contains([]string{OnNone, OnMissing, OnLo, OnBusy}, v.On) {
				p.wrong("a vmac, none, missing, lo or busy")
			}
		default:
			p.wrong(vmacWords)
		}
	}
	return v
}

// vmacAddress reads an address that the file has said above, so that none stands
// for itself.
func (p *parser) vmacAddress() Addr {
	const want = "an address, or a name that has been given to one above"
	a := p.addrOf(p.next(want), want)
	if !strings.Contains(string(a), ":") {
		if _, ok := p.s.named(string(a)); !ok {
			p.wrong(want)
		}
	}
	return a
}

func ptr[T any](v T) *T { return &v }

// netns reads a namespace's name; "parent" is the one that the parent starts in.
func (p *parser) netns() string {
	n := p.next("a namespace's name, or parent")
	if n == Port {
		return ""
	}
	if !validName(n) {
		p.wrong("a namespace's name of 1 to 15 letters, digits, _ - or full stops, or parent")
	}
	return n
}

// link reads one of ip's type options into l, if word begins one.
func (p *parser) link(word string, l *Link) bool {
	switch word {
	case "mode":
		const want = "a mode: private, vepa, bridge, passthru, source, or a number"
		w := p.next(want)
		if m, err := classify.ParseMode(w); err == nil {
			l.Mode = ptr(uint32(m))
			break
		}
		p.at--
		l.Mode = ptr(uint32(p.number(want, math.MaxUint32)))
	case "flag", "nodst", "nopromisc":
		if l.Flags != nil {
			p.wrong("flag once")
		}
		l.Flags = ptr(p.flags(word))
	case "bcqueuelen":
		l.BCQueueLen = ptr(uint32(p.number("a number of frames", math.MaxUint32)))
	case "bclim":
		n, err := strconv.ParseInt(p.next("a number, maybe negative"), 0, 32)
		if err != nil {
			p.wrong("a number, maybe negative")
		}
		l.BCLim = ptr(int32(n))
	case "list", "macaddr":
		if l.MacaddrMode != nil {
			p.wrong("either list or macaddr, once")
		}
		p.macaddr(word, l)
	default:
		return false
	}
	return true
}

func (p *parser) flags(word string) uint16 {
	if word == "flag" {
		const want = "nodst, nopromisc, null, or a number"
		word = p.next(want)
		if n, err := strconv.ParseUint(word, 0, 16); err == nil {
			return uint16(n)
		}
		f, err := classify.ParseFlags(strings.ReplaceAll(word, ",", " "))
		if err != nil {
			p.wrong(want)
		}
		return uint16(f)
	}
	f, _ := classify.ParseFlags(word)
	return uint16(f)
}

func (p *parser) macaddr(word string, l *Link) {
	if word == "list" {
		l.MacaddrMode = ptr(rules.MacaddrSet)
		if !p.accept("none") {
			l.List = p.addrs("addresses with commas between them, or none", false)
		}
		return
	}
	const want = "add, del, flush, or a number"
	switch w := p.next(want); w {
	case "add", "del":
		l.MacaddrMode = ptr(rules.MacaddrAdd)
		if w == "del" {
			l.MacaddrMode = ptr(rules.MacaddrDel)
		}
		if !p.accept("nothing") {
			l.Macaddr = p.addr("an address, or nothing", false)
		}
	case "flush":
		l.MacaddrMode = ptr(rules.MacaddrFlush)
	default:
		p.at--
		n := uint32(p.number(want, math.MaxUint32))
		if n <= rules.MacaddrSet {
			p.wrong("add, del, flush, list, or a number above %d", rules.MacaddrSet)
		}
		l.MacaddrMode = &n
	}
}

func (p *parser) knownVmac(name string) bool {
	found := false
	p.s.eachVmac(func(v *Vmac) bool { found = found || v.Name == name; return !found })
	return found
}

// who reads a vmac's name, or "parent" where that makes sense.
func (p *parser) who(parent bool) string {
	want := "a vmac that has been made above"
	if parent {
		want = "parent, or " + want
	}
	name := p.next(want)
	if !p.knownVmac(name) && !(parent && name == Port) {
		p.wrong("%s", want)
	}
	return name
}

// control reads what follows a verb.
func (p *parser) control(verb Verb) *Control {
	c := &Control{Verb: verb}
	switch verb {
	case Add:
		c.Vmac = p.vmac()
		c.Who = c.Vmac.Name
	case Set:
		c.Who = p.who(true)
		p.set(c)
	case Delete:
		if p.accept("netns") {
			c.Attr, c.Value = AttrNetns, p.netns()
			if c.Value == "" {
				p.wrong("another namespace than the parent's")
			}
			break
		}
		c.Who = p.who(true)
	case Join, Leave:
		c.Who = p.who(false)
		c.Groups = p.addrs("groups with commas between them", true)
	case Fdb:
		const want = "add, replace or del"
		c.Attr = Attr(p.next(want))
		if c.Attr != AttrFdbAdd && c.Attr != AttrFdbReplace && c.Attr != AttrFdbDel {
			p.wrong(want)
		}
		c.Who = p.who(false)
		c.Value = string(p.addr("an address", true))
	case Show:
		c.Who = p.who(true)
	}
	return c
}

func (p *parser) set(c *Control) {
	parent := c.Who == Port
	want := linkWords + ", up, down, address, mtu, broadcast, promisc, allmulti or netns"
	if parent {
		want = "up, down, address, mtu, promisc, allmulti, netns, carrier, ingress or egress"
	}
	word := p.next(want)
	if parent {
		if !slices.Contains(strings.FieldsFunc(want, func(r rune) bool { return r == ' ' || r == ',' }), word) || word == "or" {
			p.wrong("%s", want)
		}
	} else {
		l := &Link{}
		first := true
		for seen := map[string]bool{}; p.link(word, l); word = p.next(want) {
			if seen[word] || seen["list"] && word == "macaddr" {
				p.wrong("each of %s once", linkWords)
			}
			seen[word], first = true, false
			c.Link = l
			if !p.more() {
				return
			}
		}
		if !first {
			p.wrong("%s; the rest takes a set of its own", linkWords)
		}
		if word == "carrier" || word == "ingress" || word == "egress" {
			p.wrong("%s", want)
		}
	}
	c.Attr = Attr(word)
	switch c.Attr {
	case AttrUp, AttrDown:
	case AttrAddress:
		c.Value = string(p.addr("an address", false))
	case AttrMTU:
		c.Value = strconv.FormatUint(p.number("an MTU", math.MaxUint32), 10)
	case AttrBroadcast:
		c.Value = string(p.addr("an address", true))
	case AttrPromisc, AttrAllmulti, AttrCarrier:
		c.Value = "off"
		if p.onOff() {
			c.Value = "on"
		}
	case AttrNetns:
		c.Value = p.netns()
	case AttrIngress, AttrEgress:
		if w := p.peek(); w == "pass" || w == "drop" {
			c.Value = p.next("pass or drop")
		} else if c.Attr == AttrIngress {
			c.Value = string(p.addr("pass, drop, or the address for which frames are dropped", true))
		} else {
			p.fail("pass or drop")
		}
	default:
		p.wrong("%s", want)
	}
}
