package scenario

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIGMP     = 2
	protoTCP      = 6
	protoUDP      = 17
	protoICMPv6   = 58
	protoVRRP     = 112
)

// ip puts a body into a packet of the addresses' family and returns its
// ethertype. The options are the header's (v4) or a hop-by-hop header's (v6).
func ip(src, dst netip.Addr, proto, ttl byte, options, body []byte) (uint16, []byte) {
	if src.Is4() {
		return typeIPv4, ipv4(src, dst, proto, ttl, options, body)
	}
	next, body := proto, body
	if options != nil {
		next, body = protoHopByHop, append(append([]byte{proto, 0}, options...), body...)
	}
	b := []byte{6 << 4, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, next, ttl)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	return typeIPv6, append(b, body...)
}

func ipv4(src, dst netip.Addr, proto, ttl byte, options, body []byte) []byte {
	b := []byte{4<<4 | byte(5+len(options)/4), 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(options)+len(body)))
	b = append(b, 0, 1, 0, 0, ttl, proto, 0, 0)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	b = append(b, options...)
	sumHeader(b)
	return append(b, body...)
}

// sumHeader fills in an IPv4 header's checksum.
func sumHeader(b []byte) {
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], checksum(b, 0))
}

// checksum is the Internet checksum of b, begun with the sum of a pseudo-header.
func checksum(b []byte, sum uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func pseudo(src, dst netip.Addr, proto byte, length int) uint32 {
	b := append(src.AsSlice(), dst.AsSlice()...)
	sum := uint32(proto) + uint32(length)
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	return sum
}

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")

	routerAlert4 = []byte{0x94, 4, 0, 0}
	routerAlert6 = []byte{5, 2, 0, 0, 1, 0} // and PadN
)

// icmp6 makes an ICMPv6 message with its checksum.
func icmp6(src, dst netip.Addr, ttl byte, options, body []byte) (uint16, []byte) {
	binary.BigEndian.PutUint16(body[2:], checksum(body, pseudo(src, dst, protoICMPv6, len(body))))
	return ip(src, dst, protoICMPv6, ttl, options, body)
}

// makeND makes neighbour and router discovery; the destination follows from
// whether the frame goes to a group.
func makeND(m *maker) (uint16, []byte) {
	linkAddr := func(kind byte) []byte { return appendMAC([]byte{kind, 1}, m.src) }
	switch m.word("ns", "na", "rs", "ra") {
	case "ns":
		target := m.ip(6)
		dst := target
		if m.dst.IsGroup() {
			t := target.As16()
			copy(t[:], []byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff})
			dst = netip.AddrFrom16(t)
		}
		b := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
		return icmp6(m.from(default6), dst, 255, nil, append(b, linkAddr(1)...))
	case "na":
		target := m.ip(6)
		dst, flags := default6, byte(0x60)
		if m.dst.IsGroup() {
			dst, flags = allNodes, 0x20
		}
		b := append([]byte{136, 0, 0, 0, flags, 0, 0, 0}, target.AsSlice()...)
		return icmp6(m.from(target), dst, 255, nil, append(b, linkAddr(2)...))
	case "rs":
		return icmp6(m.from(default6), allRouters, 255, nil, append([]byte{133, 0, 0, 0, 0, 0, 0, 0}, linkAddr(1)...))
	}
	b := []byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	return icmp6(m.from(default6), allNodes, 255, nil, append(b, linkAddr(1)...))
}

func makeIGMP(m *maker) (uint16, []byte) {
	igmp := func(dst string, group netip.Addr, b []byte) (uint16, []byte) {
		to := group
		if dst != "" {
			to = netip.MustParseAddr(dst)
		}
		binary.BigEndian.PutUint16(b[2:], checksum(b, 0))
		return ip(default4, to, protoIGMP, 1, routerAlert4, b)
	}
	message := func(typ, code byte, g netip.Addr) []byte { return append([]byte{typ, code, 0, 0}, g.AsSlice()...) }
	what := m.word("query", "report", "join", "leave")
	if what == "query" && len(m.args) == 0 {
		return igmp("224.0.0.1", netip.Addr{}, message(0x11, 100, netip.IPv4Unspecified()))
	}
	g := m.ip(4)
	switch what {
	case "query":
		return igmp("", g, message(0x11, 10, g))
	case "report":
		return igmp("224.0.0.22", g, append([]byte{0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0}, g.AsSlice()...))
	case "join":
		return igmp("", g, message(0x16, 0, g))
	}
	return igmp("224.0.0.2", g, message(0x17, 0, g))
}

func makeMLD(m *maker) (uint16, []byte) {
	if m.word("query", "report") == "query" {
		to, group := allNodes, netip.IPv6Unspecified()
		if len(m.args) > 0 {
			group = m.ip(6)
			to = group
		}
		b := append([]byte{130, 0, 0, 0, 0x27, 0x10, 0, 0}, group.AsSlice()...)
		return icmp6(default6, to, 1, routerAlert6, append(b, 2, 125, 0, 0))
	}
	b := append([]byte{143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0}, m.ip(6).AsSlice()...)
	return icmp6(default6, netip.MustParseAddr("ff02::16"), 1, routerAlert6, b)
}

func makeVRRP(m *maker) (uint16, []byte) {
	vrid := uint64(1)
	if len(m.args) > 0 {
		vrid = m.number(255)
	}
	b := []byte{0x21, byte(vrid), 100, 1, 0, 1, 0, 0, 10, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[6:], checksum(b, 0))
	return ip(default4, netip.MustParseAddr("224.0.0.18"), protoVRRP, 255, nil, b)
}

// makeDHCP makes a message of client or server; the client is who the frame is
// from or for.
func makeDHCP(m *maker) (uint16, []byte) {
	kind := map[string]byte{"discover": 1, "offer": 2, "request": 3, "ack": 5}[m.word("discover", "offer", "request", "ack")]
	address := netip.MustParseAddr("10.0.0.9")
	if len(m.args) > 0 {
		address = m.ip(4)
	}
	server := kind == 2 || kind == 5
	client := m.src
	if server && !m.dst.IsGroup() {
		client = m.dst
	}
	b := make([]byte, 236)
	b[0], b[1], b[2] = 1, 1, 6
	binary.BigEndian.PutUint32(b[4:], 0x756d6163)
	b[10] = 0x80 // the answer is to be broadcast
	client.Put(b[28:])
	b = append(b, 0x63, 0x82, 0x53, 0x63, 53, 1, kind)
	from, to, sport, dport := netip.IPv4Unspecified(), netip.MustParseAddr("255.255.255.255"), uint16(68), uint16(67)
	if server {
		b[0] = 2
		copy(b[16:], address.AsSlice())
		b = append(append(b, 54, 4), default4.AsSlice()...)
		b = append(b, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0)
		from, sport, dport = default4, 67, 68
	} else if kind == 3 {
		b = append(append(b, 50, 4), address.AsSlice()...)
	}
	b = pad(append(b, 255), 272)
	return ip(from, to, protoUDP, 64, nil, udp(from, to, sport, dport, b))
}
