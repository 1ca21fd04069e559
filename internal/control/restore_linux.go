package control

import (
	"context"
	"errors"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// saveUntil writes the state document whenever something has changed.
func (e *Engine) saveUntil(ctx context.Context) {
	s := e.states
	if s == nil {
		return
	}
	var retry <-chan time.Time
	wait := saveAfter
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-retry:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		start := time.Now()
		e.mu.Lock()
		if e.closing || !e.restored {
			e.mu.Unlock()
			continue
		}
		doc := e.document()
		e.mu.Unlock()
		retry = nil
		if s.write(doc) != nil {
			retry = time.After(retryAfter)
		}
		// With thousands of vmacs it takes long, and shall not be all that is done.
		wait = max(saveAfter, 4*time.Since(start))
	}
}

// Restore makes what the state document says that an earlier daemon had, and
// gives parents back the address that one which was killed had taken from them.
// With config what a configuration file had made is left to Apply, which gives
// it the addresses that were drawn for it. What fails is logged, and the rest is
// done. Nothing is written to the document before Restore.
func (e *Engine) Restore(ctx context.Context, withConfig bool) error {
	if e.states == nil {
		return nil
	}
	e.applying.Lock()
	defer e.applying.Unlock()
	if err := e.lock(ctx); err != nil {
		return err
	}
	e.mu.Unlock()
	m := e.newMachine()
	defer m.close()
	var waiting, later []*entry
	made := 0
	for _, sp := range e.states.before.Parents {
		if sp.Original != 0 {
			e.giveBack(m, sp)
		}
		for _, sv := range sp.Vmacs {
			p, v := sp.Parent, sv.Vmac
			w := &entry{p: &p, v: &v, managed: sv.Managed}
			if sv.Drawn != 0 {
				e.mu.Lock()
				e.hints[w.key()] = sv.Drawn
				e.mu.Unlock()
			}
			if sv.Managed && withConfig {
				later = append(later, w)
				continue
			}
			if w.why = e.missing(m, w); w.why != "" {
				if home := p.Home(&v); !sv.Managed && w.why == "namespace "+home {
					e.log.Warn("vmac of before the restart is not made: its namespace is gone", "vmac", v.Name, "netns", home)
					continue
				}
				waiting = append(waiting, w)
				continue
			}
			err := e.makeEntry(ctx, w)
			var part unfinished
			switch {
			case errors.As(err, &part):
				e.log.Error("vmac of before the restart lacks something", "vmac", v.Name, "parent", p.Name, "err", err)
			case err != nil:
				e.log.Error("vmac of before the restart can't be made", "vmac", v.Name, "parent", p.Name, "err", err)
				continue
			}
			made++
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waitFor(waiting)
	e.later = later
	e.restored = true
	e.saveSoon()
	if made > 0 || len(waiting) > 0 {
		e.log.Info("restored", "file", e.states.path, "vmacs", made, "waiting", len(waiting))
	}
	return nil
}

// missing says what an entry has to wait for, if anything.
func (e *Engine) missing(m *machine, w *entry) string {
	if _, ok := m.netns(w.p.Netns); !ok {
		return "namespace " + w.p.Netns
	}
	if home := w.p.Home(w.v); home != w.p.Netns {
		if _, ok := m.netns(home); !ok {
			return "namespace " + home
		}
	}
	if _, ok := m.parent(w.p.Netns, w.p.Name); !ok {
		return "parent " + w.p.Name
	}
	return ""
}

// giveBack undoes what a daemon that was killed could not: a parent that still
// has its passthru vmac's address gets its own back (macvlan_port_destroy). One
// that somebody has given another since is left alone.
func (e *Engine) giveBack(m *machine, sp stateParent) {
	if _, ok := m.netns(sp.Netns); !ok {
		return
	}
	c := m.conns[sp.Netns]
	dev, err := c.byName(sp.Name)
	if err != nil || dev.mac != sp.Taken || dev.mac == sp.Original {
		return
	}
	b := sp.Original.Bytes()
	if err := c.set(dev.index, 0, 0, nl.NewRtAttr(unix.IFLA_ADDRESS, b[:])); err != nil {
		e.log.Error("parent keeps the address of the passthru vmac of a daemon that was killed", "parent", sp.Name, "mac", sp.Original, "err", err)
		return
	}
	e.log.Info("parent has its own address back, which a daemon that was killed had taken", "parent", sp.Name, "mac", sp.Original)
}
