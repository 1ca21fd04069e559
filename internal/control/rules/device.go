package rules

import (
	"slices"
	"syscall"

	"github.com/umacvlan/umacvlan/classify"
)

// apply is macvlan_set_mac_address, up or down. The attribute may be longer
// than an address, which is then cut (validate_linkmsg).
func (r SetAddress) apply(s *State) (Answer, []Action) {
	if len(r.Address) < 6 {
		return refuse(syscall.EINVAL, "an Ethernet address has 6 octets, not %d", len(r.Address)), nil
	}
	m := classify.MACFrom(r.Address)
	if a := checkMAC(m); !a.OK() {
		return a, nil
	}
	return s.setMAC(r.Vmac, m)
}

func (s *State) setMAC(id VmacID, m classify.MAC) (Answer, []Action) {
	v, p := s.Vmac(id)
	if v.MAC == m {
		return Answer{}, nil
	}
	if v.Mode == classify.Passthru {
		// The vmac follows when the parent has changed (ParentSeen).
		_, p = s.editVmac(id)
		p.pending = m
		return Answer{}, []Action{{Kind: SetParentMAC, Parent: p.Parent.ID, MAC: m}}
	}
	if owner := p.busy(m); owner != "" {
		return refuse(syscall.EADDRINUSE, "%v is the address of %s; choose another", m, owner), nil
	}
	v, p = s.editVmac(id)
	p.syncAddress(v, m)
	return Answer{}, []Action{{Kind: SetMAC, Vmac: id, MAC: m}}
}

// syncAddress is macvlan_sync_address: while up, the vmac moves to the head of
// its new bucket.
func (p *Port) syncAddress(v *Vmac, m classify.MAC) {
	v.MAC = m
	if v.Up {
		p.upSeq++
		v.UpSeq = p.upSeq
	}
}

// apply is dev_set_mtu and macvlan_change_mtu.
func (r SetMTU) apply(s *State) (Answer, []Action) {
	v, p := s.Vmac(r.Vmac)
	if uint32(v.MTU) == r.MTU {
		return Answer{}, nil
	}
	if a := checkMTU(r.MTU, v.MaxMTU); !a.OK() {
		return a, nil
	}
	if a := p.checkMTU(int(r.MTU)); !a.OK() {
		return a, nil
	}
	v, _ = s.editVmac(r.Vmac)
	v.MTU = int(r.MTU)
	return Answer{}, []Action{{Kind: ChangeMTU, Vmac: v.ID, MTU: v.MTU}}
}

func (p *Port) checkMTU(mtu int) Answer {
	if mtu > p.Parent.MTU {
		return refuse(syscall.EINVAL, "mtu %d is more than the %d of the parent %s; raise that one first", mtu, p.Parent.MTU, p.Parent.Name)
	}
	return Answer{}
}

// apply is macvlan_open or macvlan_stop.
func (r SetUp) apply(s *State) (Answer, []Action) {
	v, p := s.Vmac(r.Vmac)
	if v.Up == r.Up {
		if v.Up { // __dev_change_flags calls dev_set_rx_mode even so
			_, p = s.editVmac(r.Vmac)
			p.stale, p.mcStale = true, true
		}
		return Answer{}, nil
	}
	if !r.Up {
		v, _ = s.editVmac(r.Vmac)
		v.Up = false
		return Answer{}, nil
	}
	if a := p.mayOpen(v); !a.OK() {
		return a, nil
	}
	v, p = s.editVmac(r.Vmac)
	p.open(v)
	return Answer{}, nil
}

func (p *Port) mayOpen(v *Vmac) Answer {
	if owner := p.busy(v.MAC); owner != "" {
		return refuse(syscall.EADDRINUSE, "%s can't come up with %v, the address of %s; give it another", v.Name, v.MAC, owner)
	}
	return Answer{}
}

// open puts the vmac at the head of its bucket.
func (p *Port) open(v *Vmac) {
	p.upSeq++
	v.Up, v.UpSeq = true, p.upSeq
	p.stale, p.mcStale = true, true // __dev_open ends with dev_set_rx_mode
}

// apply is macvlan_dellink.
func (r DelLink) apply(s *State) (Answer, []Action) {
	actions := s.remove(r.Vmac)
	return Answer{}, slices.Insert(actions, 0, Action{Kind: Delete, Vmac: r.Vmac})
}

// apply is what a device's own end does: its namespace is gone, or somebody
// deleted it.
func (r VmacGone) apply(s *State) (Answer, []Action) { return Answer{}, s.remove(r.Vmac) }

// remove is macvlan_uninit: with the last vmac goes the port, and a passthru
// port gives its parent the address back that it had (macvlan_port_destroy).
func (s *State) remove(id VmacID) []Action {
	_, old := s.Vmac(id)
	p := s.edit(old.Parent.ID)
	p.Vmacs = slices.Delete(p.Vmacs, p.index(id), p.index(id)+1)
	p.Sources = without(p.Sources, id)
	if len(p.Vmacs) > 0 {
		return nil
	}
	s.ports = slices.DeleteFunc(slices.Clone(s.ports), func(q *Port) bool { return q == p })
	if p.Passthru && p.Parent.MAC != p.PermMAC {
		return []Action{{Kind: SetParentMAC, Parent: p.Parent.ID, MAC: p.PermMAC}}
	}
	return nil
}
