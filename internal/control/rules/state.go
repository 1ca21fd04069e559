// Package rules is the control plane of drivers/net/macvlan.c without the
// kernel: what its rtnl link operations, its net_device operations and its
// notifier answer, and what they leave behind. It is pure: a State and a
// request or an event give the next State, an Answer, and the Actions that the
// caller has to carry out on real devices.
package rules

import (
	"slices"

	"github.com/umacvlan/umacvlan/classify"
)

// ParentID and VmacID name devices. The caller chooses ParentIDs; Apply hands
// out VmacIDs, from 1.
type (
	ParentID uint64
	VmacID   uint64
)

// Parent is what the rules know of a lower device.
type Parent struct {
	ID        ParentID
	Name      string
	MAC       classify.MAC
	Broadcast classify.MAC
	MTU       int
	MaxMTU    int // 0 means MaxMTU, the largest that a macvlan can have
	Up        bool
	Carrier   bool
	Dormant   bool // IF_OPER_DORMANT: vmacs are so too, and have traffic

	Loopback    bool
	NotEthernet bool
	// Busy names what already receives the device's frames, such as "bridge
	// br0"; empty if nothing does (netdev_is_rx_handler_busy).
	Busy string
}

// Port is the per-parent state, as macvlan_port. Values inside a State are
// never changed; Apply replaces them.
type Port struct {
	Parent   Parent
	Passthru bool
	// PermMAC is what the parent gets back when a passthru vmac goes
	// (port->perm_addr).
	PermMAC   classify.MAC
	BCLim     int32
	FilterAll bool
	// QueueCounts is as in classify.Spec.
	QueueCounts bool
	Vmacs       []*Vmac  // in order of creation
	Sources     []Source // in order of addition

	// pending is the address that a passthru vmac asks the parent to take
	// (macvlan_set_addr_change); it tells that change from one made by others.
	pending classify.MAC
	// stale says that the port's group filters have to be recomputed; if not mcStale
	// too, only the one for the broadcast queue (macvlan_recompute_bc_filter). mcAll
	// is what FilterAll would be for the other.
	stale, mcStale, mcAll bool
	upSeq                 uint64
}

// Source is one line of a source list.
type Source struct {
	Vmac VmacID
	MAC  classify.MAC
}

// Vmac is one emulated device, as macvlan_dev and its net_device.
type Vmac struct {
	ID         VmacID
	Name       string
	Netns      uint64 // where it lives; any number that tells namespaces apart
	Mode       classify.Mode
	Flags      classify.Flags
	MAC        classify.MAC
	Broadcast  classify.MAC
	MTU        int
	MaxMTU     int
	Up         bool // open, and in the hash
	UpSeq      uint64
	Carrier    bool
	Promisc    bool
	Allmulti   bool
	Groups     []classify.MAC
	Unicast    []classify.MAC // secondary addresses, in order of addition
	BCQueueLen uint32
}

// State is the control plane of any number of ports. The zero value is empty.
// It is a value: Apply leaves the one that it was given as it was.
type State struct {
	ports []*Port
	last  VmacID
}

// NewState is an empty State that hands out VmacIDs from the one after last.
// Which groups leak through a vmac's filter depends on its ID.
func NewState(last VmacID) State { return State{last: last} }

// Ports returns all ports in order of creation. Nothing in it may be changed.
func (s State) Ports() []*Port { return s.ports }

// Port returns the port of a parent, or nil if it has none.
func (s State) Port(id ParentID) *Port {
	if i := s.portIndex(id); i >= 0 {
		return s.ports[i]
	}
	return nil
}

// Vmac returns a vmac and its port, or nils.
func (s State) Vmac(id VmacID) (*Vmac, *Port) {
	for _, p := range s.ports {
		if i := p.index(id); i >= 0 {
			return p.Vmacs[i], p
		}
	}
	return nil, nil
}

