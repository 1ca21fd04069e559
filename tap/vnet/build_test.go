package vnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// packet is a TCP or UDP packet as a sender would hand it over.
type packet struct {
	tags    []uint16 // TPIDs
	v6, udp bool
	options int // bytes of IPv4 options or of IPv6 extension headers, a multiple of 8
	tcpOpts int // a multiple of 4
	tcpFlag byte
	seq     uint32
	id      uint16
	payload int
	padding int
	gso     uint16
	ecn     bool
}

func randomPacket(r *rand.Rand) packet {
	p := packet{
		v6: r.IntN(2) == 0, udp: r.IntN(2) == 0,
		options: r.IntN(4) * 8, tcpOpts: r.IntN(11) * 4,
		tcpFlag: byte(r.Uint32()), seq: r.Uint32(), id: uint16(r.Uint32()),
		payload: r.IntN(4000), gso: uint16(1 + r.IntN(1500)), ecn: r.IntN(2) == 0,
	}
	for range r.IntN(3) {
		p.tags = append(p.tags, []uint16{0x8100, 0x88a8}[r.IntN(2)])
	}
	if r.IntN(4) == 0 {
		p.padding = r.IntN(30)
	}
	return p
}

// headers returns the frame up to the transport header, and where that starts.
func (p packet) headers() (f []byte, l3, l4 int) {
	f = append(f, 2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2)
	for i, tpid := range p.tags {
		f = binary.BigEndian.AppendUint16(f, tpid)
		f = binary.BigEndian.AppendUint16(f, uint16(10+i))
	}
	transport := byte(6)
	tlen := 20 + p.tcpOpts + p.payload
	if p.udp {
		transport, tlen = 17, 8+p.payload
	}
	if p.v6 {
		f = append(f, 0x86, 0xdd)
		l3 = len(f)
		next := transport
		if p.options > 0 {
			next = 0
		}
		f = append(f, 0x60, 0, 0, 0)
		f = binary.BigEndian.AppendUint16(f, uint16(p.options+tlen))
		f = append(f, next, 64)
		f = append(f, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
		f = append(f, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)
		if p.options > 0 {
			// One hop-by-hop header, filled with PadN.
			f = append(f, transport, byte(p.options/8-1), 1, byte(p.options-4))
			f = append(f, make([]byte, p.options-4)...)
		}
		return f, l3, len(f)
	}
	f = append(f, 8, 0)
	l3 = len(f)
	f = append(f, 0x40|byte(5+p.options/4), 0)
	f = binary.BigEndian.AppendUint16(f, uint16(20+p.options+tlen))
	f = binary.BigEndian.AppendUint16(f, p.id)
	f = append(f, 0x40, 0, 64, transport, 0, 0, 10, 1, 1, 2, 10, 1, 1, 3)
	for range p.options {
		f = append(f, 1) // NOP
	}
	binary.BigEndian.PutUint16(f[l3+10:], ^slowSum(f[l3:]))
	return f, l3, len(f)
}

// raw builds the packet with an unfinished checksum, and where its payload is.
func (p packet) raw(r *rand.Rand) (raw, payload []byte) {
	f, l3, l4 := p.headers()
	h := Hdr{Flags: FlagNeedsCsum, CsumStart: uint16(l4), GSOSize: p.gso}
	if p.udp {
		f = append(f, 0x13, 0x88, 0x13, 0x89)
		f = binary.BigEndian.AppendUint16(f, uint16(8+p.payload))
		f = append(f, 0, 0)
		h.CsumOffset, h.GSOType = 6, GSOUDPL4
	} else {
		f = append(f, 0x13, 0x88, 0x13, 0x89)
		f = binary.BigEndian.AppendUint32(f, p.seq)
		f = append(f, 0, 0, 0, 9, byte(5+p.tcpOpts/4)<<4, p.tcpFlag, 1, 0, 0, 0, 0, 0)
		for range p.tcpOpts {
			f = append(f, 1)
		}
		h.CsumOffset, h.GSOType = 16, GSOTCPv4
		if p.v6 {
			h.GSOType = GSOTCPv6
		}
		if p.ecn {
			h.GSOType |= GSOECN
		}
	}
	h.HdrLen = uint16(len(f))
	payload = make([]byte, p.payload)
	for i := range payload {
		payload[i] = byte(r.Uint32())
	}
	f = append(f, payload...)
	binary.BigEndian.PutUint16(f[l4+int(h.CsumOffset):], slowSum(slowPseudo(f, l3, l4, p.v6)))
	f = append(f, make([]byte, p.padding)...)
	raw = make([]byte, HdrLen, HdrLen+len(f))
	h.Put(raw)
	return append(raw, f...), payload
}

func slowPseudo(f []byte, l3, l4 int, v6 bool) (b []byte) {
	proto, end := f[l3+9], l3+int(binary.BigEndian.Uint16(f[l3+2:]))
	if v6 {
		proto, end = f[l3+6], l3+40+int(binary.BigEndian.Uint16(f[l3+4:]))
		if proto == 0 {
			proto = f[l3+40]
		}
		b = append(b, f[l3+8:l3+40]...)
	} else {
		b = append(b, f[l3+12:l3+20]...)
	}
	b = append(b, 0, proto)
	return binary.BigEndian.AppendUint16(b, uint16(end-l4))
}

// slowSum is RFC 1071 as it is told, to compare with.
func slowSum(b []byte) uint16 {
	var s uint32
	for i, v := range b {
		if i%2 == 0 {
			s += uint32(v) << 8
		} else {
			s += uint32(v)
		}
		for s > 0xffff {
			s = s&0xffff + s>>16
		}
	}
	return uint16(s)
}

// decoded is what gopacket makes of a frame.
type decoded struct {
	ip4     *layers.IPv4
	ip6     *layers.IPv6
	tcp     *layers.TCP
	udp     *layers.UDP
	tags    []uint16
	payload []byte
}

// decode takes a finished frame apart with gopacket and verifies every checksum.
func decode(frame []byte) (d decoded, err error) {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		return d, e.Error()
	}
	var src, dst []byte
	l2 := 14
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.Dot1Q:
			l2 += 4
			d.tags = append(d.tags, l.VLANIdentifier)
		case *layers.IPv4:
			d.ip4, src, dst = l, l.SrcIP, l.DstIP
			if slowSum(l.Contents) != 0xffff {
				return d, errors.New("IPv4 checksum")
			}
		case *layers.IPv6:
			d.ip6, src, dst = l, l.SrcIP, l.DstIP
			// gopacket leaves padding on behind a hop-by-hop header.
			if end := l2 + 40 + int(l.Length); end < len(frame) {
				return decode(frame[:end])
			}
		case *layers.TCP:
			d.tcp = l
		case *layers.UDP:
			d.udp = l
		}
	}
	var b []byte
	b = append(append(b, src...), dst...)
	switch {
	case d.tcp != nil:
		b = binary.BigEndian.AppendUint16(append(b, 0, 6), uint16(len(d.tcp.Contents)+len(d.tcp.Payload)))
		b = append(append(b, d.tcp.Contents...), d.tcp.Payload...)
		d.payload = d.tcp.Payload
	case d.udp != nil:
		if int(d.udp.Length) != 8+len(d.udp.Payload) {
			return d, fmt.Errorf("UDP length %d, payload %d", d.udp.Length, len(d.udp.Payload))
		}
		if d.udp.Checksum == 0 {
			return d, errors.New("UDP without checksum")
		}
		b = binary.BigEndian.AppendUint16(append(b, 0, 17), d.udp.Length)
		b = append(append(b, d.udp.Contents...), d.udp.Payload...)
		d.payload = d.udp.Payload
	default:
		return d, errors.New("neither TCP nor UDP")
	}
	if slowSum(b) != 0xffff {
		return d, errors.New("transport checksum")
	}
	return d, nil
}
