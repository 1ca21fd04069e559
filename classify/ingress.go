package classify

import "encoding/binary"

const (
	headerLen = 14 // ETH_HLEN
	vlanLen   = 4  // VLAN_HLEN
	vlanEnd   = headerLen + vlanLen

	// minTagged is the shortest frame whose tag skb_vlan_untag moves out: it
	// wants two octets of payload too (observed on 6.18: 19 octets are dropped,
	// 20 are not).
	minTagged = vlanEnd + 2
)

// Ethertypes as they stand in the upper half of the word that begins with the
// source address.
const (
	type8021Q  = 0x0081
	type8021AD = 0xa888
	typePause  = 0x0888
)

// Ingress decides a frame received on the parent: what __netif_receive_skb_core
// does before it reaches macvlan, then macvlan_handle_frame. It appends the
// copies to dst, in the kernel's order, and returns one verdict for the frame.
// The VLAN tag, if any, stands in the frame.
func (t *Table) Ingress(frame []byte, m Meta, dst []Copy) ([]Copy, Verdict) {
	if m.Type == TypeOutgoing || m.Type == TypeLoopback {
		return dst, Verdict{Reason: OwnFrame, Host: true}
	}
	if len(frame) < headerLen {
		return dst, Verdict{Reason: Runt}
	}
	to := MAC(binary.LittleEndian.Uint64(frame) & macMask)
	from := binary.LittleEndian.Uint64(frame[6:14])
	if len(frame) < minTagged && isVLAN(from) {
		return dst, Verdict{Reason: VLANTruncated}
	}
	if to.IsGroup() {
		return t.receiveGroup(frame, to, from, m.Type, dst)
	}
	if i := t.sources.find(MAC(from & macMask)); i >= 0 {
		var nodst bool
		if dst, nodst = t.forwardSource(i, to, m.Type, dst); nodst {
			return dst, Verdict{Reason: SourceOnly}
		}
	}
	if t.passthru >= 0 {
		return t.receivePassthru(dst)
	}
	slot := t.hash.lookup(to)
	if slot == 0 {
		return dst, Verdict{Reason: NoOwner, Host: true}
	}
	if slot&notByDst != 0 {
		return dst, Verdict{Reason: SourceMode, Host: true}
	}
	return append(dst, Copy{Vmac: vmacOf(slot), Path: Direct, Type: TypeHost}), Verdict{Reason: Unicast}
}

func isVLAN(from uint64) bool { return from>>48 == type8021Q || from>>48 == type8021AD }

// isPause looks at skb->protocol, which on the receive path is the ethertype
// behind the tag that has been moved out. The frame is not truncated.
func isPause(frame []byte, from uint64) bool {
	if isVLAN(from) {
		return binary.LittleEndian.Uint16(frame[vlanEnd-2:vlanEnd]) == typePause
	}
	return from>>48 == typePause
}

// receivePassthru gives any unicast to the port's only vmac.
func (t *Table) receivePassthru(dst []Copy) ([]Copy, Verdict) {
	if !t.up[t.passthru] {
		return dst, Verdict{Reason: VmacDown}
	}
	return append(dst, Copy{Vmac: t.passthru, Path: Direct, Type: TypeHost}), Verdict{Reason: Unicast}
}

// receiveGroup is the first half of macvlan_handle_frame. Defragmentation comes
// before it and is not part of the decision.
func (t *Table) receiveGroup(frame []byte, to MAC, from uint64, typ PacketType, dst []Copy) ([]Copy, Verdict) {
	src := MAC(from & macMask)
	if i := t.sources.find(src); i >= 0 {
		var nodst bool
		if dst, nodst = t.forwardSource(i, to, typ, dst); nodst {
			return dst, Verdict{Reason: SourceOnly}
		}
	}
	sender, mask := int32(-1), fromOutside
	if v := t.owner(src); v >= 0 {
		mode := t.modes[v]
		if echoes(mode) {
			return append(dst, t.echo(v, to)), Verdict{Reason: Echoed}
		}
		sender, mask = v, fromSibling(mode)
	}
	bit := to.groupHash(0)
	if !t.mc.has(bit) { // then bc_filter doesn't have it either
		return dst, Verdict{Reason: NoGroup, Host: true}
	}
	dst, reason := t.broadcast(to, sender, mask, isPause(frame, from), 0, dst)
	return dst, Verdict{Reason: reason, Host: true, Queued: t.bc.has(bit)}
}

// owner is macvlan_hash_lookup for any address, a group included; -1 if no up
// vmac owns it.
func (t *Table) owner(m MAC) int32 {
	if m.IsGroup() {
		return -1
	}
	slot := t.hash.lookup(m)
	if slot == 0 {
		return -1
	}
	return vmacOf(slot)
}

// forwardSource is macvlan_forward_source for an address that is listed: a copy
// for every up vmac that lists it, of the parent's packet type unless the vmac
// owns the destination. It reports whether a list with nodst took the frame.
func (t *Table) forwardSource(i int, to MAC, typ PacketType, dst []Copy) ([]Copy, bool) {
	l := &t.sources.lists[i]
	for _, r := range t.sources.refs[l.start:l.end] {
		c := Copy{Vmac: r.vmac, Path: SourceCopy, Type: typ}
		if r.mac == to {
			c.Type = TypeHost
		}
		dst = append(dst, c)
	}
	return dst, l.nodst
}
