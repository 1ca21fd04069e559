package rules

import (
	"slices"
	"syscall"

	"github.com/umacvlan/umacvlan/classify"
)

// apply is rtnl_changelink up to and with macvlan_changelink. The kind is only
// compared where there is data for it.
func (r ChangeLink) apply(s *State) (Answer, []Action) {
	if r.Kind != Kind {
		if r.Data == nil {
			return Answer{}, nil
		}
		return refuse(syscall.EOPNOTSUPP, "the device is of type macvlan, not %s", r.Kind), nil
	}
	if a := validate(r.Address, r.Data); !a.OK() {
		return a, nil
	}
	v, p := s.editVmac(r.Vmac)
	d := data(r.Data)

	// The mode is checked first and set last; all that stands between stays
	// applied when a later attribute is refused, as in the kernel.
	mode := v.Mode
	if d.Mode != nil {
		mode = classify.Mode(*d.Mode)
		if (mode == classify.Passthru) != (v.Mode == classify.Passthru) {
			return refuse(syscall.EINVAL, "a vmac can't be changed to or from passthru; delete and add it"), nil
		}
		if mode != classify.Source {
			p.Sources = without(p.Sources, v.ID)
		}
	}
	if d.Flags != nil {
		v.Flags = classify.Flags(*d.Flags)
	}
	if d.BCQueueLen != nil {
		v.BCQueueLen = *d.BCQueueLen
	}
	if d.BCLim != nil && *d.BCLim != p.BCLim { // update_port_bc_cutoff
		p.BCLim = *d.BCLim
		p.stale = true
	}
	v.Mode = mode
	if d.MacaddrMode != nil {
		if v.Mode != classify.Source {
			return notSource(), nil
		}
		return changeSources(&p.Sources, v.ID, d), nil
	}
	return Answer{}, nil
}

// validate is macvlan_validate.
func validate(address []byte, r *Data) Answer {
	if address != nil {
		if a := checkAddress(address); !a.OK() {
			return a
		}
	}
	d := data(r)
	if d.Flags != nil && *d.Flags&^uint16(classify.NoPromisc|classify.NoDst) != 0 {
		return refuse(syscall.EINVAL, "the flags are nopromisc (1) and nodst (2)")
	}
	if d.Mode != nil {
		switch *d.Mode {
		case uint32(classify.Private), uint32(classify.Vepa), uint32(classify.Bridge), uint32(classify.Passthru), uint32(classify.Source):
		default:
			return refuse(syscall.EINVAL, "the mode is one of private (1), vepa (2), bridge (4), passthru (8), source (16)")
		}
	}
	if d.MacaddrMode != nil && *d.MacaddrMode > MacaddrSet {
		return refuse(syscall.EINVAL, "macaddr takes add (0), del (1), flush (2) or set (3)")
	}
	if d.Macaddr != nil {
		if a := checkAddress(d.Macaddr); !a.OK() {
			return a
		}
	}
	for _, b := range d.MacaddrData {
		if a := checkAddress(b); !a.OK() {
			return a
		}
	}
	return Answer{}
}

// checkAddress checks a device's address, or a source list's, as
// macvlan_validate does.
func checkAddress(b []byte) Answer {
	if len(b) != 6 {
		return refuse(syscall.EINVAL, "an Ethernet address has 6 octets, not %d", len(b))
	}
	return checkMAC(classify.MACFrom(b))
}

// checkMAC is is_valid_ether_addr.
func checkMAC(m classify.MAC) Answer {
	if m == 0 || m.IsGroup() {
		return refuse(syscall.EADDRNOTAVAIL, "%v is all zero or a group address (the lowest bit of the first octet is set)", m)
	}
	return Answer{}
}

func notSource() Answer {
	return refuse(syscall.EINVAL, "only a vmac of mode source has a source list; add \"mode source\"")
}

// changeSources is macvlan_changelink_sources. A refused change leaves the list.
func changeSources(all *[]Source, id VmacID, d Data) Answer {
	switch *d.MacaddrMode {
	case MacaddrAdd, MacaddrDel:
		if d.Macaddr == nil {
			return refuse(syscall.EINVAL, "macaddr add and del need an address")
		}
		e := Source{id, classify.MACFrom(d.Macaddr)}
		if *d.MacaddrMode == MacaddrAdd {
			*all = with(*all, e)
		} else {
			*all = slices.DeleteFunc(slices.Clone(*all), func(o Source) bool { return o == e })
		}
		return Answer{}
	case MacaddrFlush:
		*all = without(*all, id)
		return Answer{}
	}
	*all = without(*all, id)
	if d.Macaddr != nil {
		*all = with(*all, Source{id, classify.MACFrom(d.Macaddr)})
	}
	for _, b := range d.MacaddrData {
		*all = with(*all, Source{id, classify.MACFrom(b)})
	}
	return Answer{}
}

// with is macvlan_hash_add_source: an entry that is there already stays where
// it is.
func with(all []Source, e Source) []Source {
	if slices.Contains(all, e) {
		return all
	}
	return append(slices.Clip(all), e)
}

// without is macvlan_flush_sources.
func without(all []Source, id VmacID) []Source {
	return slices.DeleteFunc(slices.Clone(all), func(e Source) bool { return e.Vmac == id })
}

func data(d *Data) Data {
	if d == nil {
		return Data{}
	}
	return *d
}
