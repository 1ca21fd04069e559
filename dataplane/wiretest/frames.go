package wiretest

import (
	"encoding/binary"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// Addresses of the scenarios. Ext is on the wire, mine is a vmac's.
const (
	ext   classify.MAC = 0x010e_0000_0002 // 02:00:00:00:0e:01
	mine  classify.MAC = 0x0501_0000_0002
	other classify.MAC = 0x7777_0000_0002
	group classify.MAC = 0x3322_115e_0001 // 01:00:5e:11:22:33
)

func putMAC(b []byte, m classify.MAC) {
	for i := range 6 {
		b[i] = byte(m >> (8 * i))
	}
}

// small is a raw 60-byte frame of a local experimental ethertype.
func small(dst, src classify.MAC, n uint32) []byte {
	raw := make([]byte, vnet.HdrLen+60)
	e := raw[vnet.HdrLen:]
	putMAC(e, dst)
	putMAC(e[6:], src)
	binary.BigEndian.PutUint16(e[12:], 0x88b5)
	binary.BigEndian.PutUint32(e[14:], n)
	return raw
}

func number(e []byte) uint32 { return binary.BigEndian.Uint32(e[14:]) }

// tag is a VLAN tag.
type tag struct{ tpid, tci uint16 }

// tcp is a raw TCP frame behind the given tags, with an unfinished checksum,
// and a super-frame if payload is more than mss.
func tcp(dst classify.MAC, tags []tag, payload, mss int) []byte {
	l2 := 14 + 4*len(tags)
	raw := make([]byte, vnet.HdrLen+l2+40+payload)
	e := raw[vnet.HdrLen:]
	be := binary.BigEndian
	putMAC(e, dst)
	putMAC(e[6:], ext)
	for i, t := range tags {
		be.PutUint16(e[12+4*i:], t.tpid)
		be.PutUint16(e[14+4*i:], t.tci)
	}
	be.PutUint16(e[l2-2:], 0x0800)
	ip := e[l2:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	be.PutUint16(ip[2:], uint16(40+payload))
	copy(ip[12:], []byte{10, 1, 1, 1, 10, 1, 1, 2})
	be.PutUint16(ip[10:], ^sum(ip[:20], 0))
	seg := ip[20:]
	be.PutUint16(seg, 4000)
	be.PutUint16(seg[2:], 5000)
	seg[12], seg[13] = 0x50, 0x10
	be.PutUint16(seg[14:], 1000)
	for i := range payload {
		seg[20+i] = byte(i*7 + i>>8)
	}
	be.PutUint16(seg[16:], sum(ip[12:20], uint32(6+len(seg)))) // the pseudo header's
	h := vnet.Hdr{Flags: vnet.FlagNeedsCsum, CsumStart: uint16(l2 + 20), CsumOffset: 16}
	if payload > mss {
		h.GSOType, h.GSOSize, h.HdrLen = vnet.GSOTCPv4, uint16(mss), uint16(l2+40)
	}
	h.Put(raw)
	return raw
}

// sum is the one's complement sum of b and init.
func sum(b []byte, init uint32) uint16 {
	s := uint64(init)
	for i := 0; i+1 < len(b); i += 2 {
		s += uint64(b[i])<<8 | uint64(b[i+1])
	}
	if len(b)%2 == 1 {
		s += uint64(b[len(b)-1]) << 8
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// finish is raw as a Wire without offload has to give it: no header, and the
// checksum done.
func finish(raw []byte) []byte {
	h := vnet.Parse(raw)
	out := append(make([]byte, vnet.HdrLen), raw[vnet.HdrLen:]...)
	if h.NeedsCsum() {
		seg := out[vnet.HdrLen+int(h.CsumStart):]
		binary.BigEndian.PutUint16(seg[h.CsumOffset:], ^sum(seg, 0))
	}
	return out
}
