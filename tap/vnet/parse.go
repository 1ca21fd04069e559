package vnet

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8

	protoHopByHop = 0
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoDestOpts = 60
	protoSCTP     = 132

	maxTags       = 8  // VLAN_MAX_DEPTH
	maxExtensions = 16 // more than any honest sender stacks
)

var (
	errProto    = fmt.Errorf("vnet: neither TCP, UDP nor SCTP over IP: %w", errors.ErrUnsupported)
	errFragment = fmt.Errorf("vnet: fragment: %w", errors.ErrUnsupported)
	errRouting  = fmt.Errorf("vnet: routing header with segments left: %w", errors.ErrUnsupported)
	errLength   = fmt.Errorf("%w: lengths in the IP or transport header", ErrHeader)
)

// offsets says where the headers of a TCP, UDP or SCTP frame are, as offsets from the
// Ethernet header. All of them lie inside the frame, in rising order.
type offsets struct {
	l3, l4  int
	payload int // first byte behind the transport header
	end     int // behind the packet; what follows is padding
	v6      bool
	proto   uint8 // protoTCP, protoUDP or protoSCTP
}

// csum is the offset of the transport checksum.
func (l *offsets) csum() int {
	switch l.proto {
	case protoUDP:
		return l.l4 + udpCsum
	case protoSCTP:
		return l.l4 + sctpCsum
	}
	return l.l4 + tcpCsum
}

// parse finds the headers of an unfragmented TCP, UDP or SCTP packet, behind VLAN
// tags, IPv4 options and IPv6 extension headers.
func parse(f []byte) (l offsets, err error) {
	if len(f) < ethLen {
		return l, errShort
	}
	etype := binary.BigEndian.Uint16(f[12:])
	l.l3 = ethLen
	for tags := 0; etype == etherVLAN || etype == etherQinQ; tags++ {
		if tags == maxTags || len(f) < l.l3+tagLen {
			return l, errProto
		}
		etype = binary.BigEndian.Uint16(f[l.l3+2:])
		l.l3 += tagLen
	}
	switch etype {
	case etherIPv4:
		err = l.ipv4(f)
	case etherIPv6:
		err = l.ipv6(f)
	default:
		err = errProto
	}
	if err != nil {
		return l, err
	}
	switch l.proto {
	case protoTCP:
		if l.end-l.l4 < tcpLen {
			return l, errLength
		}
		l.payload = l.l4 + int(f[l.l4+12]>>4)*4
		if l.payload < l.l4+tcpLen || l.payload > l.end {
			return l, errLength
		}
	case protoUDP:
		if l.end-l.l4 < udpLen {
			return l, errLength
		}
		// The UDP length rules, as in udp_rcv: what follows it belongs to nobody.
		n := int(binary.BigEndian.Uint16(f[l.l4+4:]))
		if n < udpLen || n > l.end-l.l4 {
			return l, errLength
		}
		l.payload, l.end = l.l4+udpLen, l.l4+n
	case protoSCTP:
		l.payload = l.l4 + sctpLen
		if l.payload > l.end {
			return l, errLength
		}
	default:
		return l, errProto
	}
	return l, nil
}

func (l *offsets) ipv4(f []byte) error {
	ip := f[l.l3:]
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return errLength
	}
	ihl := int(ip[0]&15) * 4
	total := int(binary.BigEndian.Uint16(ip[2:]))
	if ihl < 20 || total < ihl || total > len(ip) {
		return errLength
	}
	if binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 { // MF, or an offset
		return errFragment
	}
	l.l4, l.end, l.proto = l.l3+ihl, l.l3+total, ip[9]
	return nil
}

func (l *offsets) ipv6(f []byte) error {
	ip := f[l.l3:]
	if len(ip) < 40 || ip[0]>>4 != 6 {
		return errLength
	}
	l.v6 = true
	l.l4 = l.l3 + 40
	l.end = l.l4 + int(binary.BigEndian.Uint16(ip[4:]))
	if l.end > len(f) {
		return errLength
	}
	l.proto = ip[6]
	for range maxExtensions {
		switch l.proto {
		case protoHopByHop, protoRouting, protoDestOpts:
		case 44:
			return errFragment
		default:
			return nil
		}
		if l.end-l.l4 < 8 {
			return errLength
		}
		ext := f[l.l4:]
		// The pseudo-header has the last destination, which is then not the one
		// in the IPv6 header.
		if l.proto == protoRouting && ext[3] != 0 {
			return errRouting
		}
		n := int(ext[1])*8 + 8
		if n > l.end-l.l4 {
			return errLength
		}
		l.proto = ext[0]
		l.l4 += n
	}
	return errProto
}
