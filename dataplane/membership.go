package dataplane

import "github.com/umacvlan/umacvlan/classify"

// memberships is what a socket has asked of its parent. Both lists are sorted,
// without duplicates.
type memberships struct {
	unicast, multicast []classify.MAC
	promisc, allmulti  int // how often
}

func newMemberships(a *classify.Addresses) memberships {
	return memberships{sortedMACs(a.Unicast), sortedMACs(a.Multicast), a.Promisc, a.Allmulti}
}

// mergeMACs calls add for what only want has and drop for what only have has,
// and returns what is held afterwards. Everything is added before anything is
// dropped, so that a parent without a unicast filter doesn't leave promiscuous
// mode in between.
func mergeMACs(have, want []classify.MAC, add, drop func(classify.MAC) bool) []classify.MAC {
	var held, old []classify.MAC
	i, j := 0, 0
	for i < len(have) || j < len(want) {
		switch {
		case j == len(want) || i < len(have) && have[i] < want[j]:
			old = append(old, have[i])
			i++
		case i == len(have) || want[j] < have[i]:
			if add(want[j]) {
				held = append(held, want[j])
			}
			j++
		default:
			held = append(held, want[j])
			i, j = i+1, j+1
		}
	}
	kept := false
	for _, m := range old {
		if !drop(m) {
			held = append(held, m)
			kept = true
		}
	}
	if kept {
		return sortedMACs(held)
	}
	return held
}
