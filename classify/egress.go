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
	if len(frame) < headerLen {
		return dst, Verdict{Reason: Runt}
	}
	if t.parentDown {
		return dst, Verdict{Reason: ParentDown}
	}
	if t.modes[from] != Bridge {
		return dst, Verdict{Reason: ToWire, Wire: true}
	}
	to := MAC(binary.LittleEndian.Uint64(frame) & macMask)
	src := binary.LittleEndian.Uint64(frame[6:14])
	if to.IsGroup() {
		return t.floodLocal(int32(from), frame, to, src, m, dst)
	}
	slot := t.hash.lookup(to)
	if slot == 0 || t.modes[vmacOf(slot)] != Bridge {
		return dst, Verdict{Reason: ToWire, Wire: true}
	}
	if isVLAN(src) && len(frame) < minTagged {
		return dst, Verdict{Reason: VLANTruncated}
	}
	dst, _ = t.receiveUnicast(to, MAC(src&macMask), t.parentType(to), dst)
	return dst, Verdict{Reason: ToLocal}
}

// floodLocal gives a bridge vmac's group to the other bridge vmacs, then to the
// parent, whether or not anybody heard it.
func (t *Table) floodLocal(from int32, frame []byte, to MAC, src uint64, m Meta, dst []Copy) ([]Copy, Verdict) {
	frameLen := uint32(min(uint64(len(frame)), math.MaxUint32))
	if m.GSO {
		frameLen = 0
	}
	dst, reason := t.broadcast(to, from, fromBridgeLocal, isPause(frame, src), frameLen, dst)
	if reason == Flooded {
		return dst, Verdict{Reason: ToBoth, Wire: true}
	}
	return dst, Verdict{Reason: ToWire, Wire: true}
}

// parentType is eth_type_trans on the parent, for a unicast.
func (t *Table) parentType(to MAC) PacketType {
	if to == t.parent {
		return TypeHost
	}
	return TypeOther
}
