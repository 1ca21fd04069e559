package control

import (
	"fmt"

	"github.com/umacvlan/umacvlan/classify"
)

// filtering is what a parent does so that frames for its vmacs reach it: its
// driver has a unicast filter, or the kernel makes it promiscuous while it has
// secondary addresses (__dev_set_rx_mode). Nobody says which (IFF_UNICAST_FLT is
// private), so it is inferred from what happens to its promiscuity.
type filtering struct {
	verdict verdict
	was, is int // its promiscuity, but for what the port itself asked for

	listed  bool // the port's addresses are in its list
	promisc int  // how often the port asked for promiscuity
}

type verdict uint8

const (
	nothingListed verdict = iota
	unicastFilter
	madePromiscuous
	promiscuousAlready // by others, who may have addresses in its list too
	notYetKnown        // it is down, and programs its list when it comes up
)

// note takes over what became of the port's addresses.
func (f *filtering) note(a classify.Addresses, before, after *netdev) {
	had, asked := f.listed, f.promisc
	f.listed, f.promisc = len(a.Unicast) > 0, a.Promisc
	switch {
	case !f.listed:
		f.verdict = nothingListed
	case had || before == nil:
	case after.up():
		f.judge(before.promiscuity-asked, after.promiscuity-f.promisc)
	default:
		f.verdict, f.was = notYetKnown, after.promiscuity-f.promisc
	}
}

// look takes over what the parent is like now.
func (f *filtering) look(dev *netdev) {
	if f.verdict == notYetKnown && dev.up() {
		f.judge(f.was, dev.promiscuity-f.promisc)
	}
}

func (f *filtering) judge(was, is int) {
	f.was, f.is = was, is
	switch {
	case is > was:
		f.verdict = madePromiscuous
	case is <= 0:
		f.verdict = unicastFilter
	default:
		f.verdict = promiscuousAlready
	}
}

// filtering says which of the two is in force, and how that is known.
func (p *port) filtering() string {
	f, rp := &p.unicast, p.e.state.Port(p.id)
	if rp == nil {
		return ""
	}
	name := rp.Parent.Name
	switch f.verdict {
	case madePromiscuous:
		return fmt.Sprintf("promiscuous: the driver of %s has no unicast filter (inferred: its promiscuity rose from %d to %d with the first address)", name, f.was, f.is)
	case unicastFilter:
		return fmt.Sprintf("unicast filter: the driver of %s has one (inferred: its promiscuity stayed 0 with the first address)", name)
	case promiscuousAlready:
		return fmt.Sprintf("promiscuous already: whether the driver of %s has a unicast filter can't be told (its promiscuity stayed %d with the first address)", name, f.is)
	case notYetKnown:
		return fmt.Sprintf("not known: %s is down, and takes addresses when it comes up", name)
	}
	if rp.Passthru {
		v := rp.Vmacs[0]
		switch {
		case !v.Up:
			return "none: the passthru vmac is down"
		case v.Flags&classify.NoPromisc != 0:
			return "none: passthru nopromisc"
		}
		return "promiscuous: passthru"
	}
	return "none: no vmac is up"
}
