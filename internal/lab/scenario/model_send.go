package scenario

import (
	"encoding/binary"
	"slices"
	"syscall"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane/defrag"
)

// minTagged is the shortest frame whose outer tag the kernel moves out; a
// shorter one is lost.
const minTagged = headerLen + tagLen + 2

// send gives one frame to whoever sends it.
func (m *machine) send(s *Send, frame []byte, out *Outcome) {
	switch s.From {
	case Wire:
		m.fromWire(frame, out)
	case Host:
		m.fromHost(frame, out)
	default:
		m.fromVmac(s.From, frame, out)
	}
}

// refuses is packet_snd: what a raw socket may not send on a device.
func refuses(up bool, mtu int, frame []byte) Answer {
	most := mtu + headerLen
	if len(frame) >= headerLen && frameType(frame) == 0x8100 {
		most += tagLen
	}
	switch {
	case !up:
		return errno(syscall.ENETDOWN)
	case len(frame) < headerLen:
		return errno(syscall.EINVAL)
	case len(frame) > most:
		return errno(syscall.EMSGSIZE)
	}
	return Answer{}
}

func frameType(frame []byte) uint16 { return binary.BigEndian.Uint16(frame[12:]) }

func tagged(frame []byte) bool { return isTag(frameType(frame)) }

// typeOn is eth_type_trans: how a device with this address sees a frame.
func typeOn(mac classify.MAC, frame []byte) classify.PacketType {
	switch dst := classify.MACFrom(frame); {
	case dst == mac:
		return classify.TypeHost
	case dst == classify.Broadcast:
		return classify.TypeBroadcast
	case dst.IsGroup():
		return classify.TypeMulticast
	}
	return classify.TypeOther
}

// stackType is what protocol handlers see: frames of a VLAN that the device
// isn't in belong to somebody else. A tag of VLAN 0 is only a priority, and the
// next one is looked at.
func stackType(typ classify.PacketType, frame []byte) classify.PacketType {
	for ; tagged(frame) && len(frame) >= minTagged; frame = untagged(frame) {
		if binary.BigEndian.Uint16(frame[headerLen:])&0xfff != 0 {
			return classify.TypeOther
		}
	}
	return typ
}

// handled says that handlers see the frame at all: one is lost if the tag behind a
// priority tag is cut (skb_vlan_untag).
func handled(frame []byte) bool {
	for ; tagged(frame); frame = untagged(frame) {
		if len(frame) < minTagged {
			return false
		}
		if binary.BigEndian.Uint16(frame[headerLen:])&0xfff != 0 {
			break
		}
	}
	return true
}

func (m *machine) refuse(out *Outcome, a Answer) bool {
	out.Answer = a
	if !a.OK() {
		m.everybody(out, "the frame was not sent: "+a.Errno)
	}
	return !a.OK()
}

// everybody says the same reason of every vmac.
func (m *machine) everybody(out *Outcome, why string) {
	if p := m.port(); p != nil {
		for _, v := range p.Vmacs {
			out.Why = append(out.Why, Why{Who: v.Name, Text: why})
		}
	}
}

// gets notes a delivery.
func (o *Outcome) gets(who string, typ classify.PacketType, frame []byte) {
	o.Gets = append(o.Gets, Delivery{Who: who, Type: typ, Frame: frame})
}

// fromWire is what the other end of the cable sends.
func (m *machine) fromWire(frame []byte, out *Outcome) {
	if m.gone {
		m.refuse(out, errno(syscall.ENXIO))
		return
	}
	if m.refuse(out, refuses(m.parent.Carrier, m.cable, frame)) {
		return
	}
	if !m.parent.Up {
		m.everybody(out, classify.ParentDown.Sentence())
		return
	}
	c := m.count(Port)
	if len(frame) > m.parent.MTU+headerLen+tagLen {
		c.RxDropped++
		out.Answer = errno(syscall.ENOBUFS)
		m.everybody(out, "the parent's mtu is too small for the frame")
		return
	}
	c.RxPackets++
	c.RxBytes += uint64(len(frame))
	if m.ingressDrops(frame, out) {
		return
	}
	m.receive(classify.FromWire, frame, out)
}

