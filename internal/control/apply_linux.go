package control

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/config"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// ApplyText makes what runs what a file says. Problems of the file are in the
// report, and nothing is done then; so are the changes that failed. An error is
// what kept the file from being looked at.
func (e *Engine) ApplyText(ctx context.Context, file, text string, dryRun bool) (ApplyReport, error) {
	c, problems := config.Parse(file, []byte(text))
	if c == nil {
		e.log.Error("configuration refused; nothing is changed", "file", file, "problems", len(problems), "first", problems[0].String())
		return ApplyReport{File: file, DryRun: dryRun, Steps: []ApplyStep{}, Problems: problems}, nil
	}
	r, err := e.Apply(ctx, c, dryRun)
	r.Problems = problems
	return r, err
}

// ApplyFile is ApplyText for a file that the daemon can read.
func (e *Engine) ApplyFile(ctx context.Context, file string, dryRun bool) (ApplyReport, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		e.log.Error("configuration can't be read; nothing is changed", "file", file, "err", err)
		return ApplyReport{}, err
	}
	return e.ApplyText(ctx, file, string(text), dryRun)
}

// Apply makes what runs what c says, and touches nothing else. What can't be
// done is said in the report, and the rest is done.
func (e *Engine) Apply(ctx context.Context, c *config.Config, dryRun bool) (ApplyReport, error) {
	e.applying.Lock()
	defer e.applying.Unlock()
	report := ApplyReport{File: c.File, DryRun: dryRun, Steps: []ApplyStep{}}
	if err := e.lock(ctx); err != nil {
		return report, err
	}
	run, devices, _ := e.describeAll(e.homes())
	addresses := e.ipAddresses()
	e.mu.Unlock()
	of := map[*config.Running]rules.VmacID{}
	for i := range run {
		for _, a := range addresses[devices[i].id] {
			run[i].Vmac.Addresses = append(run[i].Vmac.Addresses, a.Prefix)
		}
		of[&run[i]] = devices[i].id
	}
	m := e.newMachine()
	defer m.close()
	plan := config.Diff(run, c, config.Machine{Netns: m.netns, Parent: m.parent})

	report.Notes = plan.Notes
	for _, x := range plan.Refused {
		report.Steps = append(report.Steps, ApplyStep{Op: "conflict", Name: x.Name, Text: "! " + x.Name, Error: x.Text})
	}
	var later []*entry
	for _, s := range plan.Steps {
		var err error
		if !dryRun {
			err = e.step(ctx, &s, of[s.Running])
		}
		if s.Op == config.Adopt {
			report.Notes = append(report.Notes, s.String()[2:])
			continue
		}
		done := ApplyStep{Op: string(s.Op), Name: s.Name(), Text: s.String()}
		if err != nil {
			if s.Op == config.Add {
				later = append(later, &entry{p: s.Parent, v: s.Vmac, managed: true})
			}
			done.Error = err.Error()
			e.log.Error("configuration: change failed", "vmac", s.Name(), "change", done.Text, "err", err)
		} else if !dryRun {
			e.log.Info("configuration: changed", "vmac", s.Name(), "change", done.Text)
		}
		report.Steps = append(report.Steps, done)
	}
	var waiting []*entry
	for _, w := range plan.Waiting {
		waiting = append(waiting, &entry{p: w.Parent, v: w.Vmac, managed: true, why: w.For})
		report.Waiting = append(report.Waiting, w.Vmac.Name+": "+w.For)
	}
	if dryRun {
		return report, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range plan.Same {
		if d := e.devices[of[s.Running]]; d != nil {
			d.asked = &entry{p: s.Parent, v: s.Vmac, managed: true}
		}
	}
	// What somebody made by hand before the restart waits on.
	for _, w := range e.waiting {
		if !w.managed {
			waiting = append(waiting, w)
		}
	}
	e.waitFor(waiting)
	e.later = later
	e.saveSoon()
	return report, nil
}

// step carries out one change.
func (e *Engine) step(ctx context.Context, s *config.Step, id rules.VmacID) error {
	w := &entry{p: s.Parent, v: s.Vmac, managed: true}
	switch s.Op {
	case config.Delete:
		return e.ask(ctx, id, LinkRequest{Op: "delete"})
	case config.Add:
		return e.makeEntry(ctx, w)
	case config.Set:
		if err := e.change(ctx, s, id); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.devices[id]
	if d == nil {
		return deletedMeanwhile()
	}
	d.managed, d.asked = true, w
	for _, a := range w.v.Addresses { // also what it had from others
		if !slices.Contains(d.given, a) && !slices.Contains(s.AddIP, a) {
			d.given = append(slices.Clone(d.given), a)
		}
	}
	if s.Has("owner") {
		d.owner = w.v.Owner
	}
	return d.changeAddresses(s.AddIP, s.DelIP)
}

// ask makes a request about a vmac, wherever it is.
func (e *Engine) ask(ctx context.Context, id rules.VmacID, r LinkRequest) error {
	if err := e.lock(ctx); err != nil {
		return err
	}
	d := e.devices[id]
	if d == nil {
		e.mu.Unlock()
		return deletedMeanwhile()
	}
	if r.Op == "delete" {
		d.asked = nil
	}
	name := d.name
	ns, err := d.home()
	e.mu.Unlock()
	if err != nil {
		return err
	}
	defer ns.Close()
	r.Name = name
	if _, refusal := e.Link(ctx, r, ns); refusal != nil {
		return refusal
	}
	return nil
}

// change makes the requests that a Set asks for.
func (e *Engine) change(ctx context.Context, s *config.Step, id rules.VmacID) error {
	v := s.Vmac
	down, up := false, true
	if s.Has("down") || s.Has("up") && !v.Up {
		// First: it gives up its address.
		if err := e.ask(ctx, id, LinkRequest{Op: "set", Up: &down}); err != nil {
			return err
		}
	}
	r := LinkRequest{Op: "set"}
	data := MacvlanData{}
	var attrs, link bool
	for _, c := range s.Changes {
		mode, flags := uint32(v.Mode), uint16(v.Flags)
		mac, mtu := v.MAC.String(), uint32(v.MTU)
		switch c.Key {
		case "mode":
			data.Mode, attrs = &mode, true
		case "flags":
			data.Flags, attrs = &flags, true
		case "macaddr":
			if v.Mode == classify.Source { // else the change of mode empties it
				set := rules.MacaddrSet
				data.MacaddrMode, data.MacaddrData, attrs = &set, macStrings(v.Sources), true
			}
		case "bcqueuelen":
			data.BCQueueLen, attrs = &v.BCQueueLen, true
		case "bclim":
			data.BCLim, attrs = &s.Parent.BCLim, true
		case "mac":
			r.Address, link = &mac, true
		case "mtu":
			if mtu == 0 {
				mtu = uint32(s.Running.ParentMTU)
			}
			r.MTU, link = &mtu, true
		case "txqueuelen":
			r.TxQLen, link = &v.TxQueueLen, true
		case "up", "again":
			if v.Up {
				r.Up, link = &up, true
			}
		case "promisc":
			r.Promisc, link = v.Promisc, true
		case "allmulticast":
			r.Allmulti, link = v.Allmulti, true
		case "alias":
			alias := v.Alias
			if alias == "" {
				alias = aliasOf(v.Mode, s.Parent.Name)
			}
			r.Alias, link = &alias, true
		}
	}
	if attrs {
		r.Kind, r.Data = rules.Kind, &data
	}
	if !attrs && !link {
		return nil
	}
	return e.ask(ctx, id, r)
}

// machine answers what config.Diff asks; it keeps what it opens until close.
type machine struct {
	e     *Engine
	conns map[string]*conn
	inode map[string]uint64
}

func (e *Engine) newMachine() *machine {
	return &machine{e, map[string]*conn{}, map[string]uint64{}}
}

func (m *machine) close() {
	for _, c := range m.conns {
		if c != nil {
			c.close()
		}
	}
}

// netns finds a namespace, and has its events heard from then on.
func (m *machine) netns(name string) (uint64, bool) {
	if _, asked := m.conns[name]; !asked {
		m.conns[name] = nil
		if ns, err := OpenNamespace(netnsPath(name)); err == nil {
			if c, err := ns.dial(); err == nil {
				m.conns[name], m.inode[name] = c, ns.inode
			}
			if err := m.e.hub.watch(ns); err != nil {
				m.e.log.Warn("watch namespace", "netns", name, "err", err)
			}
			ns.Close()
		}
	}
	return m.inode[name], m.conns[name] != nil
}

// parent finds a device. A vmac stands for its parent (macvlan_common_newlink).
func (m *machine) parent(netns, name string) (uint64, bool) {
	inode, ok := m.netns(netns)
	if !ok {
		return 0, false
	}
	dev, err := m.conns[netns].byName(name)
	if err != nil {
		if !errors.Is(err, unix.ENODEV) {
			m.e.log.Warn("look for parent", "parent", name, "err", err)
		}
		return 0, false
	}
	at := place{inode, dev.index}
	m.e.mu.Lock()
	defer m.e.mu.Unlock()
	if d := m.e.vmacAt(at); d != nil {
		at = m.e.ports[d.parent].at
	}
	return placeID(at), true
}
