// Package vnet knows the virtio-net header that stands before a frame on a TAP
// and on an AF_PACKET socket, and what it implies: unfinished checksums,
// super-frames, and offsets that move when a VLAN tag is put back.
//
// A raw frame is, everywhere in this project, the 10-byte header followed
// directly by the Ethernet frame, in one slice.
//
// Nothing in this package panics, whatever the bytes: whoever owns a vmac can
// write headers that lie. All functions may be called from any number of
// goroutines, as long as no two work on the same bytes.
package vnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// HdrLen is the length of struct virtio_net_hdr.
const HdrLen = 10

// Bits of Hdr.Flags.
const (
	FlagNeedsCsum = 1 // the checksum at CsumStart+CsumOffset holds the pseudo-header's sum only
	FlagDataValid = 2 // somebody has verified the checksum
)

// Values of Hdr.GSOType. GSOECN is a bit beside GSOTCPv4 or GSOTCPv6: the first
// segment carries CWR.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOUFO   = 3 // not supported: current kernels never make it
	GSOTCPv6 = 4
	GSOUDPL4 = 5
	GSOECN   = 0x80
)

// Hdr is struct virtio_net_hdr. Offsets count from the first byte of the
// Ethernet header. The zero value says nothing about the frame: no super-frame,
// and no unfinished checksum.
type Hdr struct {
	Flags   uint8
	GSOType uint8
	// HdrLen is a hint: how many bytes of headers the frame starts with. 0 is
	// allowed.
	HdrLen uint16
	// GSOSize is the payload of one segment in bytes.
	GSOSize    uint16
	CsumStart  uint16
	CsumOffset uint16
}

// Parse reads the header of a raw frame. A slice shorter than HdrLen gives the
// zero Hdr.
//
// The fields are in the byte order of the machine: that is what a TAP (without
// TUNSETVNETLE or TUNSETVNETBE) and a packet socket speak.
func Parse(raw []byte) Hdr {
	if len(raw) < HdrLen {
		return Hdr{}
	}
	return Hdr{
		Flags:      raw[0],
		GSOType:    raw[1],
		HdrLen:     binary.NativeEndian.Uint16(raw[2:]),
		GSOSize:    binary.NativeEndian.Uint16(raw[4:]),
		CsumStart:  binary.NativeEndian.Uint16(raw[6:]),
		CsumOffset: binary.NativeEndian.Uint16(raw[8:]),
	}
}

// Put writes h into the first HdrLen bytes of raw; a shorter slice is left as
// it is.
func (h Hdr) Put(raw []byte) {
	if len(raw) < HdrLen {
		return
	}
	raw[0], raw[1] = h.Flags, h.GSOType
	binary.NativeEndian.PutUint16(raw[2:], h.HdrLen)
	binary.NativeEndian.PutUint16(raw[4:], h.GSOSize)
	binary.NativeEndian.PutUint16(raw[6:], h.CsumStart)
	binary.NativeEndian.PutUint16(raw[8:], h.CsumOffset)
}

// IsGSO reports whether the frame is a super-frame, to be cut into segments.
func (h Hdr) IsGSO() bool { return h.GSOType != GSONone }

// NeedsCsum reports whether the frame's checksum is unfinished.
func (h Hdr) NeedsCsum() bool { return h.Flags&FlagNeedsCsum != 0 }

// ErrHeader is what every error about a header that does not describe its frame
// unwraps to.
var ErrHeader = errors.New("vnet: header does not describe its frame")

// The errors are made once: a vmac that sends nothing but nonsense must not
// cost allocations.
var (
	errShort   = fmt.Errorf("%w: frame too short", ErrHeader)
	errCsum    = fmt.Errorf("%w: checksum outside the frame", ErrHeader)
	errHdrLen  = fmt.Errorf("%w: hdr_len beyond the frame", ErrHeader)
	errGSOSize = fmt.Errorf("%w: gso_size", ErrHeader)
	errGSOType = fmt.Errorf("vnet: gso_type: %w", errors.ErrUnsupported)
)

const (
	ethLen  = 14
	tagLen  = 4
	tcpLen  = 20
	udpLen  = 8
	sctpLen = 12

	tcpCsum  = 16 // offset of the checksum in a TCP header
	udpCsum  = 6  // in a UDP header
	sctpCsum = 8  // and in an SCTP header
)

// Check reports whether the header of a raw frame is one that the kernel would
// take with it (tun_get_user, virtio_net_hdr_to_skb): offsets inside the frame,
// a known GSO type, a segment size. The error unwraps to ErrHeader, or to
// errors.ErrUnsupported for a GSO type that nobody here knows. Check does not
// look into the frame: that the offsets point to a TCP header is Segment's to
// find out, and a tunnelled super-frame whose offsets point to the inner header
// passes.
func Check(raw []byte) error {
	if len(raw) < HdrLen+ethLen {
		return errShort
	}
	if raw[0]|raw[1] == 0 && raw[2]|raw[3] == 0 {
		return nil
	}
	h, n := Parse(raw), len(raw)-HdrLen
	if int(h.HdrLen) > n {
		return errHdrLen
	}
	need, off := 0, -1
	switch h.GSOType &^ GSOECN {
	case GSONone:
		if h.GSOType != GSONone {
			return errGSOType
		}
	case GSOTCPv4, GSOTCPv6:
		need, off = tcpLen, tcpCsum
	case GSOUDPL4:
		if h.GSOType != GSOUDPL4 {
			return errGSOType
		}
		need, off = udpLen, udpCsum
	default:
		return errGSOType
	}
	// The kernel keeps 0xffff to itself (GSO_BY_FRAGS).
	if h.IsGSO() && (h.GSOSize == 0 || h.GSOSize == math.MaxUint16) {
		return errGSOSize
	}
	if h.NeedsCsum() {
		if h.CsumStart < ethLen || int(h.CsumStart)+max(need, int(h.CsumOffset)+2) > n {
			return errCsum
		}
		if off >= 0 && int(h.CsumOffset) != off {
			return errCsum
		}
	}
	return nil
}

// TagRoom is the free room that InsertVLAN needs before a raw frame.
const TagRoom = tagLen

// InsertVLAN puts back a VLAN tag that the kernel has moved out of the frame
// (TP_STATUS_VLAN_VALID, PACKET_AUXDATA). buf is TagRoom bytes that may be
// overwritten, followed by a raw frame; the result is the raw frame with the
// tag, and starts where buf starts. Offsets in the header move with the bytes
// they point to. It returns nil if buf holds no whole Ethernet header.
func InsertVLAN(buf []byte, tpid, tci uint16) []byte {
	const macs = 12
	if len(buf) < tagLen+HdrLen+ethLen {
		return nil
	}
	copy(buf, buf[tagLen:tagLen+HdrLen+macs])
	binary.BigEndian.PutUint16(buf[HdrLen+macs:], tpid)
	binary.BigEndian.PutUint16(buf[HdrLen+macs+2:], tci)
	h := Parse(buf)
	if h.NeedsCsum() {
		h.CsumStart = shift(h.CsumStart)
	}
	if h.HdrLen != 0 {
		h.HdrLen = shift(h.HdrLen)
	}
	h.Put(buf)
	return buf
}

// shift does not wrap, so that an offset beyond the frame stays there.
func shift(off uint16) uint16 { return uint16(min(int(off)+tagLen, math.MaxUint16)) }
