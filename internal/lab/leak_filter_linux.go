package lab

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// mayKeep notes a group that a vmac's filter may still have, though nobody wants
// it there: the driver takes it out when the filter is next made anew.
func (t *take) mayKeep(who string, group classify.MAC) {
	if t.under.way() == scenario.Kernel {
		t.stale[who] = append(t.stale[who], group)
	}
}

// madeAnew says that a vmac's filter has been (macvlan_set_mac_lists).
func (t *take) madeAnew(who string) { delete(t.stale, who) }

// noteLeaks looks for deliveries of a group to a vmac that has never joined it,
// nor another that the filter can't tell from it.
func (t *take) noteLeaks(frame []byte, o *scenario.Outcome) error {
	if len(frame) < 14 || frame[0]&1 == 0 || t.leaked {
		return nil
	}
	to, from := classify.MACFrom(frame), classify.MACFrom(frame[6:])
	for _, d := range o.Gets {
		l, at := t.links[d.Who], t.where[d.Who]
		if l == nil || at == nil || d.Type != classify.TypeMulticast || l.mode == classify.Source || l.mac == from ||
			l.flags&(unix.IFF_PROMISC|unix.IFF_ALLMULTI) != 0 || l.promiscuity+l.allmulti > 0 {
			continue
		}
		_, groups, err := at.rt.secondary(l.index)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(append(append(groups, l.brd), t.stale[d.Who]...), func(g classify.MAC) bool { return sameToFilter(g, to) }) {
			t.leaked = true
		}
	}
	return nil
}
