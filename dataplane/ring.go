package dataplane

import (
	"encoding/binary"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// Bits of tp_status (linux/if_packet.h).
const (
	statusUser         = 1 << 0 // the slot is ours
	statusCopy         = 1 << 1 // the whole frame waits in the socket's queue
	statusCsumNotReady = 1 << 3
	statusVLAN         = 1 << 4
	statusTPID         = 1 << 6
)

// slotRing is the arithmetic of a TPACKET_V2 ring over plain bytes: slots of
// equal size, a power of two, so that blocks have no gaps.
//
// A slot is a struct tpacket2_hdr, a sockaddr_ll, free bytes, the virtio header
// and the frame (tpacket_rcv).
type slotRing struct {
	mem   []byte
	shift uint
	mask  uint32
	next  uint32 // the slot that the kernel fills next, as far as we have seen
	held  uint32 // slots before next that are borrowed
}

func newSlotRing(mem []byte, slots, size int) slotRing {
	r := slotRing{mem: mem, mask: uint32(slots - 1)}
	for 1<<r.shift < size {
		r.shift++
	}
	return r
}

func (r *slotRing) slot(i uint32) []byte {
	off := int(i&r.mask) << r.shift
	return r.mem[off : off+1<<r.shift : off+1<<r.shift]
}

// giveBack returns every borrowed slot to the kernel, oldest first.
func (r *slotRing) giveBack() {
	for ; r.held > 0; r.held-- {
		setSlotStatus(r.slot(r.next-r.held), 0)
	}
}

// hole reports whether the kernel has filled the slot after the next one, but
// not the next one. That is so for moments where several CPUs fill slots, and
// for good where a kernel before 5.7 dropped a frame whose GSO type the virtio
// header cannot express.
func (r *slotRing) hole() bool {
	return slotStatus(r.slot(r.next))&statusUser == 0 && slotStatus(r.slot(r.next+1))&statusUser != 0
}

// Offsets in a slot. The sockaddr_ll ends where the free bytes begin.
const (
	slotLen     = 4
	slotSnaplen = 8
	slotMAC     = 12
	slotTCI     = 24
	slotTPID    = 26
	slotType    = 32 + 10 // sll_pkttype
	slotFree    = 32 + 20
)

// slotReserve is PACKET_RESERVE: with it there is always room before the frame
// for the virtio header and a VLAN tag, and the IP header is aligned to 16.
const slotReserve = 6

// slotOverhead is where the frame begins in a slot, at most.
const slotOverhead = 96

// slotInfo is what a slot says of its frame.
type slotInfo struct {
	length, snaplen int
	start           int // of the raw frame; the virtio header may have to be cleared
	tci, tpid       uint16
	typ             classify.PacketType
}

// readSlot returns ok false if the slot contradicts itself.
func readSlot(slot []byte, status uint32) (s slotInfo, ok bool) {
	e := binary.NativeEndian
	s.length = int(e.Uint32(slot[slotLen:]))
	s.snaplen = int(e.Uint32(slot[slotSnaplen:]))
	s.start = int(e.Uint16(slot[slotMAC:])) - vnet.HdrLen
	s.typ = classify.PacketType(slot[slotType])
	if status&statusVLAN != 0 {
		s.tci, s.tpid = e.Uint16(slot[slotTCI:]), 0x8100
		if status&statusTPID != 0 {
			s.tpid = e.Uint16(slot[slotTPID:])
		}
	}
	ok = s.start >= slotFree+tagLen && s.snaplen >= 0 && s.start+vnet.HdrLen+s.snaplen <= len(slot)
	return s, ok
}

// tagLen is the room that a VLAN tag needs before a raw frame.
const tagLen = 4

// restore puts the tag back into a raw frame that has tagLen bytes of room
// before it in buf, and finishes what only a virtio header could have told.
func restore(f *Frame, buf []byte, status uint32, tci, tpid uint16, offload bool) {
	f.Raw = buf[tagLen:]
	if !offload {
		clear(f.Raw[:vnet.HdrLen])
		if status&statusCsumNotReady != 0 {
			// A frame that isn't TCP or UDP is passed on as the kernel gave it.
			// A super-frame stays one: its length is right, its checksum now
			// too, and only its segment size is unknown.
			_ = vnet.CompleteUnmarked(f.Bytes())
		}
	}
	if status&statusVLAN != 0 {
		raw := vnet.InsertVLAN(buf, tpid, tci)
		if raw == nil { // not even two addresses
			f.Cut = true
			return
		}
		f.Raw, f.Untagged = raw, tagLen
	}
}
