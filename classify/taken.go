package classify

import "slices"

// Taken is what macvlan takes of the frames that arrive on the parent, so that
// the parent's own stack never sees them: the frames of which Ingress says that
// Host is false, in a form that can be looked up by address. The lists are
// sorted and without duplicates. What the host sent itself (TypeOutgoing,
// TypeLoopback) is never taken.
type Taken struct {
	Unicast bool  // everything to a unicast address (a passthru port)
	To      []MAC // unicast to one of these (up vmacs that aren't in source mode)
	From    []MAC // everything from one of these (listed with nodst)
	Groups  []MAC // groups from one of these (up private, passthru and source vmacs)
}

// Taken derives it from the table's own predicates.
func (t *Table) Taken() Taken {
	k := Taken{Unicast: t.passthru >= 0}
	for i := range t.flood {
		v := t.flood[i].vmac
		mac := t.vmacs[v].mac
		if slot := t.hash.lookup(mac); slot&notByDst == 0 && !k.Unicast {
			k.To = append(k.To, mac)
		}
		if echoes(t.modes[v]) {
			k.Groups = append(k.Groups, mac)
		}
	}
	for i := range t.sources.lists {
		if t.sources.lists[i].nodst {
			k.From = append(k.From, t.sources.keys[i])
		}
	}
	for _, l := range [][]MAC{k.To, k.From, k.Groups} {
		slices.Sort(l)
	}
	return k
}
