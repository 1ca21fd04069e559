package lab

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// control carries out one action. The error is one of the lab; what the driver
// answers is the Answer.
func (t *take) control(c *scenario.Control) (a scenario.Answer, shown []scenario.Shown, err error) {
	at := t.where[c.Who]
	switch {
	case c.Verb == scenario.Add:
		return t.add(c.Vmac), nil, nil
	case c.Verb == scenario.Delete && c.Attr == scenario.AttrNetns:
		return a, nil, t.deleteSpace(c.Value)
	case c.Verb == scenario.Show:
		fields, err := t.show(c.Who)
		return a, []scenario.Shown{{Who: c.Who, Fields: fields}}, err
	case c.Who == scenario.Port && c.Verb == scenario.Delete:
		return t.deleteParent()
	case c.Who == scenario.Port:
		a, err = t.setParent(c.Attr, c.Value)
		return a, nil, err
	case at == nil:
		return scenario.Answer{Errno: "ENODEV"}, nil, nil
	case c.Verb == scenario.Delete:
		a = t.under.do(at, request{op: "delete", name: c.Who})
		if a.OK() {
			delete(t.where, c.Who)
		}
		return a, nil, nil
	case c.Verb == scenario.Join || c.Verb == scenario.Leave:
		a, err = t.membership(c.Who, c.Groups, c.Verb == scenario.Join)
		return a, nil, err
	case c.Verb == scenario.Fdb:
		a, err = t.fdb(c)
		return a, nil, err
	case c.Link != nil:
		data, err := t.data(c.Link)
		if err != nil {
			return a, nil, err
		}
		return t.under.do(at, request{op: "set", name: c.Who, data: data}), nil, nil
	}
	a, err = t.set(c.Who, c.Attr, c.Value)
	return a, nil, err
}

// data resolves the addresses of a request.
func (t *take) data(l *scenario.Link) (*rules.Data, error) {
	d := &rules.Data{Mode: l.Mode, Flags: l.Flags, BCQueueLen: l.BCQueueLen, BCLim: l.BCLim, MacaddrMode: l.MacaddrMode}
	var err error
	if l.Macaddr != "" {
		if d.Macaddr, err = t.s.Octets(l.Macaddr); err != nil {
			return nil, err
		}
	}
	for _, a := range l.List {
		b, err := t.s.Octets(a)
		if err != nil {
			return nil, err
		}
		d.MacaddrData = append(d.MacaddrData, b)
	}
	return d, nil
}

// add makes a vmac and gives it what belongs to it, one after the other. The
// first refusal is the answer, and what has been done stays.
func (t *take) add(v *scenario.Vmac) scenario.Answer {
	fault := func(err error) scenario.Answer { return scenario.Answer{Errno: "EIO", Text: err.Error()} }
	r := request{op: "add", name: v.Name, mtu: v.MTU}
	var err error
	if r.data, err = t.data(&v.Link); err != nil {
		return fault(err)
	}
	if v.Address != "" {
		if r.address, err = t.s.Octets(v.Address); err != nil {
			return fault(err)
		}
	} else {
		r.address = macBytes(t.s.Address(v))
	}
	home, err := t.space(v.Netns)
	if err != nil {
		return fault(err)
	}
	from, err := t.lower(v.On, &r)
	if err != nil {
		return fault(err)
	}
	if home != from {
		r.to = home
	}
	if a := t.under.do(from, r); !a.OK() {
		return a
	}
	t.where[v.Name] = home
	if v.Broadcast != "" {
		if a, err := t.set(v.Name, scenario.AttrBroadcast, string(v.Broadcast)); err != nil || !a.OK() {
			return cmp.Or(a, answerOf(err))
		}
	}
	if len(v.Groups) > 0 {
		if a, err := t.membership(v.Name, v.Groups, true); err != nil || !a.OK() {
			return cmp.Or(a, answerOf(err))
		}
	}
	on := true
	for _, f := range []struct {
		asked bool
		r     request
	}{{v.Promisc, request{promisc: &on}}, {v.Allmulti, request{multi: &on}}, {!v.Down, request{up: &on}}} {
		if !f.asked {
			continue
		}
		f.r.op, f.r.name = "set", v.Name
		if a := t.under.do(home, f.r); !a.OK() {
			return a
		}
	}
	return scenario.Answer{}
}

// lower says what a vmac is put on, and where that is.
func (t *take) lower(on string, r *request) (*space, error) {
	switch on {
	case "":
		r.lower = rigParent
		return t.parentIn, nil
	case scenario.OnNone:
	case scenario.OnMissing:
		r.lower = "missing"
	case scenario.OnLo:
		r.lower = "lo"
	case scenario.OnBusy:
		r.lower = rigBusy
		return t.rig.host, t.rig.makeBusy()
	default:
		r.lower = on
		if at := t.where[on]; at != nil {
			return at, nil
		}
	}
	return t.parentIn, nil
}

