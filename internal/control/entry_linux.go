package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/config"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// wanted is what files ask for and isn't there yet. But for the first, its
// fields are under the engine's lock.
type wanted struct {
	applying sync.Mutex // one file at a time; taken before the engine's lock

	paths   map[uint64]string // of namespaces, as callers gave them
	waiting []*entry
	hints   map[string]classify.MAC // by entry.key: addresses that were drawn before
	later   []*entry                // of before the restart, until the file makes them
	stir    chan struct{}
	any     atomic.Bool // something waits
	// restored says that the state document has been read and may be replaced.
	restored bool
}

func (w *wanted) init() {
	w.paths, w.hints, w.stir = map[uint64]string{}, map[string]classify.MAC{}, make(chan struct{}, 1)
}

// entry is a vmac that a file, or the state document, asks for.
type entry struct {
	p       *config.Parent
	v       *config.Vmac
	managed bool
	why     string // what it waits for
}

func (w *entry) key() string {
	return fmt.Sprintf("%q %q %q %q", w.p.Netns, w.p.Name, w.p.Home(w.v), w.v.Name)
}

// unfinished says that a vmac was made, and then something that was asked for it
// could not be done.
type unfinished struct{ error }

func (u unfinished) Unwrap() error { return u.error }

// makeEntry makes a vmac that isn't there.
func (e *Engine) makeEntry(ctx context.Context, w *entry) error {
	ns, err := OpenNamespace(netnsPath(w.p.Netns))
	if err != nil {
		return err
	}
	defer ns.Close()
	v := w.v
	mode, flags := uint32(v.Mode), uint16(v.Flags)
	r := LinkRequest{
		Op: "add", Name: v.Name, Parent: w.p.Name, Kind: rules.Kind, TxQLen: &v.TxQueueLen, Up: &v.Up,
		Promisc: v.Promisc, Allmulti: v.Allmulti, Owner: v.Owner, managed: w.managed,
		Data: &MacvlanData{Mode: &mode, Flags: &flags, BCQueueLen: &v.BCQueueLen, BCLim: &w.p.BCLim},
	}
	mac := v.MAC.String()
	if v.MAC != 0 {
		r.Address = &mac
	} else {
		e.mu.Lock()
		r.random = e.hints[w.key()]
		e.mu.Unlock()
	}
	if v.MTU != 0 {
		mtu := uint32(v.MTU)
		r.MTU = &mtu
	}
	if v.Alias != "" {
		r.Alias = &v.Alias
	}
	if len(v.Sources) > 0 {
		set := rules.MacaddrSet
		r.Data.MacaddrMode, r.Data.MacaddrData = &set, macStrings(v.Sources)
	}
	if home := w.p.Home(v); home != w.p.Netns {
		path := netnsPath(home)
		r.ToNetns = &path
	}
	// A passthru vmac is made with its parent's address. It comes up with its own,
	// from which the kernel makes its link-local one.
	later := v.Mode == classify.Passthru && v.MAC != 0
	if later {
		r.Up = nil
	}
	answer, refusal := e.Link(ctx, r, ns)
	if refusal != nil {
		return refusal
	}
	e.mu.Lock()
	d := e.devices[e.vmacs[place{inodeAt(netnsPath(w.p.Home(v))), answer.Link.IfIndex}]]
	if d == nil {
		e.mu.Unlock()
		return deletedMeanwhile()
	}
	if w.managed {
		d.asked = w
	}
	delete(e.hints, w.key())
	err = d.changeAddresses(v.Addresses, nil)
	id := d.id
	e.mu.Unlock()
	if later && answer.Link.Address != mac {
		err = errors.Join(err, e.ask(ctx, id, LinkRequest{Op: "set", Address: &mac}))
	}
	if later && v.Up {
		err = errors.Join(err, e.ask(ctx, id, LinkRequest{Op: "set", Up: &v.Up}))
	}
	if err != nil {
		return unfinished{err}
	}
	return nil
}

func macStrings(list []classify.MAC) []string {
	s := make([]string, len(list))
	for i, m := range list {
		s[i] = m.String()
	}
	return s
}
