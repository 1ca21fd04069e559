package control

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control/rules"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// What rtnetlink says is only taken as "look there": messages are late, and may
// speak of what has changed again since. dirt is what has to be looked at.
type dirt struct {
	all    bool
	places map[place]*netdev // the last words of a device that went
	netns  []uint64
	gone   []*dataplane.Vmac
}

func (d *dirt) reset() { *d = dirt{places: map[place]*netdev{}} }

// mark notes something to look at. It never blocks for long and takes no lock
// that is held for long: data threads and the hub call it.
func (e *Engine) mark(f func(*dirt)) {
	e.dirtyMu.Lock()
	f(&e.dirty)
	e.dirtyMu.Unlock()
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

func (e *Engine) touch(at place, last *netdev) {
	e.mark(func(d *dirt) {
		if last != nil || d.places[at] == nil {
			d.places[at] = last
		}
	})
}

func (e *Engine) touchAll()                   { e.mark(func(d *dirt) { d.all = true }) }
func (e *Engine) touchNetns(inode uint64)     { e.mark(func(d *dirt) { d.netns = append(d.netns, inode) }) }
func (e *Engine) touchGone(v *dataplane.Vmac) { e.mark(func(d *dirt) { d.gone = append(d.gone, v) }) }

// blindEvery is how often everything is looked at where rtnetlink tells nothing
// of other namespaces.
const blindEvery = 100 * time.Millisecond

// reconcileUntil looks at what has changed.
func (e *Engine) reconcileUntil(ctx context.Context) {
	blind := time.NewTimer(blindEvery)
	defer blind.Stop()
	if e.hub.hears {
		blind.Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
			e.dirtyMu.Lock()
			work := e.dirty
			e.dirty.reset()
			e.dirtyMu.Unlock()
			e.reconcile(work)
		case <-blind.C:
			start := time.Now()
			e.reconcile(dirt{all: true})
			blind.Reset(max(blindEvery, 3*time.Since(start)))
		}
	}
}

// reconcile lets go of the lock between any two devices.
func (e *Engine) reconcile(work dirt) {
	locked := func(f func()) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.closing {
			f()
		}
	}
	for at, last := range work.places {
		locked(func() { e.lookAt(at, last) })
	}
	if !work.all && work.netns == nil && work.gone == nil {
		return
	}
	var places []place
	locked(func() {
		for _, d := range e.devices {
			if work.all || slices.Contains(work.netns, d.at.netns) || slices.Contains(work.gone, d.vmac) {
				places = append(places, d.at)
			}
		}
		for at := range e.parents {
			if work.all || slices.Contains(work.netns, at.netns) {
				places = append(places, at)
			}
		}
	})
	for _, at := range places {
		locked(func() { e.lookAt(at, nil) })
	}
}

func (e *Engine) lookAt(at place, last *netdev) {
	if d := e.devices[e.vmacs[at]]; d != nil {
		if last != nil && !last.hasNewNetns {
			d.last = last
		}
		e.lookVmac(d)
	}
	if p := e.ports[e.parents[at]]; p != nil {
		if last != nil {
			p.last = last
		}
		e.lookParent(p)
	}
}

// lookVmac takes over what the device behind a vmac is like now. The caller
// holds the lock.
func (e *Engine) lookVmac(d *device) { e.look(d, true) }

// settle looks at those of a port's vmacs that a decision is about to be held
// against: what others did to them may be on its way to us. Unlike lookVmac it
// doesn't wait for a device's last words, and doesn't settle further.
func (e *Engine) settle(id rules.ParentID, against func(*rules.Vmac) bool) {
	rp := e.state.Port(id)
	if rp == nil {
		return
	}
	for _, v := range rp.Vmacs {
		if d := e.devices[v.ID]; d != nil && against(v) {
			e.look(d, false)
		}
	}
}

