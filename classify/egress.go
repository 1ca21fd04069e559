package classify

import (
	"encoding/binary"
	"math"
)

// Egress decides a frame sent by vmac number from (macvlan_queue_xmit). It
// appends the copies to dst, in the kernel's order; a flood happens before the
// frame is handed to the parent.
//
// A unicast between bridge vmacs passes through all of the parent's receive
// path: source lists, which may take it (ToLocal with source copies only), and
// the VLAN check, which may drop it (VLANTruncated). The kernel tells the sender
// that such a frame was sent in every case.
func (t *Table) Egress(from int, frame []byte, m Meta, dst []Copy) ([]Copy, Verdict) {
	if from < 0 || from >= len(t.modes) {
		return dst, Verdict{Reason: VmacGone}
	}
	if drop := t.refuses(len(frame)); drop != Delivered {
		return dst, Verdict{Reason: drop}
	}
	if t.modes[from] != Bridge {
		return dst, Verdict{Reason: ToWire, Wire: true}
	}
	to := MAC(binary.LittleEndian.Uint64(frame) & macMask)
	src := binary.LittleEndian.Uint64(frame[6:14])
	if to.IsGroup() {
		return t.floodLocal(int32(from), len(frame), to, src, m, dst)
	}
	slot := t.hash.lookup(to)
	if slot == 0 || t.modes[vmacOf(slot)] != Bridge {
		return dst, Verdict{Reason: ToWire, Wire: true}
	}
	dst, v := t.Ingress(frame, Meta{Type: t.parentType(to)}, dst)
	if v.Reason == VLANTruncated {
		return dst, v
	}
	return dst, Verdict{Reason: ToLocal}
}

// floodLocal gives a bridge vmac's group to the other bridge vmacs, then to the
// parent, whether or not anybody heard it. The tag is still in the frame here, so
// that only an untagged 0x8808 counts as a pause frame.
func (t *Table) floodLocal(from int32, size int, to MAC, src uint64, m Meta, dst []Copy) ([]Copy, Verdict) {
	dst, reason := t.broadcast(to, from, fromBridgeLocal, src>>48 == typePause, frameLimit(size, m), dst)
	return dst, toWireToo(reason)
}

// refuses says why no vmac may send a frame of this size, Delivered if it may.
func (t *Table) refuses(size int) Reason {
	switch {
	case size < headerLen:
		return Runt
	case t.parentDown:
		return ParentDown
	}
	return Delivered
}

// frameLimit is the length that is_skb_forwardable compares, 0 if it doesn't.
func frameLimit(size int, m Meta) uint32 {
	if m.GSO {
		return 0
	}
	return uint32(min(uint64(size), math.MaxUint32))
}

// toWireToo is the verdict after a local flood.
func toWireToo(flood Reason) Verdict {
	if flood == Flooded {
		return Verdict{Reason: ToBoth, Wire: true}
	}
	return Verdict{Reason: ToWire, Wire: true}
}

// parentType is what eth_type_trans says on the parent.
func (t *Table) parentType(to MAC) PacketType {
	switch {
	case to == t.parent:
		return TypeHost
	case to.IsGroup():
		return groupType(to, t.broadcastAddr)
	}
	return TypeOther
}
