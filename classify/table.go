package classify

import (
	"cmp"
	"math"
	"slices"
)

// Meta is what the frame's bytes don't say about it.
type Meta struct {
	Type PacketType // how the parent's kernel classified it; ingress only
	GSO  bool       // a super-frame, exempt from the receiver's MTU; egress only
}

// Table is the decision for one Spec: immutable, for any number of readers.
type Table struct {
	hash     macHash
	sources  sourceHash
	passthru int32 // the vmac of a passthru port, else -1

	parent        MAC
	broadcastAddr MAC // the parent's
	parentDown    bool

	// mc and bc are the port's mc_filter and bc_filter.
	mc, bc groupFilter

	// flood holds the up vmacs in the order in which macvlan_broadcast walks
	// the hash; modes and up are by the vmac's number.
	flood []receiver
	modes []Mode
	up    []bool

	bcQueueLen uint32
	vmacs      []vmacInfo
}

// receiver is what a flood asks of an up vmac: one cache line.
type receiver struct {
	filter    groupFilter
	broadcast MAC
	key       uint32
	vmac      int32
	maxLen    uint32 // longest frame from a sibling
	mode      Mode
}

// vmacInfo is what a decision seldom or never wants to know of a vmac.
type vmacInfo struct {
	name      string
	mac       MAC
	broadcast MAC
	flags     Flags
	lists     []MAC // its source list
}

// NewTable compiles s, or says what Validate has against it. It keeps nothing
// of s. Its time is O(n log n) in vmacs, groups and source entries.
func NewTable(s *Spec) (*Table, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	n := len(s.Vmacs)
	t := &Table{
		passthru: -1, parent: s.Parent, broadcastAddr: orBroadcast(s.Broadcast), parentDown: s.ParentDown,
		modes: make([]Mode, n), up: make([]bool, n), vmacs: make([]vmacInfo, n),
	}
	slots := make([]uint64, 0, n)
	for i := range s.Vmacs {
		v := &s.Vmacs[i]
		t.modes[i], t.up[i] = v.Mode, v.Up
		t.vmacs[i] = vmacInfo{name: v.label(i), mac: v.MAC, broadcast: orBroadcast(v.Broadcast), flags: v.Flags}
		t.bcQueueLen = max(t.bcQueueLen, v.BCQueueLen)
		if v.Mode == Passthru {
			t.passthru = int32(i)
		}
		if v.Up {
			slot := uint64(v.MAC) | uint64(i)<<48
			if v.Mode == Source {
				slot |= notByDst
			}
			slots = append(slots, slot)
		}
	}
	t.hash = newMACHash(slots)
	if len(s.Sources) > 0 {
		t.sources = newSourceHash(s)
	}
	for _, e := range s.Sources {
		t.vmacs[e.Vmac].lists = append(t.vmacs[e.Vmac].lists, e.MAC)
	}
	t.flood = floodOrder(s)
	t.mc, t.bc = portFilters(s)
	return t, nil
}

// Len returns the number of vmacs.
func (t *Table) Len() int { return len(t.modes) }

// BCQueueLen returns the capacity of the port's broadcast queue in frames: the
// largest that any vmac, up or down, asks for.
func (t *Table) BCQueueLen() int {
	return int(min(uint64(t.bcQueueLen), math.MaxInt))
}

// floodOrder returns the up vmacs by bucket, and inside one the last to enter
// the hash first, as hlist_add_head_rcu leaves them.
func floodOrder(s *Spec) []receiver {
	type place struct {
		bucket uint8
		seq    uint64
		vmac   int32
	}
	var order []place
	for i := range s.Vmacs {
		if v := &s.Vmacs[i]; v.Up {
			order = append(order, place{v.MAC.bucket(), v.UpSeq, int32(i)})
		}
	}
	slices.SortFunc(order, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(b.seq, a.seq), cmp.Compare(b.vmac, a.vmac))
	})
	flood := make([]receiver, len(order))
	for i, p := range order {
		v := &s.Vmacs[p.vmac]
		flood[i] = receiver{
			filter:    v.filter(),
			broadcast: orBroadcast(v.Broadcast),
			key:       v.FilterKey,
			vmac:      p.vmac,
			maxLen:    maxForward(v.MTU),
			mode:      v.Mode,
		}
	}
	return flood
}

// filter is macvlan_compute_filter for a vmac.
func (v *Vmac) filter() groupFilter {
	if v.Promisc || v.Allmulti {
		return allGroups
	}
	var f groupFilter
	for _, g := range v.Groups {
		f.set(g.groupHash(v.FilterKey))
	}
	f.set(orBroadcast(v.Broadcast).groupHash(v.FilterKey))
	return f
}

// portFilters is macvlan_compute_filter for the port, once with cutoff 0 and
// once with bclim: an address counts if more than that many vmacs, which are
// up, have brought it to the parent's list.
func portFilters(s *Spec) (mc, bc groupFilter) {
	if s.FilterAll && !s.QueueCounts {
		if s.BCLim >= 0 {
			bc = allGroups
		}
		return allGroups, bc
	}
	if s.FilterAll {
		mc = allGroups
	}
	subscribers := make(map[MAC]int64)
	var own []MAC
	for i := range s.Vmacs {
		v := &s.Vmacs[i]
		if !v.Up {
			continue
		}
		own = append(own[:0], v.Groups...)
		slices.Sort(own)
		for _, g := range slices.Compact(own) {
			subscribers[g]++
		}
	}
	for g, n := range subscribers {
		bit := g.groupHash(0)
		mc.set(bit)
		if s.BCLim >= 0 && n > int64(s.BCLim) {
			bc.set(bit)
		}
	}
	bit := orBroadcast(s.Broadcast).groupHash(0)
	mc.set(bit)
	if s.BCLim >= 0 {
		bc.set(bit)
	}
	return mc, bc
}

// newSourceHash lays the entries of one address side by side, the newest first,
// as macvlan_hash_add_source leaves them.
func newSourceHash(s *Spec) sourceHash {
	order := make([]int, len(s.Sources))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(s.Sources[a].MAC, s.Sources[b].MAC), cmp.Compare(b, a))
	})
	bits := uint8(6)
	for 1<<bits < 4*len(order) {
		bits++
	}
	h := sourceHash{keys: make([]MAC, 1<<bits), lists: make([]sourceList, 1<<bits), shift: 64 - bits}
	for i := 0; i < len(order); {
		mac := s.Sources[order[i]].MAC
		list := sourceList{start: uint32(len(h.refs))}
		for ; i < len(order) && s.Sources[order[i]].MAC == mac; i++ {
			n := s.Sources[order[i]].Vmac
			v := &s.Vmacs[n]
			list.nodst = list.nodst || v.Flags&NoDst != 0
			if v.Up {
				h.refs = append(h.refs, sourceRef{mac: v.MAC, vmac: int32(n)})
			}
		}
		list.end = uint32(len(h.refs))
		h.insert(mac, list)
	}
	return h
}

func orBroadcast(m MAC) MAC {
	if m == 0 {
		return Broadcast
	}
	return m
}

// maxForward is is_skb_forwardable's bound: MTU, Ethernet header, one VLAN tag.
func maxForward(mtu int) uint32 {
	if mtu <= 0 {
		return math.MaxUint32
	}
	return uint32(min(uint64(mtu)+headerLen+vlanLen, math.MaxUint32))
}
