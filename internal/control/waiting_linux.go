package control

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// A parent that a file names is waited for: it is looked for when rtnetlink says
// that a device has come, and, as nothing announces a namespace, every now and
// then.
const (
	waitEvery = time.Second
	waitLeast = 20 * time.Millisecond // between two looks
)

// waitFor replaces what is waited for. The caller holds the lock.
func (e *Engine) waitFor(list []*entry) {
	for _, w := range list {
		before := ""
		for _, o := range e.waiting {
			if o.key() == w.key() {
				before = o.why
			}
		}
		if before != w.why {
			e.log.Info("vmac waits", "vmac", w.v.Name, "for", w.why)
		}
	}
	e.waiting = list
	e.any.Store(len(list) > 0)
}

// awaitParent is told that a parent goes: what a file made on it comes back with
// it. The caller holds the lock.
func (e *Engine) awaitParent(id rules.ParentID) {
	rp := e.state.Port(id)
	if rp == nil {
		return
	}
	list := e.waiting
	for _, v := range rp.Vmacs {
		if d := e.devices[v.ID]; d != nil && d.asked != nil {
			list = append(list, e.again(d, "parent "+d.asked.p.Name))
		}
	}
	e.waitFor(list)
}

// awaitNamespace does the same for a vmac that went with its namespace. The
// caller holds the lock.
func (e *Engine) awaitNamespace(d *device) {
	if d.asked == nil {
		return
	}
	home := d.asked.p.Home(d.asked.v)
	if inodeAt(netnsPath(home)) == d.at.netns {
		return // somebody has deleted it
	}
	e.waitFor(append(e.waiting, e.again(d, "namespace "+home)))
}

// again is the entry of a vmac that goes. It will have the same address.
func (e *Engine) again(d *device, why string) *entry {
	w := *d.asked
	w.why = why
	if v, rp := e.state.Vmac(d.id); v != nil && !rp.Passthru {
		e.hints[w.key()] = v.MAC
	}
	d.asked = nil
	return &w
}

// nudge says that something has changed somewhere. It never blocks.
func (e *Engine) nudge() {
	if !e.any.Load() {
		return
	}
	select {
	case e.stir <- struct{}{}:
	default:
	}
}

func (e *Engine) lookForWaiting(ctx context.Context) {
	tick := time.NewTicker(waitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.stir:
		case <-tick.C:
		}
		if !e.any.Load() {
			continue
		}
		e.tryWaiting(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(waitLeast):
		}
	}
}

// tryWaiting makes what can be made now.
func (e *Engine) tryWaiting(ctx context.Context) {
	e.applying.Lock()
	defer e.applying.Unlock()
	e.mu.Lock()
	list := e.waiting
	e.mu.Unlock()
	m := e.newMachine()
	defer m.close()
	done := map[*entry]bool{}
	why := map[*entry]string{}
	for _, w := range list {
		if e.missing(m, w) != "" {
			continue
		}
		err := e.makeEntry(ctx, w)
		var part unfinished
		switch {
		case err == nil:
			e.log.Info("vmac waits no longer", "vmac", w.v.Name, "parent", w.p.Name)
			done[w] = true
		case errors.As(err, &part):
			e.log.Error("vmac waits no longer, but lacks something", "vmac", w.v.Name, "parent", w.p.Name, "err", err)
			done[w] = true
		case errors.Is(err, unix.ENODEV) || ctx.Err() != nil: // gone again
		case errors.Is(err, unix.EEXIST) && !w.managed:
			e.log.Warn("vmac of before the restart is not made: its name is taken", "vmac", w.v.Name)
			done[w] = true
		default:
			// It may become possible: a parent gets its MTU after it has appeared.
			why[w] = err.Error()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var left []*entry
	for _, w := range e.waiting {
		if done[w] {
			continue
		}
		if text := why[w]; text != "" && text != w.why {
			e.log.Error("vmac can't be made yet", "vmac", w.v.Name, "parent", w.p.Name, "err", text)
			w.why = text
		}
		left = append(left, w)
	}
	e.waiting = left
	e.any.Store(len(left) > 0)
	e.saveSoon()
}

// waitingFor is what Status says.
func (e *Engine) waitingFor() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []string
	for _, w := range e.waiting {
		list = append(list, w.v.Name+": "+w.why)
	}
	return list
}
