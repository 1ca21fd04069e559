package vnet

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/bits"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errSuper = errors.New("vnet: a super-frame has no checksum of its own")

// Complete finishes, in place, the checksum that the header says is unfinished,
// and takes that out of the header (skb_checksum_help). A frame whose header
// says nothing of the kind is left as it is. A super-frame is refused, because
// it has no checksum before it is cut up: see Segment. What a sender has left to
// its NIC in SCTP is a CRC, and so it becomes one, although the header cannot say
// so.
func Complete(raw []byte) error {
	h := Parse(raw)
	if !h.NeedsCsum() {
		return nil
	}
	if err := Check(raw); err != nil {
		return err
	}
	if h.IsGSO() {
		return errSuper
	}
	f := raw[HdrLen:]
	if h.CsumOffset != sctpCsum || !finishSCTP(f, int(h.CsumStart)) {
		complete(f[h.CsumStart:], int(h.CsumOffset), 0)
	}
	h.Flags &^= FlagNeedsCsum
	h.CsumStart, h.CsumOffset = 0, 0
	h.Put(raw)
	return nil
}

// CompleteUnmarked computes the TCP, UDP or SCTP checksum of an Ethernet frame (no
// virtio header before it) from scratch and writes it in place. It is for frames
// of which the kernel says TP_STATUS_CSUMNOTREADY on a socket without
// PACKET_VNET_HDR. The frame may have VLAN tags, IPv4 options and IPv6 extension
// headers. The error unwraps to errors.ErrUnsupported for fragments and for
// anything but these three, and to ErrHeader for lengths that contradict each
// other; the frame is then unchanged.
func CompleteUnmarked(frame []byte) error {
	l, err := parse(frame)
	if err != nil {
		return err
	}
	finish(frame, &l)
	return nil
}

// finish computes the transport checksum of f from scratch.
func finish(f []byte, l *offsets) {
	if l.proto == protoSCTP {
		clear(f[l.csum() : l.csum()+4])
		binary.LittleEndian.PutUint32(f[l.csum():], crc32.Checksum(f[l.l4:l.end], castagnoli))
		return
	}
	off := l.csum() - l.l4
	f[l.l4+off], f[l.l4+off+1] = 0, 0
	complete(f[l.l4:l.end], off, pseudo(f, l))
}

// finishSCTP is finish for an SCTP packet whose header is at start, and reports
// whether f is one.
func finishSCTP(f []byte, start int) bool {
	l, err := parse(f)
	if err != nil || l.proto != protoSCTP || l.l4 != start {
		return false
	}
	finish(f, &l)
	return true
}

// complete puts the checksum of b, started with init, at off. Zero becomes
// 0xffff (CSUM_MANGLED_0): the same number, and to UDP not "no checksum".
func complete(b []byte, off int, init uint64) {
	c := ^fold(sum(b, init))
	if c == 0 {
		c = 0xffff
	}
	binary.NativeEndian.PutUint16(b[off:], c)
}

// pseudo is the sum of the pseudo-header of f.
func pseudo(f []byte, l *offsets) uint64 {
	var tail [4]byte
	tail[1] = l.proto
	binary.BigEndian.PutUint16(tail[2:], uint16(l.end-l.l4))
	s := uint64(binary.NativeEndian.Uint32(tail[:]))
	if l.v6 {
		return sum(f[l.l3+8:l.l3+40], s)
	}
	return sum(f[l.l3+12:l.l3+20], s)
}

// sum adds b to s, as 64-bit numbers in the machine's byte order and with
// end-around carry. A ones' complement sum does not care about width or order,
// so long as the result is written back in the same order (RFC 1071).
func sum(b []byte, s uint64) uint64 {
	var c uint64
	for len(b) >= 64 {
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b[0:8]), 0)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b[8:16]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b[16:24]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b[24:32]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b[32:40]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b[40:48]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b[48:56]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b[56:64]), c)
		s += c // cannot carry again: after a carry s is at most 2^64-2
		b = b[64:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b), 0)
		s += c
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(last[:]), 0)
		s += c
	}
	return s
}

func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}
