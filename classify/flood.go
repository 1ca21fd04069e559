package classify

// Which modes hear a group, by where it came from (macvlan_multicast_rx, and
// macvlan_queue_xmit for fromBridgeLocal). Source is in none of them.
const (
	fromOutside     = Private | Vepa | Bridge | Passthru
	fromVepa        = Vepa | Bridge
	fromBridge      = Vepa // bridge vmacs heard it on its way out
	fromBridgeLocal = Bridge
)

// fromSibling is the mask for a group that comes back with the address of an up
// vmac.
func fromSibling(mode Mode) Mode {
	if mode == Vepa {
		return fromVepa
	}
	return fromBridge
}

// echoes reports whether a group with the address of a vmac in this mode goes
// to that vmac alone.
func echoes(mode Mode) bool { return mode != Vepa && mode != Bridge }

// echo is the copy "to the original port", whatever its filter says.
func (t *Table) echo(v int32, to MAC) Copy {
	return Copy{Vmac: v, Path: Echo, Type: groupType(to, t.vmacs[v].broadcast)}
}

// broadcast is macvlan_broadcast: it walks the up vmacs in the order of the
// hash and appends one Copy for each. frameLen bounds what the receivers take;
// 0 if nothing does. The reason is Flooded, or why nobody heard it.
func (t *Table) broadcast(to MAC, sender int32, mask Mode, pause bool, frameLen uint32, dst []Copy) ([]Copy, Reason) {
	if pause {
		for i := range t.flood {
			dst = append(dst, Copy{Vmac: t.flood[i].vmac, Reason: PauseFrame})
		}
		return dst, PauseToHost
	}
	reason := NoReceiver
	for i := range t.flood {
		r := &t.flood[i]
		c := Copy{Vmac: r.vmac, Reason: r.hears(to, sender, mask, frameLen)}
		switch c.Reason {
		case Delivered:
			c.Path, c.Type = Flood, groupType(to, r.broadcast)
			reason = Flooded
		case NotSubscribed:
			if reason == NoReceiver {
				reason = NoGroup
			}
		}
		dst = append(dst, c)
	}
	return dst, reason
}

// hears asks what macvlan_broadcast asks of each vmac, and for a sibling's
// frame what is_skb_forwardable asks.
func (r *receiver) hears(to MAC, sender int32, mask Mode, frameLen uint32) Reason {
	switch {
	case r.vmac == sender:
		return Sender
	case r.mode&mask == 0:
		return ModeMask
	case !r.filter.has(to.groupHash(r.key)):
		return NotSubscribed
	case frameLen > r.maxLen:
		return OverMTU
	}
	return Delivered
}

// groupType is the packet type of a group on a vmac with this broadcast address.
func groupType(to, broadcast MAC) PacketType {
	if to == broadcast {
		return TypeBroadcast
	}
	return TypeMulticast
}