func (e *Engine) look(d *device, patient bool) {
	if e.devices[d.id] != d {
		return
	}
	seen, err := e.see(d)
	switch {
	case gone(err):
		e.vmacLost(d, patient)
		return
	case errors.Is(err, errMissed):
		at := d.at
		time.AfterFunc(10*time.Millisecond, func() { e.touch(at, nil) })
		return
	case err != nil:
		e.log.Warn("look at vmac", "vmac", d.name, "err", err)
		return
	}
	d.last = nil // an RTM_DELLINK that didn't say that the device had only moved
	v, rp := e.state.Vmac(d.id)
	if v == nil {
		return
	}
	e.keepCarrier(d, v.Carrier)
	if same(v, seen) {
		return
	}
	if v.MAC != seen.MAC || v.MTU != seen.MTU || v.Up != seen.Up {
		// The answer depends on what the parent is like, and its other vmacs.
		e.lookParent(e.ports[rp.Parent.ID])
		if patient {
			e.settle(rp.Parent.ID, func(o *rules.Vmac) bool { return o.ID != d.id && o.Up && o.MAC == seen.MAC })
		}
		if e.devices[d.id] != d {
			return
		}
	}
	if a := e.apply(seen); !a.OK() {
		e.denied(d, a)
	}
}

// denied says that what a device's owner did has been undone: once, as who does it
// may do it again and again.
func (e *Engine) denied(d *device, a rules.Answer) {
	if a.Hint == d.denied {
		return
	}
	d.denied = a.Hint
	e.log.Warn("taken back what macvlan doesn't allow", "vmac", d.name, "errno", a.Errno, "why", a.Hint)
}

// keepCarrier undoes IFLA_CARRIER, which a macvlan doesn't have
// (ndo_change_carrier): the carrier is the parent's.
func (e *Engine) keepCarrier(d *device, on bool) {
	if err, known := feature.Why(feature.SetCarrier); d.carrier == on || err != nil || !known {
		return
	}
	if e.execute(rules.Action{Kind: rules.SetCarrier, Vmac: d.id, On: on}) == nil {
		e.denied(d, rules.Answer{Errno: unix.EOPNOTSUPP, Hint: "the carrier of a vmac is its parent's"})
	}
}

// vmacLost tidies up behind a device that others have deleted.
func (e *Engine) vmacLost(d *device, patient bool) {
	if d.last == nil && patient {
		// Its queue ends before rtnetlink says what it had counted.
		if d.left.IsZero() {
			d.left = time.Now()
			at := d.at
			time.AfterFunc(lastWords, func() { e.touch(at, nil) })
		}
		if time.Since(d.left) < lastWords {
			return
		}
	}
	e.log.Info("vmac is gone", "vmac", d.name)
	e.awaitNamespace(d)
	e.apply(rules.DelLink{Vmac: d.id})
}

// see asks the kernel, and makes d.at what it is.
func (e *Engine) see(d *device) (rules.VmacSeen, error) {
	var seen rules.VmacSeen
	err := e.visit(d, func(ns Namespace, c *conn, dev *netdev) error {
		at := place{ns.inode, dev.index}
		if at != d.at || !e.hub.watches(ns.inode) {
			// From now on its changes are heard; so look once more.
			if err := e.hub.watch(ns); err != nil {
				return err
			}
			if e.vmacs[d.at] == d.id {
				delete(e.vmacs, d.at)
			}
			d.at = at
			e.vmacs[at] = d.id
			var err error
			if dev, err = c.byIndex(dev.index); err != nil {
				return errMissed
			}
		}
		d.name, d.carrier = dev.name, dev.carrier
		if d.like != nil && (d.like.alias != dev.alias || d.like.txQLen != dev.txQLen) {
			e.saveSoon()
		}
		d.like = dev
		seen = rules.VmacSeen{
			Vmac: d.id, Name: dev.name, Netns: ns.inode, MAC: dev.mac, Broadcast: dev.brd, MTU: dev.mtu, Up: dev.up(),
			Promisc: dev.flags&unix.IFF_PROMISC != 0 || dev.promiscuity > 0, Allmulti: dev.flags&unix.IFF_ALLMULTI != 0 || dev.allmulti > 0,
		}
		lists, err := c.groups(dev.index)
		seen.Groups = lists[dev.index]
		return err
	})
	return seen, err
}

func same(v *rules.Vmac, s rules.VmacSeen) bool {
	return v.Name == s.Name && v.Netns == s.Netns && v.MAC == s.MAC && v.Broadcast == s.Broadcast && v.MTU == s.MTU &&
		v.Up == s.Up && v.Promisc == s.Promisc && v.Allmulti == s.Allmulti && slices.Equal(v.Groups, s.Groups)
}