// ingressDrops shows a frame to the parent's tap, and reports whether a rule
// takes it away then.
func (m *machine) ingressDrops(frame []byte, out *Outcome) bool {
	if tagged(frame) && len(frame) < minTagged {
		return false // lost before the tap; the decision says so
	}
	out.gets(Tap, typeOn(m.parent.MAC, frame), frame)
	drop := m.ingress == "drop"
	if mac, err := m.s.MAC(Addr(m.ingress)); m.ingress != "pass" && !drop && err == nil {
		drop = mac == classify.MACFrom(frame)
	}
	if drop {
		m.everybody(out, "a rule of the parent dropped the frame when it was received")
	}
	return drop
}

// collect is ip_check_defrag: it returns the frame that there is now to decide,
// if there is one.
func (m *machine) collect(frame []byte, out *Outcome) ([]byte, bool) {
	if _, is := classify.Fragment(frame); !is || m.port() == nil {
		return frame, true
	}
	held := m.fragments[m.netns]
	if held == nil {
		held = defrag.New(defrag.DefaultLimits())
		m.fragments[m.netns] = held
	}
	datagram, _, whole, reason := held.Add(nil, frame, 0, defrag.Beside{}, 0)
	if !whole {
		for _, v := range m.port().Vmacs {
			out.Why = append(out.Why, Why{v.Name, reason, reason.Sentence()})
		}
	}
	return datagram, whole
}

// receive lets the port decide a frame that has come in on the parent.
func (m *machine) receive(from int, frame []byte, out *Outcome) {
	frame, whole := m.collect(frame, out)
	if !whole {
		return
	}
	d := m.decide(from, frame, typeOn(m.parent.MAC, frame))
	c := m.count(Port)
	full := d.verdict.Queued && d.table.BCQueueLen() == 0 && m.port() != nil
	if full {
		c.RxDropped++
	}
	for _, copy := range d.copies {
		if full && copy.Path == classify.Flood {
			continue
		}
		m.deliver(copy, frame, false, out)
	}
	if d.verdict.Host && handled(frame) {
		out.gets(Stack, stackType(typeOn(m.parent.MAC, frame), frame), untagged(frame))
	}
	m.explain(d, full, out)
}

// fromHost is what the parent's own socket sends: macvlan never sees it.
func (m *machine) fromHost(frame []byte, out *Outcome) {
	if m.gone {
		m.refuse(out, errno(syscall.ENXIO))
		return
	}
	if m.refuse(out, refuses(m.parent.Up, m.parent.MTU, frame)) {
		return
	}
	m.everybody(out, classify.OwnFrame.Sentence())
	// A rule comes before the queue that a device without carrier doesn't have.
	if !m.parent.Carrier && m.egress != "drop" {
		m.count(Port).TxDropped++
	} else if m.transmit(frame, out) {
		out.Answer = errno(syscall.ENOBUFS)
	}
}

// transmit is dev_queue_xmit on the parent. It reports whether that failed.
func (m *machine) transmit(frame []byte, out *Outcome) (failed bool) {
	if m.egress == "drop" {
		return true
	}
	c := m.count(Port)
	out.gets(Tap, classify.TypeOutgoing, frame)
	if len(frame) > m.cable+headerLen+tagLen {
		c.TxDropped++
		return true
	}
	c.TxPackets++
	c.TxBytes += uint64(len(frame))
	if !tagged(frame) || len(frame) >= minTagged {
		out.gets(Wire, typeOn(WireMAC, frame), frame)
	}
	return false
}

// fromVmac is what a socket on a vmac sends.
func (m *machine) fromVmac(name string, frame []byte, out *Outcome) {
	v, p := m.state.Vmac(m.vmacs[name])
	if v == nil {
		m.refuse(out, errno(syscall.ENXIO))
		return
	}
	if m.refuse(out, refuses(v.Up, v.MTU, frame)) {
		return
	}
	d := m.decide(slices.Index(p.Vmacs, v), frame, 0)
	c := m.count(name)
	sent := func() {
		c.TxPackets++
		c.TxBytes += uint64(len(frame))
	}
	switch {
	case d.verdict.Reason == classify.ParentDown:
		c.TxDropped++
	case d.verdict.Wire:
		// A flood comes before the frame is handed to the parent, and stays
		// when that fails.
		for _, copy := range d.copies {
			m.deliver(copy, frame, true, out)
		}
		if m.transmit(frame, out) {
			c.TxDropped++
			out.Answer = errno(syscall.ENOBUFS)
		} else {
			sent()
		}
	default:
		sent()
		if m.ingressDrops(frame, out) {
			return
		}
		for _, copy := range d.copies {
			m.deliver(copy, frame, false, out)
		}
	}
	m.explain(d, false, out)
}

