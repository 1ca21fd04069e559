package control

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// lookParent takes over what the parent is like now. The caller holds the lock.
func (e *Engine) lookParent(p *port) {
	dev, err := p.conn.byIndex(p.at.index)
	switch {
	case errors.Is(err, unix.ENODEV):
		e.parentLeft(p)
		return
	case err != nil:
		e.log.Warn("look at parent", "parent", p.name, "err", err)
		return
	}
	old := e.state.Port(p.id)
	if old == nil {
		return
	}
	p.left = time.Time{}
	if !e.hub.watches(p.at.netns) {
		if err := e.hub.watch(p.ns); err != nil {
			e.log.Warn("look at parent", "parent", p.name, "err", err)
		}
		if dev, err = p.conn.byIndex(p.at.index); err != nil { // it has left meanwhile
			e.touch(p.at, nil)
			return
		}
	}
	p.keepVLANs(dev.name)
	p.unicast.look(dev)
	now := describe(p.id, dev, p.conn)
	if old.Parent != now {
		if now.Busy != "" && now.Busy != old.Parent.Busy {
			e.log.Warn("parent has been given to another device, which gets its frames too", "parent", now.Name, "device", now.Busy)
		}
		e.apply(rules.ParentSeen{Parent: now})
		if old.Parent.Name != now.Name {
			if err := p.sw.Rename(now.Name); err != nil {
				e.log.Warn("take from the host's stack after a parent was renamed", "parent", now.Name, "err", err)
			}
			for _, v := range e.state.Port(p.id).Vmacs {
				e.setAlias(e.devices[v.ID])
			}
		}
	}
	select {
	case <-p.done:
		// The wire broke though the device is there.
		if err := e.movePort(p, p.ns, dev); err != nil {
			if _, e1 := p.conn.byIndex(dev.index); errors.Is(e1, unix.ENODEV) {
				e.touch(p.at, nil)
				return
			}
			e.log.Warn("parent can't be opened again; its vmacs go", "parent", p.name, "err", err)
			e.apply(rules.ParentGone{Parent: p.id})
		}
	default:
	}
}

// lastWords is how long the RTM_DELLINK of a device that isn't there any more is
// waited for.
const lastWords = 50 * time.Millisecond

// searchFor is how long a parent is searched for that has left for another
// namespace, and is not there either.
const searchFor = 2 * time.Second

// parentLeft tells a parent that has moved to another namespace from one that is
// gone.
func (e *Engine) parentLeft(p *port) {
	if p.last == nil {
		// The wire breaks before rtnetlink says where the device went.
		if p.left.IsZero() {
			p.left = time.Now()
			time.AfterFunc(lastWords, func() { e.touch(p.at, nil) })
		}
		if time.Since(p.left) < lastWords {
			return
		}
	}
	if p.last != nil && p.last.hasNewNetns {
		ns, dev, err := e.findParent(p)
		if err == nil {
			err = e.movePort(p, ns, dev)
			ns.Close()
			if err == nil {
				return
			}
		}
		// It may be on its way further, which takes a while in which it is nowhere.
		if p.left.IsZero() {
			p.left = time.Now()
		}
		if time.Since(p.left) < searchFor {
			time.AfterFunc(lastWords, func() { e.touch(p.at, nil) })
			return
		}
		e.log.Warn("parent has moved to where it can't be found or opened", "parent", p.name, "err", err)
	}
	e.log.Info("parent is gone, and its vmacs with it", "parent", p.name)
	e.apply(rules.ParentGone{Parent: p.id})
}

// movePort puts the vmacs of a port behind a new wire. After an error the port is
// without one.
func (e *Engine) movePort(p *port, ns Namespace, dev *netdev) error {
	p.stop()
	<-p.done
	q, err := e.openPort(p.id, ns, dev)
	if err != nil {
		return err
	}
	q.account, q.taken = p.account, p.taken
	q.types, q.typesErr, p.types = p.types, p.typesErr, nil
	q.account.switches.add(p.sw.Stats())
	for _, v := range e.state.Port(p.id).Vmacs {
		d := e.devices[v.ID]
		d.base.add(d.vmac.Stats())
		d.child = hold(d.tap)
		d.vmac, d.known = dataplane.NewVmac(d.name, d.child), false
	}
	delete(e.parents, p.at)
	e.parents[q.at] = q.id
	e.ports[q.id] = q
	p.release()
	q.changed()
	e.published.Broadcast()
	e.lookParent(q)
	e.log.Info("parent opened again", "parent", q.name, "wire", q.why)
	return nil
}
