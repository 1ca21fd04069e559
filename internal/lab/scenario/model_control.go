package scenario

import (
	"slices"
	"strconv"
	"syscall"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// control carries out an action. A namespace is a number to the rules, a name
// here.
func (m *machine) control(c *Control) Answer {
	switch {
	case c.Verb == Show:
		return Answer{}
	case c.Verb == Add:
		return m.add(c.Vmac)
	case c.Verb == Delete && c.Attr == AttrNetns:
		m.deleteNetns(c.Value)
		return Answer{}
	case c.Who == Port:
		return m.setParent(c)
	}
	v := m.vmac(c.Who)
	if v == nil {
		return errno(syscall.ENODEV)
	}
	a := Answer{}
	switch {
	case c.Verb == Delete:
		a = m.answer(m.apply(rules.DelLink{Vmac: v.ID}))
	case c.Verb == Join || c.Verb == Leave:
		m.groups(v, c)
	case c.Verb == Fdb:
		a = m.fdb(v, c)
	case c.Link != nil:
		a = m.change(v, c.Link)
	default:
		a = m.set(v, c.Attr, c.Value)
	}
	m.settle()
	return a
}

func errno(e syscall.Errno) Answer { return Answer{Errno: errnoWord(e)} }

// errnoWord names the errors that the rules and the made-up host answer.
func errnoWord(e syscall.Errno) string {
	for _, n := range []struct {
		errno syscall.Errno
		word  string
	}{
		{syscall.EADDRINUSE, "EADDRINUSE"}, {syscall.EADDRNOTAVAIL, "EADDRNOTAVAIL"}, {syscall.EBUSY, "EBUSY"}, {syscall.EEXIST, "EEXIST"},
		{syscall.EINVAL, "EINVAL"}, {syscall.EMSGSIZE, "EMSGSIZE"}, {syscall.ENETDOWN, "ENETDOWN"}, {syscall.ENFILE, "ENFILE"},
		{syscall.ENOBUFS, "ENOBUFS"}, {syscall.ENODEV, "ENODEV"}, {syscall.ENOENT, "ENOENT"}, {syscall.ENXIO, "ENXIO"}, {syscall.EOPNOTSUPP, "EOPNOTSUPP"}, {syscall.ERANGE, "ERANGE"},
	} {
		if n.errno == e {
			return n.word
		}
	}
	return "E" + strconv.Itoa(int(e))
}

// answer is the rules' answer as the profile gives it.
func (m *machine) answer(a rules.Answer) Answer {
	if a.OK() {
		return Answer{}
	}
	out := errno(a.Errno)
	out.Text = a.Text
	return m.profile.answer(out)
}

func netnsNumber(name string) (n uint64) {
	for _, c := range []byte(name) {
		n = n*251 + uint64(c)
	}
	return n
}

// data is what a request carries.
func (m *machine) data(l *Link) *rules.Data {
	d := &rules.Data{
		Mode: l.Mode, Flags: l.Flags, BCQueueLen: l.BCQueueLen, BCLim: l.BCLim, MacaddrMode: l.MacaddrMode,
	}
	if l.Macaddr != "" {
		d.Macaddr, _ = m.s.Octets(l.Macaddr)
	}
	for _, a := range l.List {
		b, _ := m.s.Octets(a)
		d.MacaddrData = append(d.MacaddrData, b)
	}
	return d
}

// add makes a vmac and gives it all that its line says; the first refusal is
// the answer, and what would come after it is left out.
func (m *machine) add(v *Vmac) Answer {
	defer m.settle()
	d := m.data(&v.Link)
	if a := m.profile.request(d); !a.OK() {
		return a
	}
	r := rules.NewLink{
		Name: v.Name, Netns: netnsNumber(v.Netns), Kind: rules.Kind, Random: m.s.Address(v), MTU: v.MTU, Data: d, Missing: m.gone,
	}
	if v.Address != "" {
		r.Address, _ = m.s.Octets(v.Address)
	}
	switch v.On {
	case "":
		r.Link = &m.parent
	case OnNone:
		r.Missing = false
	case OnMissing:
		r.Missing = true
	case OnLo:
		r.Link = &rules.Parent{ID: 2, Name: "lo", MTU: 65536, Up: true, Carrier: true, Loopback: true}
	case OnBusy:
		r.Link = &rules.Parent{ID: 3, Name: "busy", MAC: WireMAC, MTU: DefaultMTU, Up: true, Carrier: true, Busy: "a bridge"}
	default:
		r.Upper = m.vmacs[v.On]
		r.Missing = m.vmac(v.On) == nil
		if r.Missing {
			r.Upper = 0
		}
	}
	got := m.apply(r)
	if a := m.answer(got); !a.OK() {
		return a
	}
	m.vmacs[v.Name] = got.Vmac
	m.extra[got.Vmac] = &device{netns: v.Netns}
	if v.Broadcast != "" {
		m.set(m.vmac(v.Name), AttrBroadcast, string(v.Broadcast))
	}
	m.groups(m.vmac(v.Name), &Control{Verb: Join, Groups: v.Groups})
	for attr, on := range map[Attr]bool{AttrPromisc: v.Promisc, AttrAllmulti: v.Allmulti} {
		if on {
			m.set(m.vmac(v.Name), attr, "on")
		}
	}
	if v.Down {
		return Answer{}
	}
	return m.set(m.vmac(v.Name), AttrUp, "")
}

// change is a request about the type's options.
func (m *machine) change(v *rules.Vmac, l *Link) Answer {
	d := m.data(l)
	if a := m.profile.request(d); !a.OK() {
		return a
	}
	a := m.answer(m.apply(rules.ChangeLink{Vmac: v.ID, Kind: rules.Kind, Data: d}))
	// The parent's count follows the flag at once, up or down.
	if now := m.vmac(v.Name); v.Mode == classify.Passthru && !v.Up && (now.Flags^v.Flags)&classify.NoPromisc != 0 {
		if now.Flags&classify.NoPromisc != 0 {
			m.promisc--
		} else {
			m.promisc++
		}
	}
	return a
}

// fdb changes a vmac's further addresses. What the device is given, or loses, is
// a group like any other.
func (m *machine) fdb(v *rules.Vmac, c *Control) Answer {
	b, _ := m.s.Octets(Addr(c.Value))
	del := c.Attr == AttrFdbDel
	var in rules.Input = rules.FdbAdd{Vmac: v.ID, Address: b, Replace: c.Attr == AttrFdbReplace}
	if del {
		in = rules.FdbDel{Vmac: v.ID, Address: b}
	}
	a := m.answer(m.apply(in))
	if mac := classify.MACFrom(b); a.OK() && mac.IsGroup() {
		verb := Join
		if del {
			verb = Leave
		}
		m.groups(v, &Control{Verb: verb, Groups: []Addr{Addr(c.Value)}})
	}
	return a
}

func (m *machine) groups(v *rules.Vmac, c *Control) {
	d := m.extra[v.ID]
	for _, a := range c.Groups {
		g, _ := m.s.MAC(a)
		had := slices.Contains(d.groups, g)
		if c.Verb == Join {
			d.groups = append(slices.Clip(d.groups), g)
			slices.Sort(d.groups)
		} else if i := slices.Index(d.groups, g); i >= 0 {
			d.groups = slices.Delete(slices.Clone(d.groups), i, i+1)
		}
		// A socket that has joined before only counts (packet_mc_add).
		if has := slices.Contains(d.groups, g); has != had {
			d.remade()
			if had {
				d.left = g
			}
		}
	}
}

// set changes a property of a vmac's device.
func (m *machine) set(v *rules.Vmac, attr Attr, value string) Answer {
	d := m.extra[v.ID]
	switch attr {
	case AttrUp, AttrDown:
		return m.setUp(v, attr == AttrUp)
	case AttrAddress:
		b, _ := m.s.Octets(Addr(value))
		return m.setAddress(v, b)
	case AttrMTU:
		n, _ := strconv.ParseUint(value, 10, 32)
		return m.answer(m.apply(rules.SetMTU{Vmac: v.ID, MTU: uint32(n)}))
	case AttrBroadcast:
		// The filter stays as it is until something else has it made again.
		if d.heard == 0 && v.Up {
			d.heard = orBroadcast(v.Broadcast)
		}
		mac, _ := m.s.MAC(Addr(value))
		if d.heard == mac {
			d.heard = 0
		}
		m.seen(v, func(r *rules.VmacSeen) { r.Broadcast = mac })
	case AttrPromisc:
		m.seen(v, func(r *rules.VmacSeen) { r.Promisc = value == "on" })
		d.remade()
	case AttrAllmulti:
		// A passthru vmac's count is not withdrawn when it goes down, nor
		// brought again when it comes up.
		if on := value == "on"; v.Mode == classify.Passthru && v.Up && on != v.Allmulti {
			m.allmulti += map[bool]int{true: 1, false: -1}[on]
		}
		m.seen(v, func(r *rules.VmacSeen) { r.Allmulti = value == "on" })
		d.remade()
	case AttrNetns:
		// A device that moves is taken down and loses its groups.
		if value == d.netns {
			break
		}
		d.netns, d.groups = value, nil
		m.setUp(v, false)
		m.seen(m.vmac(v.Name), func(r *rules.VmacSeen) { r.Netns = netnsNumber(value) })
	}
	return Answer{}
}

func orBroadcast(m classify.MAC) classify.MAC {
	if m == 0 {
		return classify.Broadcast
	}
	return m
}

func (m *machine) setUp(v *rules.Vmac, up bool) Answer {
	// dev_set_rx_mode is called even if nothing changes (__dev_change_flags).
	a := m.answer(m.apply(rules.SetUp{Vmac: v.ID, Up: up}))
	if a.OK() && up {
		m.extra[v.ID].remade()
	}
	return a
}

func (m *machine) setAddress(v *rules.Vmac, address []byte) Answer {
	if len(address) >= 6 {
		mac := classify.MACFrom(address)
		if a, done := m.profile.setAddress(m, v, mac); done {
			return a
		}
	}
	return m.answer(m.apply(rules.SetAddress{Vmac: v.ID, Address: address}))
}

// setParent changes the parent's device, or deletes it.
func (m *machine) setParent(c *Control) Answer {
	if m.gone {
		return errno(syscall.ENODEV)
	}
	if c.Verb == Delete {
		m.gone = true
		return m.answer(m.apply(rules.ParentGone{Parent: m.parent.ID}))
	}
	switch c.Attr {
	case AttrUp, AttrDown:
		m.parent.Up = c.Attr == AttrUp
	case AttrCarrier:
		m.parent.Carrier = c.Value == "on"
	case AttrMTU:
		n, _ := strconv.ParseUint(c.Value, 10, 32)
		switch {
		case n < rules.MinMTU:
			return Answer{Errno: "EINVAL", Text: "mtu less than device minimum"}
		case n > rules.MaxMTU:
			return Answer{Errno: "EINVAL", Text: "mtu greater than device maximum"}
		}
		m.parent.MTU = int(n)
	case AttrAddress:
		b, _ := m.s.Octets(Addr(c.Value))
		if len(b) < 6 {
			return errno(syscall.EINVAL)
		}
		mac := classify.MACFrom(b)
		if !mac.IsValid() {
			return errno(syscall.EADDRNOTAVAIL)
		}
		m.parent.MAC = mac
		for _, d := range m.extra {
			d.address = 0
		}
	case AttrPromisc:
		m.toggle(&m.promisc, c)
	case AttrAllmulti:
		m.toggle(&m.allmulti, c)
	case AttrNetns:
		if c.Value != m.netns {
			m.netns, m.parent.Up = c.Value, false
		}
	case AttrIngress:
		m.ingress = c.Value
	case AttrEgress:
		m.egress = c.Value
	}
	m.apply(rules.ParentSeen{Parent: m.parent})
	m.settle()
	return Answer{}
}

// toggle sets a flag of the parent's, which is one reference.
func (m *machine) toggle(n *int, c *Control) {
	on := c.Value == "on"
	if on == m.flags[c.Attr] {
		return
	}
	m.flags[c.Attr] = on
	if on {
		*n++
	} else {
		*n--
	}
}

// deleteNetns takes the devices in it away; a parent is deleted with it.
func (m *machine) deleteNetns(name string) {
	if m.netns == name && !m.gone {
		m.gone = true
		m.apply(rules.ParentGone{Parent: m.parent.ID})
		return
	}
	p := m.port()
	if p == nil {
		return
	}
	for _, v := range p.Vmacs {
		if m.extra[v.ID].netns == name {
			m.apply(rules.VmacGone{Vmac: v.ID})
		}
	}
	m.settle()
}

// sorted returns a list in order, without repetitions.
func sorted(list []classify.MAC) []classify.MAC {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
