package rules

import (
	"slices"
	"syscall"

	"github.com/umacvlan/umacvlan/classify"
)

// FdbAdd is RTM_NEWNEIGH for a vmac's own addresses ("bridge fdb add … self"):
// ndo_fdb_add. The driver looks at nothing else that such a request may say.
type FdbAdd struct {
	Vmac    VmacID
	Address []byte // of any length
	Vlan    *uint16
	Master  bool // meant for the bridge above alone (NTF_MASTER without NTF_SELF)
	Replace bool // NLM_F_REPLACE
}

// FdbDel is RTM_DELNEIGH: ndo_fdb_del.
type FdbDel struct {
	Vmac    VmacID
	Address []byte
	Vlan    *uint16
	Master  bool
}

// apply is rtnl_fdb_add and macvlan_fdb_add.
func (r FdbAdd) apply(s *State) (Answer, []Action) {
	if a := s.checkFdb(FdbDel{r.Vmac, r.Address, r.Vlan, r.Master}); !a.OK() {
		return a, nil
	}
	m := classify.MACFrom(r.Address)
	if r.Replace {
		return refuse(syscall.EOPNOTSUPP, "macvlan replaces no address; use del and add"), nil
	}
	v, _ := s.Vmac(r.Vmac)
	if slices.Contains(v.list(m), m) {
		return refuse(syscall.EEXIST, "%s has %v already", v.Name, m), nil
	}
	v, p := s.editVmac(r.Vmac)
	if !m.IsGroup() {
		v.Unicast = append(slices.Clip(v.Unicast), m)
		p.rxMode(v)
		return Answer{}, nil
	}
	v.Groups = append(slices.Clip(v.Groups), m)
	slices.Sort(v.Groups)
	p.rxMode(v)
	return Answer{}, []Action{{Kind: AddGroup, Vmac: v.ID, MAC: m}}
}

// apply is rtnl_fdb_del and macvlan_fdb_del.
func (r FdbDel) apply(s *State) (Answer, []Action) {
	if a := s.checkFdb(r); !a.OK() {
		return a, nil
	}
	m := classify.MACFrom(r.Address)
	v, _ := s.Vmac(r.Vmac)
	if !slices.Contains(v.list(m), m) {
		return refuse(syscall.ENOENT, "%s has no %v", v.Name, m), nil
	}
	v, p := s.editVmac(r.Vmac)
	other := func(o classify.MAC) bool { return o == m }
	if !m.IsGroup() {
		v.Unicast = slices.DeleteFunc(slices.Clone(v.Unicast), other)
		p.rxMode(v)
		return Answer{}, nil
	}
	// Of a group that others have joined too only one reference goes: what is
	// left of it the device knows (VmacSeen).
	v.Groups = slices.DeleteFunc(slices.Clone(v.Groups), other)
	p.rxMode(v)
	return Answer{}, []Action{{Kind: DelGroup, Vmac: v.ID, MAC: m}}
}

// checkFdb is what adding and removing have in common: a unicast address, all
// zero too, is something for passthru only.
func (s *State) checkFdb(r FdbDel) Answer {
	if len(r.Address) != 6 {
		a := refuse(syscall.EINVAL, "an Ethernet address has 6 octets, not %d", len(r.Address))
		a.Text = "invalid address"
		return a
	}
	if r.Vlan != nil && (*r.Vlan == 0 || *r.Vlan >= 4095) { // fdb_vid_parse
		a := refuse(syscall.EINVAL, "a VLAN id is 1 to 4094")
		a.Text = "invalid vlan id"
		return a
	}
	v, p := s.Vmac(r.Vmac)
	if r.Master {
		return refuse(syscall.EOPNOTSUPP, "%s is no port of a bridge that umacvlan knows of; leave \"master\" out", v.Name)
	}
	if !classify.MACFrom(r.Address).IsGroup() && !p.Passthru {
		return refuse(syscall.EOPNOTSUPP, "%s is not passthru: it takes further groups, but no further unicast address", v.Name)
	}
	return Answer{}
}

// list is the one of the vmac's lists in which m belongs.
func (v *Vmac) list(m classify.MAC) []classify.MAC {
	if m.IsGroup() {
		return v.Groups
	}
	return v.Unicast
}

// rxMode is __dev_set_rx_mode after a change of a vmac's lists: nothing while it
// is down.
func (p *Port) rxMode(v *Vmac) {
	if v.Up {
		p.stale, p.mcStale = true, true
	}
}
