package random

import (
	"slices"
	"strconv"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// control throws an action, now and then one that is refused.
func (m *maker) control() *scenario.Control {
	// What keeps everybody from sending doesn't last.
	switch {
	case m.down && m.of(2):
		return m.parentSet(scenario.AttrUp, "")
	case m.cut && m.of(2):
		return m.parentSet(scenario.AttrCarrier, "on")
	case m.mute && !m.of(4):
		return m.parentSet(scenario.AttrEgress, "pass")
	}
	if len(m.vmacs) == 0 || m.of(12) && len(m.vmacs) < 10 {
		return m.add()
	}
	v := one(m, m.vmacs)
	switch n := m.IntN(100); {
	case n < 5:
		return m.remove(v)
	case n < 33:
		return m.link(v)
	case n < 37:
		return m.vmacSet(v, scenario.AttrDown, "")
	case n < 49:
		for _, o := range m.vmacs { // somebody who is down
			if !o.up {
				v = o
			}
		}
		if v.up && v.mode == classify.Passthru {
			return m.vmacSet(v, scenario.AttrDown, "")
		}
		return m.vmacSet(v, scenario.AttrUp, "")
	case n < 54:
		return m.vmacSet(v, scenario.AttrAddress, string(m.nextAddress()))
	case n < 59:
		return m.vmacSet(v, scenario.AttrMTU, strconv.Itoa(m.mtu(v, 100, 500, 1000, 1400, 1500, 1500, 67, 1501, 70000)))
	case n < 62:
		return m.vmacSet(v, scenario.AttrBroadcast, string(m.broadcast()))
	case n < 66:
		to := m.onOff()
		// What changes nothing makes filters anew, and only the driver notices (19).
		// Over a passthru port, whose vmac makes the parent promiscuous, that shows.
		if v.mode == classify.Passthru {
			to = "on"
			if v.promisc {
				to = "off"
			}
		}
		return m.vmacSet(v, scenario.AttrPromisc, to)
	case n < 70 && v.mode != classify.Passthru:
		return m.vmacSet(v, scenario.AttrAllmulti, m.onOff())
	case n < 72:
		return m.vmacSet(v, scenario.AttrNetns, one(m, spaces))
	case n < 76:
		return m.membership(v)
	case n < 78:
		return &scenario.Control{Verb: scenario.Show, Who: one(m, []string{v.name, scenario.Port})}
	}
	return m.parentControl()
}

func (m *maker) onOff() string { return one(m, []string{"on", "off", "off"}) }

func (m *maker) add() *scenario.Control {
	v := m.vmac()
	switch m.IntN(10) {
	case 0:
		v.On = one(m, []string{scenario.OnNone, scenario.OnMissing, scenario.OnLo})
		return &scenario.Control{Verb: scenario.Add, Who: v.Name, Vmac: v}
	case 1:
		if len(m.vmacs) > 0 {
			v.On = one(m, m.vmacs).name
		}
	case 2:
		v.Link.Mode = ptr(one(m, []uint32{0, 3, 8, 32}))
	}
	if *v.Link.Mode == uint32(classify.Passthru) {
		// A passthru vmac has the parent's address whatever is said.
		v.Address, v.MTU, v.Allmulti = "", nil, false
	}
	c := &scenario.Control{Verb: scenario.Add, Who: v.Name, Vmac: v}
	alone := len(m.vmacs) == 0
	if mode := classify.Mode(*v.Link.Mode); mode.IsValid() && (alone || mode != classify.Passthru && m.vmacs[0].mode != classify.Passthru) {
		m.s.Steps = append(m.s.Steps, scenario.Step{Control: c})
		m.exists(v)
		m.s.Steps = m.s.Steps[:len(m.s.Steps)-1]
	}
	return c
}

func (m *maker) remove(v *vmac) *scenario.Control {
	if m.of(2) {
		name := one(m, spaces[1:])
		m.vmacs = slices.DeleteFunc(m.vmacs, func(o *vmac) bool { return o.netns == name })
		return &scenario.Control{Verb: scenario.Delete, Attr: scenario.AttrNetns, Value: name}
	}
	m.vmacs = slices.DeleteFunc(m.vmacs, func(o *vmac) bool { return o == v })
	return &scenario.Control{Verb: scenario.Delete, Who: v.name}
}

// nextAddress is what somebody's address is changed to.
func (m *maker) nextAddress() scenario.Addr {
	switch m.IntN(10) {
	case 0:
		return one(m, []scenario.Addr{"00:00:00:00:00:00", "01:00:5e:00:00:41", "ff:ff:ff:ff:ff:ff", "02:00:00:01:02"})
	case 1:
		return addr(m.parent)
	case 2, 3:
		if len(m.vmacs) > 0 {
			return addr(one(m, m.vmacs).mac)
		}
	}
	b := [6]byte{2, 0, 0, 0, byte(0x10 + m.IntN(8)), byte(m.IntN(200))}
	return addr(classify.MACFrom(b[:]))
}

func (m *maker) broadcast() scenario.Addr {
	if m.of(2) {
		return "broadcast"
	}
	return addr(m.group())
}

func (m *maker) vmacSet(v *vmac, a scenario.Attr, value string) *scenario.Control {
	switch a {
	case scenario.AttrUp, scenario.AttrDown:
		v.up = a == scenario.AttrUp
	case scenario.AttrPromisc:
		v.promisc = value == "on"
	case scenario.AttrAddress:
		if mac, err := m.s.MAC(scenario.Addr(value)); err == nil && mac.IsValid() {
			v.mac = mac
			if v.mode == classify.Passthru {
				m.parent = mac
			}
		}
	case scenario.AttrNetns:
		if value != v.netns {
			v.netns, v.groups, v.up = value, nil, false
		}
	}
	return &scenario.Control{Verb: scenario.Set, Who: v.name, Attr: a, Value: value}
}

// mtu throws one of these. Below 1280 the kernel's IPv6 leaves its group of all
// nodes, which makes filters again: only on a passthru port can that be seen, so
// that has none.
func (m *maker) mtu(v *vmac, of ...int) int {
	for {
		if mtu := one(m, of); v == nil || v.mode != classify.Passthru || mtu >= 1280 || mtu < 68 {
			return mtu
		}
	}
}

// membership joins a group, or leaves one that has been joined.
func (m *maker) membership(v *vmac) *scenario.Control {
	if len(v.groups) > 0 && !m.of(3) {
		i := m.IntN(len(v.groups))
		g := v.groups[i]
		v.groups = slices.Delete(v.groups, i, i+1)
		return &scenario.Control{Verb: scenario.Leave, Who: v.name, Groups: []scenario.Addr{addr(g)}}
	}
	g := m.group()
	for slices.Contains(v.groups, g) {
		b := families[m.family][0].Bytes()
		b[5] = byte(m.IntN(256))
		g = classify.MACFrom(b[:])
	}
	v.groups = append(v.groups, g)
	return &scenario.Control{Verb: scenario.Join, Who: v.name, Groups: []scenario.Addr{addr(g)}}
}

// link throws a request about what ip calls the type's options.
func (m *maker) link(v *vmac) *scenario.Control {
	l := &scenario.Link{}
	for first := true; first || m.of(4); first = false {
		switch m.IntN(8) {
		case 0, 1:
			mode := one(m, modes)
			if m.of(12) {
				mode = one(m, []classify.Mode{0, 3, classify.Passthru, 32})
			}
			l.Mode = ptr(uint32(mode))
		case 2:
			// The driver leaks promiscuity if a passthru vmac that is down gets or
			// loses nopromisc, as it leaks allmulti if such a vmac has that: number
			// 15 of docs/semantics.md, and nothing that frames should tell about.
			if v.mode != classify.Passthru || v.up {
				l.Flags = ptr(one(m, []uint16{0, 0, 1, 2, 2, 3, 4}))
			} else {
				l.BCLim = ptr(int32(0))
			}
		case 3:
			l.BCQueueLen = ptr(one(m, queueLengths))
		case 4:
			l.BCLim = ptr(int32(m.IntN(6) - 2))
		default:
			for _, o := range m.vmacs { // somebody who may have a list
				if o.mode == classify.Source && m.of(2) && first {
					v = o
				}
			}
			m.macaddr(l, v)
		}
	}
	if l.Mode != nil {
		if mode := classify.Mode(*l.Mode); mode.IsValid() && mode != classify.Passthru && v.mode != classify.Passthru {
			v.mode = mode
		}
	}
	return &scenario.Control{Verb: scenario.Set, Who: v.name, Link: l}
}

func (m *maker) macaddr(l *scenario.Link, v *vmac) {
	l.List, l.Macaddr = nil, ""
	who := m.sourceList(addr(v.mac))
	if m.of(16) {
		who[0] = one(m, []scenario.Addr{"00:00:00:00:00:00", "01:00:5e:00:00:41", "02:00:00:00:01"})
	}
	switch m.IntN(4) {
	case 0:
		l.MacaddrMode = ptr(rules.MacaddrAdd)
		l.Macaddr = who[0]
	case 1:
		l.MacaddrMode = ptr(rules.MacaddrDel)
		if l.Macaddr = who[0]; m.of(10) {
			l.Macaddr = ""
		}
	case 2:
		l.MacaddrMode = ptr(rules.MacaddrFlush)
		if m.of(6) {
			l.MacaddrMode = ptr[uint32](7)
		}
	case 3:
		l.MacaddrMode, l.List = ptr(rules.MacaddrSet), who
		if m.of(8) {
			l.List = nil
		}
	}
}

func (m *maker) parentSet(a scenario.Attr, value string) *scenario.Control {
	switch a {
	case scenario.AttrUp, scenario.AttrDown:
		m.down = a == scenario.AttrDown
	case scenario.AttrCarrier:
		m.cut = value == "off"
	case scenario.AttrEgress:
		m.mute = value == "drop"
	}
	return &scenario.Control{Verb: scenario.Set, Who: scenario.Port, Attr: a, Value: value}
}

func (m *maker) parentControl() *scenario.Control {
	switch m.IntN(10) {
	case 0:
		return m.parentSet(scenario.AttrDown, "")
	case 1:
		return m.parentSet(scenario.AttrUp, "")
	case 2:
		// One that it has already would change what a passthru vmac gives back, which
		// only the driver can notice.
		a := m.nextAddress()
		for a == addr(m.parent) {
			a = m.nextAddress()
		}
		if mac, err := m.s.MAC(a); err == nil && mac.IsValid() {
			m.parent = mac
			for _, v := range m.vmacs {
				if v.mode == classify.Passthru {
					v.mac = mac
				}
			}
		}
		return m.parentSet(scenario.AttrAddress, string(a))
	case 3, 9:
		var v *vmac
		if len(m.vmacs) > 0 {
			v = m.vmacs[0]
		}
		return m.parentSet(scenario.AttrMTU, strconv.Itoa(m.mtu(v, 1500, 1500, 1400, 1000, 9000, 67, 70000)))
	case 4:
		return m.parentSet(scenario.AttrPromisc, m.onOff())
	case 5, 8:
		return m.parentSet(scenario.AttrAllmulti, m.onOff())
	case 6:
		return m.parentSet(scenario.AttrCarrier, one(m, []string{"off", "on"}))
	}
	return m.parentSet(scenario.AttrEgress, one(m, []string{"drop", "pass"}))
}
