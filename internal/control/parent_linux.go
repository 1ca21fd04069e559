package control

import (
	"errors"
	"os"
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
	now := describe(p.id, dev, p.conn)
	if old.Parent != now {
		if now.Busy != "" && now.Busy != old.Parent.Busy {
			e.log.Warn("parent has been given to another device, which gets its frames too", "parent", now.Name, "device", now.Busy)
		}
		e.apply(rules.ParentSeen{Parent: now})
		if old.Parent.Name != now.Name {
			for _, v := range e.state.Port(p.id).Vmacs {
				e.setAlias(e.devices[v.ID])
			}
		}
	}
	select {
	case <-p.done:
		// The wire broke though the device is there.
		e.movePort(p, p.ns, dev)
	default:
	}
}

// lastWords is how long the RTM_DELLINK of a device that isn't there any more is
// waited for.
const lastWords = 50 * time.Millisecond

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
		ns, err := p.newHome()
		if err == nil {
			defer ns.Close()
			index := p.last.index
			if p.last.newIndex != 0 {
				index = p.last.newIndex
			}
			var dev *netdev
			c, err := ns.dial()
			if err == nil {
				dev, err = c.byIndex(index)
				c.close()
			}
			if err == nil {
				e.movePort(p, ns, dev)
				return
			}
		}
		e.log.Warn("parent has moved to a namespace that can't be found", "parent", p.name, "err", err)
	}
	e.log.Info("parent is gone, and its vmacs with it", "parent", p.name)
	e.apply(rules.ParentGone{Parent: p.id})
}

// newHome finds the namespace that the parent has moved to, of which it is only
// known by which number the old one calls it.
func (p *port) newHome() (Namespace, error) {
	for _, path := range namespaceFiles() {
		ns, err := OpenNamespace(path)
		if err != nil {
			continue
		}
		if id, err := p.conn.nsid(ns); err == nil && int(id) == p.last.newNetnsID {
			return ns, nil
		}
		ns.Close()
	}
	return Namespace{}, os.ErrNotExist
}

// movePort puts the vmacs of a port behind a new wire.
func (e *Engine) movePort(p *port, ns Namespace, dev *netdev) {
	p.stop()
	<-p.done
	q, err := e.openPort(p.id, ns, dev)
	if err != nil {
		e.log.Warn("parent can't be opened again; its vmacs go", "parent", p.name, "err", err)
		e.apply(rules.ParentGone{Parent: p.id})
		return
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
}

// namespaceFiles lists the namespaces that can be found: named ones and those of
// processes.
func namespaceFiles() []string {
	var files []string
	for _, dir := range []struct{ path, file string }{{namedNamespaces, ""}, {"/proc", "/ns/net"}} {
		entries, _ := os.ReadDir(dir.path)
		for _, e := range entries {
			if dir.file == "" || e.Name()[0] >= '0' && e.Name()[0] <= '9' {
				files = append(files, dir.path+"/"+e.Name()+dir.file)
			}
		}
	}
	return files
}