// Spec returns the decision that a port makes now. Vmacs[i] of it is the port's
// Vmacs[i].
func (s State) Spec(id ParentID) classify.Spec {
	p := s.Port(id)
	if p == nil {
		return classify.Spec{BCLim: classify.DefaultBCLim}
	}
	spec := classify.Spec{
		Parent:     p.Parent.MAC,
		Broadcast:  p.Parent.Broadcast,
		ParentDown: !p.running(),
		FilterAll:  p.FilterAll,

		QueueCounts: p.QueueCounts,
		BCLim:       p.BCLim,
		Vmacs:       make([]classify.Vmac, len(p.Vmacs)),
	}
	number := make(map[VmacID]int, len(p.Vmacs))
	for i, v := range p.Vmacs {
		number[v.ID] = i
		spec.Vmacs[i] = classify.Vmac{
			Name: v.Name, Mode: v.Mode, Flags: v.Flags, MAC: v.MAC, Broadcast: v.Broadcast,
			Up: v.Up, UpSeq: v.UpSeq, MTU: v.MTU,
			Groups: v.Groups, Unicast: v.Unicast, Promisc: v.Promisc, Allmulti: v.Allmulti,
			FilterKey:  uint32(v.ID) * 0x9E3779B1,
			BCQueueLen: v.BCQueueLen,
		}
	}
	for _, e := range p.Sources {
		spec.Sources = append(spec.Sources, classify.SourceEntry{Vmac: number[e.Vmac], MAC: e.MAC})
	}
	return spec
}

// UsedBCQueueLen is the capacity of the port's broadcast queue: the largest
// that any of its vmacs asks for, up or down (update_port_bc_queue_len).
func (p *Port) UsedBCQueueLen() uint32 {
	var n uint32
	for _, v := range p.Vmacs {
		n = max(n, v.BCQueueLen)
	}
	return n
}

// SourceList returns a vmac's source list in the order in which the kernel
// dumps it (macvlan_fill_info_macaddr): by bucket, the newest first.
func (p *Port) SourceList(id VmacID) []classify.MAC {
	list := []classify.MAC{}
	for _, e := range slices.Backward(p.Sources) {
		if e.Vmac == id {
			list = append(list, e.MAC)
		}
	}
	slices.SortStableFunc(list, func(a, b classify.MAC) int { return int(bucket(a)) - int(bucket(b)) })
	return list
}

// bucket is macvlan_eth_hash.
func bucket(m classify.MAC) uint8 {
	return uint8(uint64(m) << 16 * 0x61C8864680B583EB >> 56)
}

// FilterStale reports whether the port-wide group filters have to be computed
// again, from what the parent's flags are after its address lists have been
// programmed: send a FilterSeen then.
func (p *Port) FilterStale() bool { return p.stale }

func (p *Port) index(id VmacID) int {
	return slices.IndexFunc(p.Vmacs, func(v *Vmac) bool { return v.ID == id })
}

// running is netif_running and netif_carrier_ok of the parent.
func (p *Port) running() bool { return p.Parent.Up && p.Parent.Carrier }

// busy is macvlan_addr_busy: it says whose address m is, so that no further
// vmac may come up with it; empty if nobody's.
func (p *Port) busy(m classify.MAC) string {
	if !p.Passthru && p.Parent.MAC == m {
		return "the parent " + p.Parent.Name
	}
	for _, v := range p.Vmacs {
		if v.Up && v.MAC == m {
			return "the vmac " + v.Name
		}
	}
	return ""
}

func (s State) portIndex(id ParentID) int {
	return slices.IndexFunc(s.ports, func(p *Port) bool { return p.Parent.ID == id })
}

// edit replaces a port by a copy that may be changed until Apply returns.
func (s *State) edit(id ParentID) *Port {
	i := s.portIndex(id)
	s.ports = slices.Clone(s.ports)
	p := *s.ports[i]
	p.Vmacs = slices.Clone(p.Vmacs)
	p.Sources = slices.Clip(p.Sources)
	s.ports[i] = &p
	return &p
}

// editVmac does the same for a vmac and its port.
func (s *State) editVmac(id VmacID) (*Vmac, *Port) {
	_, old := s.Vmac(id)
	p := s.edit(old.Parent.ID)
	i := p.index(id)
	v := *p.Vmacs[i]
	p.Vmacs[i] = &v
	return &v, p
}