// deliver carries out one line of a decision and counts as macvlan_count_rx
// does. A copy of a sibling's group carries its tag still, and the header is
// counted twice.
func (m *machine) deliver(c classify.Copy, frame []byte, local bool, out *Outcome) {
	v := m.port().Vmacs[c.Vmac]
	n := m.count(v.Name)
	if c.Path == classify.Skipped {
		if c.Reason == classify.OverMTU {
			n.RxErrors++
			n.RxDropped += 2
		}
		return
	}
	size := uint64(len(untagged(frame)))
	lost := false
	switch {
	case c.Path == classify.Echo:
		size = 0
	case local:
		size = uint64(len(frame)) + headerLen
		lost = tagged(frame) && len(frame) < minTagged
	}
	n.RxPackets++
	n.RxBytes += size
	if c.Path == classify.Flood {
		n.Multicast++
	}
	if lost {
		return
	}
	d := Delivery{Who: v.Name, Type: c.Type, Frame: frame}
	if typ := stackType(c.Type, frame); typ != c.Type {
		d.StackType = &typ
	}
	out.Gets = append(out.Gets, d)
}

// decision is what the port says to a frame.
type decision struct {
	table       *classify.Table
	copies      []classify.Copy
	verdict     classify.Verdict
	explanation classify.Explanation
}

// decide asks the table. A group that a filter admits only because two hashes
// collide is asked about again with another key.
func (m *machine) decide(from int, frame []byte, typ classify.PacketType) *decision {
	for try := 0; ; try++ {
		spec := m.spec(from)
		table, err := classify.NewTable(&spec)
		if err != nil {
			panic(err) // the rules don't let such a port come about
		}
		d := &decision{table: table}
		if from == classify.FromWire {
			d.copies, d.verdict = table.Ingress(frame, classify.Meta{Type: typ}, nil)
		} else {
			d.copies, d.verdict = table.Egress(from, frame, classify.Meta{}, nil)
		}
		d.explanation = table.Explain(frame, from, classify.Meta{Type: typ})
		collides := false
		for _, c := range d.copies {
			if c.Path == classify.Flood && !admits(&spec.Vmacs[c.Vmac], classify.MACFrom(frame)) {
				m.keys[m.port().Vmacs[c.Vmac].ID] += 0x632be5ab
				collides = true
			}
		}
		if !collides || try > 1000 {
			m.unheard(&spec, d.copies, classify.MACFrom(frame))
			m.profile.copies(&spec, d.copies)
			return d
		}
	}
}

// admits reports whether a vmac has subscribed to a group, or to one with the
// same last four octets, which no filter can tell apart.
func admits(v *classify.Vmac, group classify.MAC) bool {
	same := func(g classify.MAC) bool { return alike(g, group) }
	return v.Promisc || v.Allmulti || same(orBroadcast(v.Broadcast)) || slices.ContainsFunc(v.Groups, same)
}

// alike says that two groups share their last four octets.
func alike(a, b classify.MAC) bool { return a>>16 == b>>16 }

// unheard takes copies back for which a vmac's filter would have had to be made
// again: its broadcast address has changed since.
func (m *machine) unheard(s *classify.Spec, list []classify.Copy, group classify.MAC) {
	for i := range list {
		c := &list[i]
		v := m.port().Vmacs[c.Vmac]
		if c.Path == classify.Flood && m.extra[v.ID].heard != 0 && alike(group, v.Broadcast) && !v.Promisc && !v.Allmulti &&
			!slices.ContainsFunc(s.Vmacs[c.Vmac].Groups, func(g classify.MAC) bool { return alike(g, group) }) {
			*c = classify.Copy{Vmac: c.Vmac, Reason: classify.NotSubscribed}
		}
	}
}

// explain says of every vmac that got nothing why.
func (m *machine) explain(d *decision, full bool, out *Outcome) {
	x := d.explanation
	out.Explained = &x
	for i, o := range x.Vmacs {
		if repeats(out.Gets, o.Name) {
			continue
		}
		reason := o.Reason
		if reason == classify.Delivered {
			// What stopped it came after the decision.
			reason = classify.VLANTruncated
			if full {
				reason = classify.BCQueueFull
			}
			for _, c := range d.copies {
				if int(c.Vmac) == i && c.Path == classify.Skipped {
					reason = c.Reason
				}
			}
		}
		out.Why = append(out.Why, Why{o.Name, reason, reason.Sentence()})
	}
}
