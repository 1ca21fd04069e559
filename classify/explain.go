package classify

import "encoding/binary"

// FromWire is where a frame comes from that was received on the parent; a
// vmac's number is the other answer.
const FromWire = -1

// Explanation is a decision with its grounds: the kernel's steps in order, and
// one reason for every vmac.
type Explanation struct {
	From      string     `json:"from"` // "wire", or the vmac's name
	To        MAC        `json:"dst"`
	Src       MAC        `json:"src"`
	EtherType uint16     `json:"ethertype"` // as it stands in the frame: 0x8100 if tagged
	Len       int        `json:"len"`
	Type      PacketType `json:"type"` // on the parent; of a vmac's frame, once it gets there
	Steps     []Step     `json:"steps"`
	Verdict   Verdict    `json:"verdict"`
	Vmacs     []Outcome  `json:"vmacs"` // all of them, by number
	Copies    []Copy     `json:"copies"`
}

// Step is one thing that the kernel did with the frame.
type Step struct {
	Depth int    `json:"depth"` // 0, or one more than that of the step it belongs to
	Where string `json:"where"` // the kernel's function
	What  string `json:"what"`
}

// Outcome is what the decision means for one vmac.
type Outcome struct {
	Name   string    `json:"name"`
	Mode   Mode      `json:"mode"`
	MAC    MAC       `json:"mac"`
	Up     bool      `json:"up"`
	Reason Reason    `json:"reason"` // Delivered, or why it got nothing
	Why    string    `json:"why"`    // the reason's sentence
	Copies []Arrival `json:"copies,omitempty"`
}

// Arrival is one copy that a vmac gets.
type Arrival struct {
	Path Path       `json:"path"`
	Type PacketType `json:"type"`
}

// Explain decides as Ingress does, with from FromWire, or as Egress does, with
// from a vmac's number, and says why. It is not for the data path.
func (t *Table) Explain(frame []byte, from int, m Meta) Explanation {
	x := explainer{t: t, frame: frame, meta: m, rest: NotDestination, special: map[int32]Reason{}}
	x.Len = len(frame)
	if len(frame) >= headerLen {
		x.To, x.Src = MACFrom(frame), MACFrom(frame[6:])
		x.EtherType = binary.BigEndian.Uint16(frame[headerLen-2:])
	}
	switch {
	case from == FromWire:
		x.From, x.Type = "wire", m.Type
		x.receive()
	case from < 0 || from >= t.Len():
		x.Verdict.Reason = VmacGone
		x.everyone(VmacGone)
		x.step(0, "macvlan_queue_xmit", "there is no vmac %d among %d", from, t.Len())
	default:
		x.From = t.vmacs[from].name
		x.special[int32(from)] = Sender
		x.queueXmit(int32(from))
	}
	x.outcomes()
	return x.Explanation
}

// explainer walks the decision once more with the predicates that Ingress and
// Egress use, keeping notes.
type explainer struct {
	Explanation
	t     *Table
	frame []byte
	meta  Meta

	// rest is the reason of the up vmacs that got no Copy at all, special that
	// of those with a reason of their own, all (if not Delivered) that of
	// everybody.
	rest    Reason
	special map[int32]Reason
	all     Reason
}

func (x *explainer) everyone(r Reason) { x.all = r }

// word is what the data path reads from the source address on.
func (x *explainer) word() uint64 { return binary.LittleEndian.Uint64(x.frame[6:headerLen]) }

// receive is __netif_receive_skb_core up to the rx handler.
func (x *explainer) receive() {
	const core = "__netif_receive_skb_core"
	switch {
	case x.meta.Type == TypeOutgoing || x.meta.Type == TypeLoopback:
		x.Verdict = Verdict{Reason: OwnFrame, Host: true}
		x.everyone(OwnFrame)
		x.step(0, core, "packet type %v: %s", x.meta.Type, OwnFrame.Sentence())
		return
	case x.Len < headerLen:
		x.Verdict.Reason = Runt
		x.everyone(Runt)
		x.step(0, "eth_type_trans", "%d octets: %s", x.Len, Runt.Sentence())
		return
	}
	if isVLAN(x.word()) {
		if x.Len < minTagged {
			x.Verdict.Reason = VLANTruncated
			x.everyone(VLANTruncated)
			x.step(0, "skb_vlan_untag", "%d octets: %s", x.Len, VLANTruncated.Sentence())
			return
		}
		x.step(0, "skb_vlan_untag", "the outer tag, %#04x vlan %d, goes beside the frame", x.EtherType, binary.BigEndian.Uint16(x.frame[headerLen:])&0xfff)
	}
	if x.To.IsGroup() {
		x.step(0, "macvlan_handle_frame", "%v is a group", x.To)
		if _, ok := Fragment(x.frame); ok && x.t.Len() > 0 {
			x.step(1, "ip_check_defrag", "a fragment: held until the datagram is whole; this is then decided of it, by the addresses of its first fragment")
		}
		x.Verdict = x.handleGroup()
	} else {
		x.step(0, "macvlan_handle_frame", "%v is a unicast address", x.To)
		x.Verdict = x.handleUnicast()
	}
}

