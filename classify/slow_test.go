package classify

// A reference to read beside drivers/net/macvlan.c: linear scans over the Spec,
// the kernel's names, the kernel's order, no table. It shares nothing with the
// package but the types.

type slowPort struct{ *Spec }

// slowSkb is a frame on its way: what sk_buff says of it.
type slowSkb struct {
	data     []byte // with its tag
	dest     MAC
	source   MAC
	protocol uint16
	pktType  PacketType
	gso      bool
}

func slowMAC(b []byte) (m MAC) {
	for i := 5; i >= 0; i-- {
		m = m<<8 | MAC(b[i])
	}
	return m
}

func slowBroadcastAddr(m MAC) MAC {
	if m == 0 {
		return Broadcast
	}
	return m
}

func slowMulticast(m MAC) bool { return byte(m)&1 == 1 }

func slowEthHash(m MAC) int {
	value := uint64(m) << 16
	return int(value * 0x61C8864680B583EB >> (64 - 8))
}

func slowMCHash(key uint32, m MAC) int {
	val := uint32(uint64(m) >> 16)
	val ^= key
	return int(val * 0x61C88647 >> (32 - 8))
}

// slowHash rebuilds port->vlan_hash: every up vmac put at the head of its
// bucket, in the order in which they came up.
func (p slowPort) vlanHash() (hash [256][]int) {
	var added []int
	for len(added) < len(p.Vmacs) {
		next := -1
		for i, v := range p.Vmacs {
			taken := false
			for _, a := range added {
				taken = taken || a == i
			}
			if !taken && (next < 0 || v.UpSeq < p.Vmacs[next].UpSeq) {
				next = i
			}
		}
		added = append(added, next)
		if v := p.Vmacs[next]; v.Up {
			b := slowEthHash(v.MAC)
			hash[b] = append([]int{next}, hash[b]...)
		}
	}
	return hash
}

func (p slowPort) macvlanHashLookup(addr MAC) int {
	for i, v := range p.Vmacs {
		if v.Up && v.MAC == addr {
			return i
		}
	}
	return -1
}

// testBit asks for a bit of vlan->mc_filter (macvlan_compute_filter).
func (v Vmac) testBit(dest MAC) bool {
	if v.Promisc || v.Allmulti {
		return true
	}
	bit := slowMCHash(v.FilterKey, dest)
	for _, ha := range v.Groups {
		if slowMCHash(v.FilterKey, ha) == bit {
			return true
		}
	}
	return slowMCHash(v.FilterKey, slowBroadcastAddr(v.Broadcast)) == bit
}

// testPortBit asks for a bit of port->mc_filter or bc_filter.
func (p slowPort) testPortBit(dest MAC, cutoff int64, queue bool) bool {
	if p.FilterAll && !(queue && p.QueueCounts) {
		return true
	}
	bit := slowMCHash(0, dest)
	for _, v := range p.Vmacs {
		for _, ha := range v.Groups {
			if !v.Up || slowMCHash(0, ha) != bit {
				continue
			}
			synced := int64(0)
			for _, w := range p.Vmacs {
				for _, g := range w.Groups {
					if w.Up && g == ha {
						synced++
						break
					}
				}
			}
			if synced > cutoff {
				return true
			}
		}
	}
	return slowMCHash(0, slowBroadcastAddr(p.Broadcast)) == bit
}

func (p slowPort) testBCFilter(dest MAC) bool {
	if p.BCLim < 0 {
		return false
	}
	return p.testPortBit(dest, int64(p.BCLim), true)
}

func slowEthTypeTrans(dest, addr, broadcast MAC) PacketType {
	if dest == addr {
		return TypeHost
	}
	if slowMulticast(dest) {
		if dest == slowBroadcastAddr(broadcast) {
			return TypeBroadcast
		}
		return TypeMulticast
	}
	return TypeOther
}

func (p slowPort) macvlanBroadcastOne(dest MAC, v int) PacketType {
	if dest == slowBroadcastAddr(p.Vmacs[v].Broadcast) {
		return TypeBroadcast
	}
	return TypeMulticast
}

func (p slowPort) macvlanBroadcast(skb *slowSkb, src int, mode Mode, local bool, out []Copy) ([]Copy, Reason) {
	heard, admitted, eligible := false, true, false
	for _, chain := range p.vlanHash() {
		for _, vlan := range chain {
			v := p.Vmacs[vlan]
			c := Copy{Vmac: int32(vlan)}
			if skb.protocol == 0x8808 {
				c.Reason = PauseFrame
			} else if vlan == src {
				c.Reason = Sender
			} else if v.Mode&mode == 0 {
				c.Reason = ModeMask
			} else if eligible = true; !v.testBit(skb.dest) {
				c.Reason = NotSubscribed
				admitted = false
			} else if local && v.MTU != 0 && int64(len(skb.data)) > int64(v.MTU)+14+4 && !skb.gso {
				c.Reason = OverMTU
			} else if heard = true; local {
				c.Path, c.Type = Flood, slowEthTypeTrans(skb.dest, v.MAC, v.Broadcast)
			} else {
				c.Path, c.Type = Flood, p.macvlanBroadcastOne(skb.dest, vlan)
			}
			out = append(out, c)
		}
	}
	switch {
	case skb.protocol == 0x8808:
		return out, PauseToHost
	case heard:
		return out, Flooded
	case eligible && !admitted:
		return out, NoGroup
	}
	return out, NoReceiver
}

