package random

import (
	"encoding/binary"
	"slices"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Ethertypes of frames that nobody answers, whatever is in them.
var types = []uint16{0x0842, 0x0806, 0x86dd, 0x9100, 0x88cc, 0x888e, 0x0004, 0x05dc}

// send throws a frame.
func (m *maker) send() *scenario.Send {
	s := &scenario.Send{From: scenario.Wire, Times: 1}
	var from *vmac
	switch n := m.IntN(100); {
	case n < 38 && len(m.vmacs) > 0:
		if from = one(m, m.vmacs); m.mute && !m.of(5) {
			from = nil // what a refusal looks like is known (5) and soon seen
			break
		}
		s.From = from.name
	case n < 42:
		s.From = scenario.Host
	}
	src, dst := m.stranger(), m.destination()
	switch {
	case from != nil:
		src = from.mac
		if m.of(6) {
			src = m.anybody()
		}
		if m.of(7) {
			dst = from.mac
		}
		// What siblings say to each other differs as known (7).
		switch {
		case from.mode != classify.Bridge || m.of(24):
		case m.of(60):
			dst = m.sibling(from)
		default:
			for slices.ContainsFunc(m.vmacs, func(v *vmac) bool { return v.mode == classify.Bridge && v.mac == dst }) {
				dst = m.destination()
			}
		}
	case s.From == scenario.Host:
		src = m.parent
	case m.of(2):
		src = m.anybody()
		switch n := m.IntN(30); {
		case n < 6:
			dst = src
		case n < 15 && len(m.vmacs) > 0:
			src, dst = one(m, m.vmacs).mac, one(m, m.vmacs).mac
		case n < 16:
			dst = one(m, unknown)
		case n < 18:
			dst = m.parent
		case n < 20:
			dst = classify.Broadcast
		case n < 22:
			dst = m.joined(func(v *vmac) bool { return v.mac == src })
		}
	}
	// What a rule at the parent keeps from the driver is collected all the same (8).
	if s.From == scenario.Wire && dst.IsGroup() && m.pieces && m.of(2) && !m.rule && !m.gone {
		return m.fragment()
	}
	if s.From == scenario.Wire {
		dst = m.spare(src, dst)
	}
	s.Dst, s.Src = m.say(dst), m.say(src)
	switch n := m.IntN(100); {
	case n < 4:
		m.broken(s, dst, src)
	case n < 10:
		m.named(s)
	case n < 20:
		m.tagged(s)
	case n < 28 || n < 34 && dst.IsGroup() && m.passthru():
		s.Type = ptr[uint16](0x8808)
		if m.of(2) {
			s.Src = addr(one(m, sources))
		}
	case n < 30 && s.From == scenario.Wire:
		s.Src, s.Dst = addr(one(m, sources)), addr(m.joined(func(v *vmac) bool { return v.mode == classify.Source }))
	case n < 35 && from != nil && from.mode == classify.Bridge:
		s.Dst, s.Len = "broadcast", 1400+m.IntN(115)
	case n < 37:
		s.Type = ptr(one(m, types))
	}
	many := from != nil && from.mode == classify.Bridge && dst.IsGroup() // siblings may be too small
	if s.Bytes == nil && s.Kind == nil && (m.of(8) || many && m.of(2)) {
		s.Len = m.length()
		// A packet socket refuses a full-size frame with this tag.
		if len(s.Tags) > 0 && s.Tags[0].TPID == 0x88a8 {
			s.Len = min(s.Len, 1400)
		}
	}
	return s
}

// spare throws more rarely what differs as known, packet types (2): in passthru
// what is neither the vmac's own nor a group, and what source mode copies that is
// the parent's own or a group.
func (m *maker) spare(src, dst classify.MAC) classify.MAC {
	ours := m.passthru() && src == m.parent
	switch {
	case ours && m.of(10):
		return m.joined(func(*vmac) bool { return true })
	case m.passthru() && !dst.IsGroup() && !ours && !m.of(7):
		return m.parent
	case !m.passthru() && dst == m.parent && m.of(2),
		!m.passthru() && slices.Contains(sources, src) && (dst == m.parent || dst.IsGroup()) && !m.of(3):
		return one(m, unknown)
	}
	return dst
}

// passthru reports whether the port is.
func (m *maker) passthru() bool { return len(m.vmacs) > 0 && m.vmacs[0].mode == classify.Passthru }

// say names an address if it is a vmac's first one or has a name.
func (m *maker) say(mac classify.MAC) scenario.Addr {
	for _, v := range m.vmacs {
		if v.mac == mac && v.mode != classify.Passthru {
			if first, err := m.s.MAC(scenario.Addr(v.name)); err == nil && first == mac {
				return scenario.Addr(v.name)
			}
		}
	}
	switch mac {
	case classify.Broadcast:
		return "broadcast"
	case scenario.AllHosts:
		return "allhosts"
	}
	return addr(mac)
}

func (m *maker) stranger() classify.MAC {
	if m.of(3) {
		return one(m, sources)
	}
	return one(m, strangers)
}

// anybody is a source address: mostly one that matters.
func (m *maker) anybody() classify.MAC {
	switch n := m.IntN(16); {
	case n < 9 && len(m.vmacs) > 0:
		return one(m, m.vmacs).mac
	case n < 12:
		return one(m, sources)
	case n < 13:
		return m.parent
	case n < 14:
		return one(m, []classify.MAC{0, classify.Broadcast, m.group()})
	}
	return one(m, strangers)
}

func (m *maker) destination() classify.MAC {
	switch n := m.IntN(16); {
	case n < 6 && len(m.vmacs) > 0:
		return one(m, m.vmacs).mac
	case n < 7:
		return m.parent
	case n < 8:
		return one(m, unknown)
	case n < 10:
		return classify.Broadcast
	case n < 11:
		return scenario.AllHosts
	case n < 13 && len(m.vmacs) > 0:
		if v := one(m, m.vmacs); len(v.groups) > 0 {
			return one(m, v.groups)
		}
	}
	return m.group()
}

// sibling is the address of a bridge sibling, if there is one.
func (m *maker) sibling(from *vmac) classify.MAC {
	for _, v := range m.vmacs {
		if v != from && v.up && v.mode == classify.Bridge {
			return v.mac
		}
	}
	return m.group()
}

// joined is a group of a vmac that is of the right kind, or any.
func (m *maker) joined(right func(*vmac) bool) classify.MAC {
	for _, v := range m.vmacs {
		if right(v) && len(v.groups) > 0 && m.of(2) {
			return one(m, v.groups)
		}
	}
	return m.group()
}

// length is one at an edge, or any.
func (m *maker) length() int {
	if m.of(2) {
		return one(m, []int{14, 15, 18, 20, 46, 59, 61, 64, 1400, 1513, 1514, 1515, 1518})
	}
	return 18 + m.IntN(1500)
}

// tagged puts VLAN tags in front.
func (m *maker) tagged(s *scenario.Send) {
	for range 1 + m.IntN(2) {
		tpid := one(m, []uint16{0x8100, 0x8100, 0x88a8})
		s.Tags = append(s.Tags, scenario.Tag{TPID: tpid, TCI: uint16(m.IntN(8)<<13 | one(m, []int{0, 1, 10, 4094}))})
	}
	if m.of(6) {
		s.Type = ptr(uint16(0x8808))
	}
}

// named makes a real frame of a protocol.
func (m *maker) named(s *scenario.Send) {
	kinds := [][]string{
		{"arp", "request", "10.9.0.1"}, {"arp", "gratuitous", "10.9.0.2"}, {"arp", "probe", "10.9.0.3"},
		{"udp", "10.9.0.1:1000", "239.1.1.1:1000"}, {"udp", "[fe80::1]:1000", "[ff02::1234]:1000"},
		{"nd", "ns", "fe80::12:3456"}, {"nd", "ra"}, {"igmp", "report", "239.1.1.1"}, {"mld", "report", "ff02::1234"},
		{"dhcp", "discover"}, {"dhcp", "offer", "10.9.0.7"}, {"vrrp"}, {"lldp"}, {"stp"}, {"lacp"}, {"eapol", "start"}, {"ptp"}, {"wol"}, {"cdp"},
		{"pause"}, {"frag", "10.9.0.1", "10.9.0.2", "7", "0", "more"},
	}
	s.Kind = one(m, kinds)
	if m.of(4) {
		s.Tags = []scenario.Tag{{TPID: 0x8100, TCI: 10}}
	}
}

// broken makes what no good station sends: tags that are cut, runts, noise.
func (m *maker) broken(s *scenario.Send, dst, src classify.MAC) {
	b := make([]byte, 12, 80)
	dst.Put(b)
	src.Put(b[6:])
	switch m.IntN(3) {
	case 0:
		b = binary.BigEndian.AppendUint16(b, one(m, []uint16{0x8100, 0x88a8}))
		b = m.noise(b, m.IntN(8))
	case 1:
		b = b[:1+m.IntN(12)]
	case 2:
		b = binary.BigEndian.AppendUint16(b, one(m, types))
		b = m.noise(b, m.IntN(64))
	}
	s.Bytes = b
}

func (m *maker) noise(b []byte, n int) []byte {
	for range n {
		b = append(b, byte(m.Uint32()))
	}
	return b
}
