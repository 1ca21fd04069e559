package vnet

import (
	"encoding/binary"
	"errors"
)

// ErrArena says that the segments do not fit into the arena.
var ErrArena = errors.New("vnet: arena too small for the segments")

const (
	tcpFIN = 1 << 0
	tcpPSH = 1 << 3
	tcpCWR = 1 << 7
)

// Segment does in software what the header asks for, for a reader that cannot:
// it cuts a super-frame (TCP over IPv4 or IPv6, or UDP_L4) into segments of
// GSOSize bytes as tcp_gso_segment and __udp_gso_segment do, or finishes the
// checksum of an ordinary frame. Every segment is a raw frame with a zero header
// and complete checksums; Ethernet padding behind the IP packet is left out of
// the segments of a super-frame.
//
// The segments are appended to out and live in arena, of which rest is what
// they left; raw is not changed and must not lie in arena. It does not allocate
// once out has grown. On an error out and arena come back as they were: ErrArena
// if there are more bytes than arena holds, ErrHeader if the header does not
// describe the frame, errors.ErrUnsupported if the frame is of another kind
// (UFO, tunnels, fragments, options that change the pseudo-header).
func Segment(raw, arena []byte, out [][]byte) (segs [][]byte, rest []byte, err error) {
	if err := Check(raw); err != nil {
		return out, arena, err
	}
	h := Parse(raw)
	if !h.IsGSO() {
		return single(raw, arena, out)
	}
	f := raw[HdrLen:]
	l, err := parse(f)
	if err != nil {
		return out, arena, err
	}
	if !h.describes(&l) {
		return out, arena, errGSOType
	}
	if h.NeedsCsum() && int(h.CsumStart) != l.l4 { // Check has seen to CsumOffset
		return out, arena, errCsum
	}
	// A UDP datagram over IPv4 may go without a checksum, unless its header says
	// that it has an unfinished one.
	noCsum := l.proto == protoUDP && !l.v6 && !h.NeedsCsum() && f[l.csum()]|f[l.csum()+1] == 0

	mss, data := int(h.GSOSize), l.end-l.payload
	count := max(1, (data+mss-1)/mss)
	if count*(HdrLen+l.payload)+data > len(arena) {
		return out, arena, ErrArena
	}
	for i := range count {
		from := l.payload + i*mss
		to := min(from+mss, l.end)
		n := HdrLen + l.payload + to - from
		seg := arena[:n:n]
		arena = arena[n:]
		clear(seg[:HdrLen])
		g := seg[HdrLen:]
		copy(g, f[:l.payload])
		copy(g[l.payload:], f[from:to])

		s := l
		s.end = len(g)
		s.renumber(g, i, i == count-1, from-l.payload)
		if !noCsum {
			finish(g, &s)
		}
		out = append(out, seg)
	}
	return out, arena, nil
}

// describes reports whether the GSO type is that of the frame.
func (h Hdr) describes(l *offsets) bool {
	switch h.GSOType &^ GSOECN {
	case GSOTCPv4:
		return l.proto == protoTCP && !l.v6
	case GSOTCPv6:
		return l.proto == protoTCP && l.v6
	}
	return l.proto == protoUDP
}

// renumber makes the copied headers of segment i those of a packet of its own:
// s.end is its length and offset where its payload was in the super-frame's.
func (s *offsets) renumber(g []byte, i int, last bool, offset int) {
	ip := g[s.l3:]
	if s.v6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(s.end-s.l3-40))
	} else {
		binary.BigEndian.PutUint16(ip[2:], uint16(s.end-s.l3))
		binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(i))
		ip[10], ip[11] = 0, 0
		binary.NativeEndian.PutUint16(ip[10:], ^fold(sum(ip[:s.l4-s.l3], 0)))
	}
	t := g[s.l4:]
	if s.proto == protoUDP {
		binary.BigEndian.PutUint16(t[4:], uint16(s.end-s.l4))
		return
	}
	binary.BigEndian.PutUint32(t[4:], binary.BigEndian.Uint32(t[4:])+uint32(offset))
	if i > 0 {
		t[13] &^= tcpCWR
	}
	if !last {
		t[13] &^= tcpFIN | tcpPSH
	}
}

// single copies an ordinary frame and finishes its checksum.
func single(raw, arena []byte, out [][]byte) ([][]byte, []byte, error) {
	n := len(raw)
	if n > len(arena) {
		return out, arena, ErrArena
	}
	seg := arena[:n:n]
	copy(seg, raw)
	if err := Complete(seg); err != nil {
		return out, arena, err
	}
	clear(seg[:HdrLen])
	return append(out, seg), arena[n:], nil
}
