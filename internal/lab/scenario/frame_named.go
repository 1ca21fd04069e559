package scenario

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"github.com/umacvlan/umacvlan/classify"
)

// frameKind is how to make a frame that has a name.
type frameKind struct {
	form    string // of its arguments
	payload bool
	make    func(*maker) (typ uint16, body []byte)
}

// frameKinds are the frames that a send can name.
var frameKinds = map[string]frameKind{
	"arp":   {"request|reply|gratuitous|probe IP [from IP | to IP]", false, makeARP},
	"udp":   {"IP:PORT IP:PORT", true, makeUDP},
	"tcp":   {"IP:PORT IP:PORT [syn|ack|fin|rst]", true, makeTCP},
	"icmp":  {"echo|reply IP IP", true, makeICMP},
	"frag":  {"IP IP ID OFFSET more|last [SIZE]", false, makeFrag},
	"nd":    {"ns|na IP [from IP], or rs|ra [from IP]", false, makeND},
	"igmp":  {"query [GROUP], or report|join|leave GROUP", false, makeIGMP},
	"mld":   {"query [GROUP], or report GROUP", false, makeMLD},
	"vrrp":  {"[VRID]", false, makeVRRP},
	"dhcp":  {"discover|offer|request|ack [IP]", false, makeDHCP},
	"lldp":  {"", false, makeLLDP},
	"stp":   {"", false, makeSTP},
	"lacp":  {"", false, makeLACP},
	"eapol": {"start|logoff", false, makeEAPOL},
	"ptp":   {"", false, makePTP},
	"pause": {"", false, makePause},
	"wol":   {"", false, makeWoL},
	"cdp":   {"", false, makeCDP},
}

// Addresses of frames that name none.
var (
	default4 = netip.MustParseAddr("10.0.0.1")
	default6 = netip.MustParseAddr("fe80::1")
)

// Ethertypes.
const (
	typeIPv4  = 0x0800
	typeARP   = 0x0806
	typeWoL   = 0x0842
	typeIPv6  = 0x86dd
	typePause = 0x8808
	typeSlow  = 0x8809
	typeEAPOL = 0x888e
	typeLLDP  = 0x88cc
	typePTP   = 0x88f7
)

// maker reads the arguments of a named frame; bad says that they weren't right.
type maker struct {
	args     []string
	dst, src classify.MAC
	payload  []byte
	bad      bool
}

func (m *maker) next() string {
	if len(m.args) == 0 {
		m.bad = true
		return ""
	}
	w := m.args[0]
	m.args = m.args[1:]
	return w
}

// word takes one of these words.
func (m *maker) word(of ...string) string {
	w := m.next()
	if !slices.Contains(of, w) {
		m.bad = true
	}
	return w
}

// maybe takes a word if it comes next.
func (m *maker) maybe(w string) bool {
	ok := len(m.args) > 0 && m.args[0] == w
	if ok {
		m.args = m.args[1:]
	}
	return ok
}

// ip takes an address of this family, 4 or 6, or of any with 0.
func (m *maker) ip(family int) netip.Addr {
	a, err := netip.ParseAddr(m.next())
	if err != nil || a.Zone() != "" || a.Is4In6() || family == 4 && !a.Is4() || family == 6 && !a.Is6() {
		m.bad = true
		return map[bool]netip.Addr{true: default6, false: default4}[family == 6]
	}
	return a
}

// from takes "from IP" if it is there.
func (m *maker) from(otherwise netip.Addr) netip.Addr {
	if m.maybe("from") {
		if otherwise.Is6() {
			return m.ip(6)
		}
		return m.ip(4)
	}
	return otherwise
}

func (m *maker) endpoint() netip.AddrPort {
	a, err := netip.ParseAddrPort(m.next())
	if err != nil || a.Addr().Zone() != "" || a.Addr().Is4In6() {
		m.bad = true
		return netip.AddrPortFrom(default4, 0)
	}
	return a
}

func (m *maker) number(most uint64) uint64 {
	n, err := strconv.ParseUint(m.next(), 0, 64)
	if err != nil || n > most {
		m.bad = true
	}
	return min(n, most)
}

// pair makes sure that two addresses are of one family.
func (m *maker) pair(a, b netip.Addr) (netip.Addr, netip.Addr) {
	if a.Is4() != b.Is4() {
		m.bad = true
		return a, a
	}
	return a, b
}