// handleUnicast is the second half of macvlan_handle_frame.
func (x *explainer) handleUnicast() Verdict {
	t := x.t
	if x.forwardSource() {
		return Verdict{Reason: SourceOnly}
	}
	if v := t.passthru; v >= 0 {
		if !t.up[v] {
			x.special[v] = VmacDown
			x.step(1, "macvlan_handle_frame", "passthru: everything is for %s, which is down", t.vmacs[v].name)
			return Verdict{Reason: VmacDown}
		}
		x.Copies = append(x.Copies, Copy{Vmac: v, Path: Direct, Type: TypeHost})
		x.step(1, "macvlan_handle_frame", "passthru: everything is for %s, as type host", t.vmacs[v].name)
		return Verdict{Reason: Unicast}
	}
	v := t.owner(x.To)
	if v < 0 {
		x.step(1, "macvlan_hash_lookup", "no up vmac owns %v: RX_HANDLER_PASS", x.To)
		return Verdict{Reason: NoOwner, Host: true}
	}
	if t.modes[v] == Source {
		x.special[v] = SourceMode
		x.step(1, "macvlan_hash_lookup", "%s owns %v but is in source mode: RX_HANDLER_PASS", t.vmacs[v].name, x.To)
		return Verdict{Reason: SourceMode, Host: true}
	}
	x.Copies = append(x.Copies, Copy{Vmac: v, Path: Direct, Type: TypeHost})
	x.step(1, "macvlan_hash_lookup", "%s owns %v: RX_HANDLER_ANOTHER, as type host", t.vmacs[v].name, x.To)
	return Verdict{Reason: Unicast}
}

// handleGroup is the first half of macvlan_handle_frame.
func (x *explainer) handleGroup() Verdict {
	t := x.t
	if x.forwardSource() {
		return Verdict{Reason: SourceOnly}
	}
	sender, mask := int32(-1), fromOutside
	if v := t.owner(x.Src); v < 0 {
		x.step(1, "macvlan_hash_lookup", "no up vmac owns the sender %v: heard by %s", x.Src, modeList(mask))
	} else if mode := t.modes[v]; echoes(mode) {
		x.rest = EchoOnly
		x.Copies = append(x.Copies, t.echo(v, x.To))
		x.step(1, "macvlan_hash_lookup", "the sender %v is %s, mode %v: to that vmac alone, whatever its filter", x.Src, t.vmacs[v].name, mode)
		return Verdict{Reason: Echoed}
	} else {
		sender, mask = v, fromSibling(mode)
		x.step(1, "macvlan_hash_lookup", "the sender %v is %s, mode %v: heard by %s", x.Src, t.vmacs[v].name, mode, modeList(mask))
	}
	bit := x.To.groupHash(0)
	queued := t.bc.has(bit)
	switch {
	case queued:
		x.step(1, "macvlan_broadcast_enqueue", "bit %d is in the port's bc_filter: through the broadcast queue", bit)
	case t.mc.has(bit):
		x.step(1, "macvlan_multicast_rx", "bit %d is in the port's mc_filter: at once", bit)
	default:
		x.rest = PortFilter
		x.step(1, "macvlan_handle_frame", "bit %d is in neither filter of the port: RX_HANDLER_PASS", bit)
		return Verdict{Reason: NoGroup, Host: true}
	}
	reason := x.broadcast(2, sender, mask, isPause(x.frame, x.word()), 0)
	x.step(1, "macvlan_handle_frame", "RX_HANDLER_PASS: the parent's stack gets the frame too")
	return Verdict{Reason: reason, Host: true, Queued: queued}
}

