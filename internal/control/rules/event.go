package rules

import (
	"slices"
	"syscall"
)

// apply is macvlan_device_event.
func (r ParentSeen) apply(s *State) (Answer, []Action) {
	old := s.Port(r.Parent.ID)
	if old == nil {
		return Answer{}, nil
	}
	p := s.edit(r.Parent.ID)
	p.Parent = r.Parent
	var actions []Action

	for i, v := range p.Vmacs {
		w := *v
		// NETDEV_UP, DOWN, CHANGE: netif_stacked_transfer_operstate.
		if w.Carrier = p.running(); w.Carrier != v.Carrier {
			actions = append(actions, Action{Kind: SetCarrier, Vmac: w.ID, On: w.Carrier})
		}
		// NETDEV_CHANGEMTU: raising never raises a vmac.
		if w.MTU = min(v.MTU, p.Parent.MTU); w.MTU < v.MTU {
			actions = append(actions, Action{Kind: ChangeMTU, Vmac: w.ID, MTU: w.MTU})
		}
		p.Vmacs[i] = &w
	}
	// NETDEV_CHANGEADDR: a passthru vmac follows. A change that it didn't ask
	// for becomes the address to be given back.
	if p.Passthru && p.Parent.MAC != old.Parent.MAC {
		if p.Parent.MAC != p.pending {
			p.PermMAC = p.Parent.MAC
		}
		p.pending = 0
		w := *p.Vmacs[0]
		p.syncAddress(&w, p.Parent.MAC)
		p.Vmacs[0] = &w
		actions = append(actions, Action{Kind: SetMAC, Vmac: w.ID, MAC: w.MAC})
	}
	return Answer{}, actions
}

// apply is NETDEV_UNREGISTER: dellink for every vmac, in whatever namespace.
// The parent has no use for its old address any more.
func (r ParentGone) apply(s *State) (Answer, []Action) {
	p := s.Port(r.Parent)
	if p == nil {
		return Answer{}, nil
	}
	s.ports = slices.DeleteFunc(slices.Clone(s.ports), func(q *Port) bool { return q == p })
	var actions []Action
	for _, v := range p.Vmacs {
		actions = append(actions, Action{Kind: Delete, Vmac: v.ID})
	}
	return Answer{}, actions
}

// apply takes over what others did to the device. The kernel's macvlan could
// have refused it; here it has happened, and is taken back.
func (r VmacSeen) apply(s *State) (Answer, []Action) {
	before, _ := s.Vmac(r.Vmac)
	v, p := s.editVmac(r.Vmac)
	var answer Answer
	var actions []Action
	deny := func(a Answer, fix Action) {
		if answer.OK() {
			answer = a
		}
		actions = append(actions, fix)
	}

	if r.Netns != v.Netns {
		v.Unicast = nil // dev_change_net_namespace: dev_uc_flush
	}
	v.Name, v.Netns, v.Broadcast = r.Name, r.Netns, r.Broadcast

	switch {
	case r.MAC == v.MAC:
	case p.Passthru:
		p.pending = r.MAC
		actions = append(actions, Action{Kind: SetParentMAC, Parent: p.Parent.ID, MAC: r.MAC})
	default:
		if owner := p.busy(r.MAC); owner != "" {
			deny(refuse(syscall.EADDRINUSE, "%v is the address of %s; choose another", r.MAC, owner),
				Action{Kind: SetMAC, Vmac: v.ID, MAC: v.MAC})
		} else {
			p.syncAddress(v, r.MAC)
		}
	}

	if a := p.checkMTU(r.MTU); a.OK() {
		v.MTU = r.MTU
	} else {
		deny(a, Action{Kind: ChangeMTU, Vmac: v.ID, MTU: v.MTU})
	}

	switch {
	case r.Up == v.Up:
	case !r.Up:
		v.Up = false
	default:
		if a := p.mayOpen(v); a.OK() {
			p.open(v)
		} else {
			deny(a, Action{Kind: SetDown, Vmac: v.ID})
		}
	}

	// ndo_set_rx_mode runs only while the device is up, and leaves what it has
	// made when the device goes down; a down vmac hears nothing anyway.
	v.Promisc, v.Allmulti, v.Groups = r.Promisc, r.Allmulti, r.Groups
	rx := v.Promisc != before.Promisc || v.Allmulti != before.Allmulti || v.Broadcast != before.Broadcast ||
		!slices.Equal(v.Groups, before.Groups)
	if rx && v.Up {
		p.stale, p.mcStale = true, true
	}
	return answer, actions
}

func (r FilterSeen) apply(s *State) (Answer, []Action) {
	if s.Port(r.Parent) == nil {
		return Answer{}, nil
	}
	p := s.edit(r.Parent)
	all := r.Promisc || r.Allmulti
	if p.mcStale {
		p.mcAll = all
	}
	p.stale, p.mcStale = false, false
	p.FilterAll = p.mcAll || all && p.BCLim >= 0
	p.QueueCounts = p.mcAll && !all
	return Answer{}, nil
}