func (p slowPort) macvlanMulticastRx(skb *slowSkb, src int, out []Copy) ([]Copy, Reason) {
	if src < 0 {
		return p.macvlanBroadcast(skb, -1, Private|Vepa|Passthru|Bridge, false, out)
	} else if p.Vmacs[src].Mode == Vepa {
		return p.macvlanBroadcast(skb, src, Vepa|Bridge, false, out)
	}
	return p.macvlanBroadcast(skb, src, Vepa, false, out)
}

func (p slowPort) macvlanForwardSource(skb *slowSkb, out []Copy) ([]Copy, bool) {
	consume := false
	for i := len(p.Sources) - 1; i >= 0; i-- {
		e := p.Sources[i]
		if e.MAC != skb.source {
			continue
		}
		v := p.Vmacs[e.Vmac]
		if v.Flags&NoDst != 0 {
			consume = true
		}
		if !v.Up {
			continue
		}
		pktType := skb.pktType
		if skb.dest == v.MAC {
			pktType = TypeHost
		}
		out = append(out, Copy{Vmac: int32(e.Vmac), Path: SourceCopy, Type: pktType})
	}
	return out, consume
}

func (p slowPort) macvlanHandleFrame(skb *slowSkb, out []Copy) ([]Copy, Verdict) {
	pass := func(r Reason) Verdict { return Verdict{Reason: r, Host: true} }
	consumed := func(r Reason) Verdict { return Verdict{Reason: r} }
	if slowMulticast(skb.dest) {
		var consume bool
		if out, consume = p.macvlanForwardSource(skb, out); consume {
			return out, consumed(SourceOnly)
		}
		src := p.macvlanHashLookup(skb.source)
		if src >= 0 && p.Vmacs[src].Mode != Vepa && p.Vmacs[src].Mode != Bridge {
			c := Copy{Vmac: int32(src), Path: Echo, Type: p.macvlanBroadcastOne(skb.dest, src)}
			return append(out, c), consumed(Echoed)
		}
		var why Reason
		if p.testBCFilter(skb.dest) {
			out, why = p.macvlanMulticastRx(skb, src, out)
			v := pass(why)
			v.Queued = true
			return out, v
		} else if p.testPortBit(skb.dest, 0, false) {
			out, why = p.macvlanMulticastRx(skb, src, out)
			return out, pass(why)
		}
		return out, pass(NoGroup)
	}

	out, consume := p.macvlanForwardSource(skb, out)
	if consume {
		return out, consumed(SourceOnly)
	}
	vlan := -1
	passthru := len(p.Vmacs) > 0 && p.Vmacs[0].Mode == Passthru
	if passthru {
		vlan = 0
	} else {
		vlan = p.macvlanHashLookup(skb.dest)
	}
	if vlan < 0 {
		return out, pass(NoOwner)
	}
	if p.Vmacs[vlan].Mode == Source {
		return out, pass(SourceMode)
	}
	if !p.Vmacs[vlan].Up {
		return out, consumed(VmacDown)
	}
	return append(out, Copy{Vmac: int32(vlan), Path: Direct, Type: TypeHost}), consumed(Unicast)
}

// netifReceiveSkbCore is what happens before the rx handler.
func (p slowPort) netifReceiveSkbCore(frame []byte, m Meta, out []Copy) ([]Copy, Verdict) {
	if m.Type == TypeOutgoing || m.Type == TypeLoopback {
		return out, Verdict{Reason: OwnFrame, Host: true}
	}
	if len(frame) < 14 {
		return out, Verdict{Reason: Runt}
	}
	skb := &slowSkb{data: frame, dest: slowMAC(frame), source: slowMAC(frame[6:]), pktType: m.Type}
	skb.protocol = uint16(frame[12])<<8 | uint16(frame[13])
	if skb.protocol == 0x8100 || skb.protocol == 0x88a8 {
		if len(frame) < 14+4+2 {
			return out, Verdict{Reason: VLANTruncated}
		}
		skb.protocol = uint16(frame[16])<<8 | uint16(frame[17])
	}
	return p.macvlanHandleFrame(skb, out)
}

func (p slowPort) macvlanQueueXmit(from int, frame []byte, m Meta, out []Copy) ([]Copy, Verdict) {
	if len(frame) < 14 {
		return out, Verdict{Reason: Runt}
	}
	if p.ParentDown {
		return out, Verdict{Reason: ParentDown}
	}
	xmitWorld := Verdict{Reason: ToWire, Wire: true}
	if p.Vmacs[from].Mode == Bridge {
		skb := &slowSkb{data: frame, dest: slowMAC(frame), source: slowMAC(frame[6:]), gso: m.GSO}
		skb.protocol = uint16(frame[12])<<8 | uint16(frame[13])
		if slowMulticast(skb.dest) {
			out, why := p.macvlanBroadcast(skb, from, Bridge, true, out)
			if why == Flooded {
				xmitWorld.Reason = ToBoth
			}
			return out, xmitWorld
		}
		dest := p.macvlanHashLookup(skb.dest)
		if dest >= 0 && p.Vmacs[dest].Mode == Bridge {
			pktType := slowEthTypeTrans(skb.dest, p.Parent, p.Spec.Broadcast)
			out, v := p.netifReceiveSkbCore(frame, Meta{Type: pktType}, out)
			if v.Reason == VLANTruncated {
				return out, v
			}
			return out, Verdict{Reason: ToLocal}
		}
	}
	return out, xmitWorld
}