// set changes one attribute of a vmac.
func (t *take) set(who string, attr scenario.Attr, value string) (a scenario.Answer, err error) {
	at := t.where[who]
	r := request{op: "set", name: who}
	on := value == "on" || attr == scenario.AttrUp
	switch attr {
	case scenario.AttrUp, scenario.AttrDown:
		r.up = &on
	case scenario.AttrPromisc:
		r.promisc = &on
	case scenario.AttrAllmulti:
		r.multi = &on
	case scenario.AttrAddress:
		if r.address, err = t.s.Octets(scenario.Addr(value)); err != nil {
			return a, err
		}
	case scenario.AttrMTU:
		if r.mtu, err = number(value); err != nil {
			return a, err
		}
	case scenario.AttrNetns:
		if r.to, err = t.space(value); err != nil {
			return a, err
		}
	case scenario.AttrBroadcast:
		return t.setBroadcast(who, at, value)
	default:
		return a, fmt.Errorf("a vmac has no %s", attr)
	}
	if r.up != nil || r.promisc != nil || r.multi != nil || r.to != nil {
		t.madeAnew(who)
	}
	if a = t.under.do(at, r); a.OK() && r.to != nil {
		t.where[who] = r.to
	}
	return a, nil
}

func number(s string) (*uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	u := uint32(n)
	return &u, err
}

// setBroadcast is done to the device itself in both ways: neither driver has a
// say in it.
func (t *take) setBroadcast(who string, at *space, value string) (a scenario.Answer, err error) {
	b, err := t.s.Octets(scenario.Addr(value))
	if err != nil {
		return a, err
	}
	l, err := at.rt.find(who)
	if err != nil {
		return answerOf(err), nil
	}
	if err := at.rt.set(l.index, 0, 0, nl.NewRtAttr(unix.IFLA_BROADCAST, b)); err != nil {
		return answerOf(err), nil
	}
	t.mayKeep(who, l.brd)
	return a, t.under.sync(at, who)
}

// membership joins groups, or leaves them, as a packet socket does: no report
// is sent.
func (t *take) membership(who string, groups []scenario.Addr, join bool) (a scenario.Answer, err error) {
	at := t.where[who]
	l, err := at.rt.find(who)
	if err != nil {
		return answerOf(err), nil
	}
	for _, g := range groups {
		mac, err := t.s.MAC(g)
		if err != nil {
			return a, err
		}
		if err := at.membership(l.index, mac, join); err != nil && a.OK() {
			a = answerOf(err)
		}
		if join {
			t.madeAnew(who)
		} else {
			t.mayKeep(who, mac)
		}
	}
	return a, t.under.sync(at, who)
}

// show says what a device looks like, in the words of the language.
func (t *take) show(who string) (f []scenario.Field, err error) {
	if err := t.look(); err != nil {
		return nil, err
	}
	l := t.links[who]
	add := func(key, value string) { f = append(f, scenario.Field{Key: key, Value: value}) }
	if l == nil {
		add(scenario.ShowExists, "no")
		return f, nil
	}
	word := func(on bool, yes, no string) string {
		if on {
			return yes
		}
		return no
	}
	add(scenario.ShowExists, "yes")
	if who != scenario.Port {
		add(scenario.ShowMode, l.mode.String())
		add(scenario.ShowFlags, flagWords(l.modeFlags))
	}
	add(scenario.ShowAddress, l.mac.String())
	add(scenario.ShowMTU, strconv.Itoa(l.mtu))
	add(scenario.ShowState, word(l.up(), "up", "down"))
	add(scenario.ShowCarrier, word(l.carrier(), "on", "off"))
	if who != scenario.Port {
		add(scenario.ShowBCQueueLen, fmt.Sprint(l.bcQueueLen))
		add(scenario.ShowUsedLen, fmt.Sprint(l.usedLen))
		add(scenario.ShowBCLim, fmt.Sprint(l.bcLim))
		add(scenario.ShowList, addressWords(l.list))
	} else {
		add(scenario.ShowPromiscuity, strconv.Itoa(l.promiscuity))
		add(scenario.ShowAllmulti, strconv.Itoa(l.allmulti))
	}
	var unicast, groups []classify.MAC
	if who == scenario.Port {
		unicast, groups, err = t.parentIn.rt.secondary(l.index)
	} else {
		unicast, groups, err = t.under.secondary(t.where[who], who)
	}
	if err != nil {
		return nil, err
	}
	groups = slices.DeleteFunc(groups, func(m classify.MAC) bool { return m == scenario.AllHosts || m == allNodes })
	add(scenario.ShowUnicast, addressWords(unicast))
	add(scenario.ShowMulticast, addressWords(groups))
	return f, nil
}

func flagWords(f classify.Flags) string {
	var words []string
	if f&classify.NoPromisc != 0 {
		words = append(words, "nopromisc")
	}
	if f&classify.NoDst != 0 {
		words = append(words, "nodst")
	}
	if words == nil {
		return "null"
	}
	return strings.Join(words, ",")
}

func addressWords(list []classify.MAC) string {
	var words []string
	for _, m := range list {
		words = append(words, m.String())
	}
	if words == nil {
		return "none"
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}
