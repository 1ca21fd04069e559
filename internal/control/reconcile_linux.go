package control

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control/rules"
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

// reconcileUntil looks at what has changed, and now and then at what changes
// without notice.
func (e *Engine) reconcileUntil(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
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
		case <-tick.C:
			e.pollGroups()
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
		if work.all {
			for at := range e.parents {
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

// lastWords is how long the RTM_DELLINK of a parent that isn't there any more is
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
	q.account = p.account
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

// lookVmac takes over what the device behind a vmac is like now. The caller
// holds the lock.
func (e *Engine) lookVmac(d *device) rules.Answer {
	seen, err := e.see(d)
	switch {
	case gone(err):
		e.log.Info("vmac is gone", "vmac", d.name)
		e.vmacLost(d)
		return rules.Answer{}
	case errors.Is(err, errMissed):
		at := d.at
		time.AfterFunc(10*time.Millisecond, func() { e.touch(at, nil) })
		return rules.Answer{}
	case err != nil:
		e.log.Warn("look at vmac", "vmac", d.name, "err", err)
		return rules.Answer{}
	}
	v, rp := e.state.Vmac(d.id)
	if v == nil || same(v, seen) {
		return rules.Answer{}
	}
	if v.MAC != seen.MAC || v.MTU != seen.MTU || v.Up != seen.Up {
		// The answer depends on what the parent is like.
		e.lookParent(e.ports[rp.Parent.ID])
		if e.devices[d.id] != d {
			return rules.Answer{}
		}
	}
	a := e.apply(seen)
	if !a.OK() {
		e.log.Warn("taken back what macvlan doesn't allow", "vmac", d.name, "errno", a.Errno, "why", a.Hint)
	}
	return a
}

// see asks the kernel, and makes d.at what it is.
func (e *Engine) see(d *device) (rules.VmacSeen, error) {
	var seen rules.VmacSeen
	err := d.visit(func(ns Namespace, c *conn, dev *netdev) error {
		at := place{ns.inode, dev.index}
		if at != d.at {
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
		d.name = dev.name
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

// vmacLost tidies up behind a device that others have deleted.
func (e *Engine) vmacLost(d *device) {
	e.apply(rules.DelLink{Vmac: d.id})
}

// pollGroups reads the group lists of all up vmacs, a namespace at a time.
func (e *Engine) pollGroups() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return
	}
	var up []*device
	read := map[uint64]map[int][]classify.MAC{}
	for _, p := range e.state.Ports() {
		for _, v := range p.Vmacs {
			if v.Up {
				up = append(up, e.devices[v.ID])
			}
		}
	}
	for _, d := range up {
		lists, ok := read[d.at.netns]
		if !ok {
			err := d.visit(func(ns Namespace, c *conn, _ *netdev) (err error) {
				if ns.inode == d.at.netns {
					lists, err = c.groups(0)
				}
				return err
			})
			if err != nil || lists == nil {
				e.touch(d.at, nil)
				continue
			}
			read[d.at.netns] = lists
		}
		if v, _ := e.state.Vmac(d.id); v != nil && !slices.Equal(v.Groups, lists[d.at.index]) {
			e.touch(d.at, nil)
		}
	}
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