// forwardSource reports whether a nodst list took the frame.
func (x *explainer) forwardSource() bool {
	i := x.t.sources.find(x.Src)
	if i < 0 {
		x.step(1, "macvlan_forward_source", "no source list names %v", x.Src)
		return false
	}
	copies, nodst := x.t.forwardSource(i, x.To, x.Type, nil)
	for _, c := range copies {
		x.step(1, "macvlan_forward_source", "%s lists %v: a copy, as type %v", x.t.vmacs[c.Vmac].name, x.Src, c.Type)
	}
	x.Copies = append(x.Copies, copies...)
	if nodst {
		x.rest = Withheld
		x.step(1, "macvlan_forward_source", "a list that names %v has nodst: nobody else gets the frame, the parent's stack neither", x.Src)
	} else if len(copies) == 0 {
		x.step(1, "macvlan_forward_source", "only down vmacs list %v: no copy", x.Src)
	}
	return nodst
}

func (x *explainer) broadcast(depth int, sender int32, mask Mode, pause bool, frameLen uint32) Reason {
	n := len(x.Copies)
	var reason Reason
	x.Copies, reason = x.t.broadcast(x.To, sender, mask, pause, frameLen, x.Copies)
	if pause {
		x.step(depth, "macvlan_broadcast", "ethertype 0x8808 is never flooded")
		return reason
	}
	for _, c := range x.Copies[n:] {
		name := x.t.vmacs[c.Vmac].name
		if c.Path == Flood {
			x.step(depth, "macvlan_broadcast", "%s: a copy, as type %v", name, c.Type)
		} else {
			x.step(depth, "macvlan_broadcast", "%s: %s", name, c.Reason.Sentence())
		}
	}
	return reason
}

// queueXmit is macvlan_queue_xmit.
func (x *explainer) queueXmit(from int32) {
	const xmit = "macvlan_queue_xmit"
	t := x.t
	x.rest = WireOnly
	if drop := t.refuses(x.Len); drop != Delivered {
		x.Verdict.Reason = drop
		x.everyone(drop)
		x.step(0, "dev_queue_xmit", "%s", drop.Sentence())
		return
	}
	x.Type = t.parentType(x.To)
	if t.modes[from] != Bridge {
		x.toWire("%s is in mode %v: everything goes to the parent", x.From, t.modes[from])
		return
	}
	if x.To.IsGroup() {
		x.step(0, xmit, "%s is in mode bridge and %v is a group: to the other bridge vmacs, then to the parent", x.From, x.To)
		reason := x.broadcast(1, from, fromBridgeLocal, x.EtherType == 0x8808, frameLimit(x.Len, x.meta))
		x.Verdict = toWireToo(reason)
		x.step(0, xmit, "dev_queue_xmit on the parent")
		return
	}
	v := t.owner(x.To)
	switch {
	case v < 0:
		x.toWire("no up vmac owns %v", x.To)
		return
	case t.modes[v] != Bridge:
		x.toWire("%s owns %v but is in mode %v, not bridge", t.vmacs[v].name, x.To, t.modes[v])
		return
	}
	x.rest = NotDestination
	x.step(0, xmit, "%s owns %v and is in mode bridge: dev_forward_skb to the parent", t.vmacs[v].name, x.To)
	if isVLAN(x.word()) && x.Len < minTagged {
		x.Verdict.Reason = VLANTruncated
		x.everyone(VLANTruncated)
		x.step(1, "skb_vlan_untag", "%d octets: %s", x.Len, VLANTruncated.Sentence())
		return
	}
	x.handleUnicast()
	x.Verdict.Reason = ToLocal
}

func (x *explainer) toWire(format string, args ...any) {
	x.Verdict = Verdict{Reason: ToWire, Wire: true}
	x.step(0, "macvlan_queue_xmit", format, args...)
	x.step(0, "macvlan_queue_xmit", "dev_queue_xmit on the parent")
}

// outcomes fills in what the decision means for every vmac.
func (x *explainer) outcomes() {
	t := x.t
	x.Vmacs = make([]Outcome, t.Len())
	for i := range x.Vmacs {
		info := &t.vmacs[i]
		o := &x.Vmacs[i]
		*o = Outcome{Name: info.name, Mode: t.modes[i], MAC: info.mac, Up: t.up[i], Reason: x.rest}
		if !o.Up {
			o.Reason = NotUp
		}
		if r, ok := x.special[int32(i)]; ok {
			o.Reason = r
		}
		if x.all != Delivered {
			o.Reason = x.all
		}
	}
	for _, c := range x.Copies {
		o := &x.Vmacs[c.Vmac]
		switch {
		case c.Path != Skipped:
			o.Reason = Delivered
			o.Copies = append(o.Copies, Arrival{c.Path, c.Type})
		case o.Reason != Delivered:
			o.Reason = c.Reason
		}
	}
	for i := range x.Vmacs {
		x.Vmacs[i].Why = x.Vmacs[i].Reason.Sentence()
	}
}
