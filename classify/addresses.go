package classify

import "slices"

// Addresses is what a port asks of its parent.
type Addresses struct {
	Unicast   []MAC // dev_uc_add: each up vmac's own address, none for passthru, and its secondary ones
	Multicast []MAC // dev_mc_add
	Promisc   int   // dev_set_promiscuity: by so much, once for each up vmac that wants it
	Allmulti  int   // dev_set_allmulti

	// What a socket filter on the parent has to pass beside groups: the
	// addresses of all vmacs, up or down, and every listed source. With All it
	// has to pass everything (a passthru port).
	Dst []MAC
	Src []MAC
	All bool
}

// Addresses returns what s asks of its parent, each list sorted and without
// duplicates.
func (s *Spec) Addresses() Addresses {
	var a Addresses
	for i := range s.Vmacs {
		v := &s.Vmacs[i]
		a.Dst = append(a.Dst, v.MAC)
		if v.Mode == Passthru {
			a.All = true
		}
		if !v.Up {
			continue
		}
		a.Multicast = append(a.Multicast, v.Groups...)
		a.Unicast = append(a.Unicast, v.Unicast...)
		if v.Allmulti {
			a.Allmulti++
		}
		promisc := v.Promisc
		if v.Mode == Passthru {
			promisc = v.Flags&NoPromisc == 0
		} else {
			a.Unicast = append(a.Unicast, v.MAC)
		}
		if promisc {
			a.Promisc++
		}
	}
	for _, e := range s.Sources {
		a.Src = append(a.Src, e.MAC)
	}
	for _, l := range []*[]MAC{&a.Unicast, &a.Multicast, &a.Dst, &a.Src} {
		slices.Sort(*l)
		*l = slices.Compact(*l)
	}
	return a
}