func makeARP(m *maker) (uint16, []byte) {
	what := m.word("request", "reply", "gratuitous", "probe")
	target := m.ip(4)
	sender, op := default4, uint16(1)
	var tha classify.MAC
	switch what {
	case "request":
		sender = m.from(default4)
	case "reply":
		op, tha = 2, m.dst
		sender, target = target, default4
		if m.maybe("to") {
			target = m.ip(4)
		}
	case "gratuitous":
		sender = target
	case "probe":
		sender = netip.IPv4Unspecified()
	}
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, op)
	b = appendMAC(b, m.src)
	b = append(b, sender.AsSlice()...)
	b = appendMAC(b, tha)
	return typeARP, append(b, target.AsSlice()...)
}

func appendMAC(b []byte, m classify.MAC) []byte {
	o := m.Bytes()
	return append(b, o[:]...)
}

// data is the payload, or a short one of our own.
func (m *maker) data() []byte {
	if m.payload != nil {
		return m.payload
	}
	return []byte("umacvlan")
}

func makeUDP(m *maker) (uint16, []byte) {
	a, b := m.endpoint(), m.endpoint()
	src, dst := m.pair(a.Addr(), b.Addr())
	return ip(src, dst, protoUDP, 64, nil, udp(src, dst, a.Port(), b.Port(), m.data()))
}

func udp(src, dst netip.Addr, sport, dport uint16, data []byte) []byte {
	u := binary.BigEndian.AppendUint16(nil, sport)
	u = binary.BigEndian.AppendUint16(u, dport)
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(data)))
	u = append(append(u, 0, 0), data...)
	sum := checksum(u, pseudo(src, dst, protoUDP, len(u)))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(u[6:], sum)
	return u
}

func makeTCP(m *maker) (uint16, []byte) {
	a, b := m.endpoint(), m.endpoint()
	src, dst := m.pair(a.Addr(), b.Addr())
	flags := byte(2)
	if len(m.args) > 0 {
		flags = map[string]byte{"fin": 1, "syn": 2, "rst": 4, "ack": 16}[m.word("syn", "ack", "fin", "rst")]
	}
	t := binary.BigEndian.AppendUint16(nil, a.Port())
	t = binary.BigEndian.AppendUint16(t, b.Port())
	t = append(t, 0, 0, 0, 1, 0, 0, 0, 0, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	t = append(t, m.payload...)
	binary.BigEndian.PutUint16(t[16:], checksum(t, pseudo(src, dst, protoTCP, len(t))))
	return ip(src, dst, protoTCP, 64, nil, t)
}

func makeICMP(m *maker) (uint16, []byte) {
	what := m.word("echo", "reply")
	src, dst := m.pair(m.ip(0), m.ip(0))
	typ, proto := byte(8), byte(protoICMP)
	if what == "reply" {
		typ = 0
	}
	var extra uint32
	if src.Is6() {
		typ, proto = 128, protoICMPv6
		if what == "reply" {
			typ = 129
		}
	}
	b := append([]byte{typ, 0, 0, 0, 0, 1, 0, 1}, m.data()...)
	if src.Is6() {
		extra = pseudo(src, dst, proto, len(b))
	}
	binary.BigEndian.PutUint16(b[2:], checksum(b, extra))
	return ip(src, dst, proto, 64, nil, b)
}

// makeFrag makes a fragment of a UDP datagram whose data are a pattern of their
// offset, so that fragments that overlap agree.
func makeFrag(m *maker) (uint16, []byte) {
	src, dst := m.ip(4), m.ip(4)
	id, offset := m.number(0xffff), m.number(0xffff)
	more := m.word("more", "last") == "more"
	size := uint64(1024)
	if len(m.args) > 0 {
		size = m.number(65515)
	}
	if offset%8 != 0 || more && size%8 != 0 {
		m.bad = true
	}
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(uint64(i)+offset) ^ byte((uint64(i)+offset)>>8)
	}
	b := ipv4(src, dst, protoUDP, 64, nil, body)
	binary.BigEndian.PutUint16(b[4:], uint16(id))
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], field)
	sumHeader(b[:20])
	return typeIPv4, b
}
