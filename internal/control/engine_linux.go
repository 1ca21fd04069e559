package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// EngineOptions configures an Engine; the zero value is the default.
type EngineOptions struct {
	// Logger receives what happens to vmacs that nobody asked for through Link;
	// nil discards it.
	Logger *slog.Logger

	// Wire configures how parents are opened.
	Wire dataplane.WireOptions

	// Steal is what takes from the parents' own stacks what macvlan consumes: one
	// of dataplane.StealRungs, "" is auto. A rung that is asked for and isn't to
	// be had keeps parents from being opened.
	Steal string

	// AbandonedEvery is how often to look whether a network namespace is kept
	// alive by this process alone, which then lets go of it; 0 is never. For a
	// process that keeps no namespaces for other reasons. Only with it vmacs are
	// made in namespaces with a name at once, not elsewhere and moved there.
	AbandonedEvery time.Duration

	// State, if set, is where the engine writes what it has made, on every change.
	State *StateFile
}

// Engine makes vmacs and keeps them as the kernel driver would, on any number
// of parents in any number of network namespaces. All methods may be called
// from any number of goroutines; requests are served one after the other, as
// under the kernel's RTNL.
//
// A namespace that holds a parent lives on until the parent has no vmac left,
// because the parent's socket is in it, and one with a name in which a vmac was
// made until that has gone (see EngineOptions.AbandonedEvery for both); another
// that only holds vmacs does not.
type Engine struct {
	log  *slog.Logger
	wire dataplane.WireOptions

	steal string

	abandonedEvery time.Duration

	running chan struct{} // closed when requests are served
	ended   chan struct{} // closed when they no longer are
	once    sync.Once
	wg      sync.WaitGroup

	fragments fragments

	mu         sync.Mutex // everything below, as RTNL
	closing    bool
	hub        *hub
	state      rules.State
	ports      map[rules.ParentID]*port
	devices    map[rules.VmacID]*device
	parents    map[place]rules.ParentID
	vmacs      map[place]rules.VmacID
	conns      map[uint64]*conn  // by namespace, those of the present request
	leaving    []*device         // decided by the rules, not yet deleted
	dying      map[place]*device // being deleted
	lastParent rules.ParentID
	ending     int // ports that have no vmac any more, but still a thread
	published  *sync.Cond

	wanted // what a file asks for
	states *StateFile

	dirtyMu sync.Mutex
	dirty   dirt
	kick    chan struct{}
}

// NewEngine makes an Engine. It does nothing until Run.
func NewEngine(o EngineOptions) *Engine {
	e := &Engine{
		log: o.Logger, wire: o.Wire, steal: o.Steal, abandonedEvery: o.AbandonedEvery,
		running: make(chan struct{}), ended: make(chan struct{}), kick: make(chan struct{}, 1),
		ports: map[rules.ParentID]*port{}, devices: map[rules.VmacID]*device{},
		parents: map[place]rules.ParentID{}, vmacs: map[place]rules.VmacID{},
		dying: map[place]*device{},
		state: rules.NewState(rules.VmacID(rand.Uint32())),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.published = sync.NewCond(&e.mu)
	e.wanted.init()
	e.states = o.State
	e.dirty.reset()
	return e
}

var (
	errNotRunning = errors.New("control: the engine is not running")
	errRunTwice   = errors.New("control: Run called twice")
)

// Run starts every goroutine and returns when the last has ended, after ctx is
// done. Nothing is left then: no device, no membership on a parent, no
// descriptor. It may be called once. Link and Links may be called before: they
// wait for it.
func (e *Engine) Run(ctx context.Context) error {
	first := false
	e.once.Do(func() { first = true })
	if !first {
		return errRunTwice
	}
	defer close(e.ended)
	hub, err := newHub()
	if err != nil {
		return fmt.Errorf("run engine: %w", err)
	}
	hub.event = func(at place, last *netdev) { e.touch(at, last); e.nudge() }
	hub.lost = e.touchAll
	hub.gone = e.touchNetns
	e.hub = hub
	close(e.running)

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	e.wg.Go(func() {
		if err := hub.run(); ctx.Err() == nil {
			stop(fmt.Errorf("run engine: %w", err))
		}
	})
	e.wg.Go(func() { e.reconcileUntil(ctx) })
	e.wg.Go(func() { e.lookForWaiting(ctx) })
	e.wg.Go(func() { e.saveUntil(ctx) })
	e.wg.Go(func() { e.pollUntil(ctx) })
	if e.abandonedEvery > 0 {
		e.wg.Go(func() { e.letGo(ctx) })
	}

	<-ctx.Done()
	e.mu.Lock()
	e.save() // nothing of what follows
	e.closing = true
	e.removeEverything()
	e.mu.Unlock()
	hub.close()
	e.wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// lock waits for Run and takes the lock.
func (e *Engine) lock(ctx context.Context) error {
	select {
	case <-e.running:
	case <-e.ended:
		return errNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return errNotRunning
	}
	return nil
}

// removeEverything leaves nothing of what the engine has made.
func (e *Engine) removeEverything() {
	for _, p := range e.ports {
		p.stop()
	}
	var devices []*device
	for _, d := range e.devices {
		<-e.ports[d.parent].done
		devices = append(devices, d)
	}
	removeDevices(devices)
	for _, p := range e.state.Ports() {
		// The rules know what a passthru vmac's parent gets back.
		for _, v := range p.Vmacs {
			state, _, actions := rules.Apply(e.state, rules.VmacGone{Vmac: v.ID})
			e.state = state
			for _, a := range actions {
				if a.Kind == rules.SetParentMAC {
					if err := e.ports[a.Parent].setMAC(a.MAC); err != nil && !errors.Is(err, unix.ENODEV) {
						e.log.Warn("parent keeps the address of its passthru vmac", "parent", p.Parent.Name, "err", err)
					}
				}
			}
		}
	}
	for _, p := range e.ports {
		<-p.done
		p.release()
	}
	clear(e.ports)
	clear(e.devices)
	clear(e.parents)
	clear(e.vmacs)
	e.published.Broadcast()
}

// apply takes an input to the rules and carries out what they answer. The caller
// holds the lock.
func (e *Engine) apply(in rules.Input) rules.Answer {
	before := e.state
	if gone, ok := in.(rules.ParentGone); ok {
		e.awaitParent(gone.Parent)
	}
	state, answer, actions := rules.Apply(e.state, in)
	e.state = state
	e.saveSoon()
	for _, p := range before.Ports() {
		if now := state.Port(p.Parent.ID); now != nil && now != p {
			e.ports[p.Parent.ID].changed()
		}
	}
	for _, a := range actions {
		if err := e.execute(a); err != nil && answer.OK() {
			answer = answerOf(err)
		}
	}
	e.bury()
	for id, p := range e.ports {
		if e.state.Port(id) == nil && before.Port(id) != nil {
			e.closePort(p)
		}
	}
	return answer
}

// closePort is macvlan_port_destroy. The caller holds the lock.
func (e *Engine) closePort(p *port) {
	delete(e.ports, p.id)
	delete(e.parents, p.at)
	e.ending++
	p.stop()
	e.wg.Go(func() {
		<-p.done
		e.mu.Lock()
		defer e.mu.Unlock()
		p.release()
		e.ending--
		e.published.Broadcast()
	})
}

// execute carries out one action. What fails because a device has just gone is
// noticed by other means.
func (e *Engine) execute(a rules.Action) error {
	d := e.devices[a.Vmac]
	if a.Kind == rules.SetParentMAC {
		return e.setParentMAC(a)
	}
	if d == nil {
		return nil
	}
	var err error
	switch a.Kind {
	case rules.SetMAC:
		err = d.tap.SetMAC(a.MAC.Bytes())
	case rules.ChangeMTU:
		err = d.tap.SetMTU(a.MTU)
	case rules.SetDown:
		err = d.tap.SetUp(false)
	case rules.SetCarrier:
		err = d.tap.SetCarrier(a.On)
	case rules.AddGroup, rules.DelGroup:
		err = d.changeGroup(a.MAC, a.Kind == rules.AddGroup)
	case rules.Delete:
		e.detach(d)
	}
	if err != nil && !gone(err) {
		e.log.Warn("vmac device refused a change", "vmac", d.name, "err", err)
		return err
	}
	return nil
}

// setParentMAC is dev_set_mac_address on the parent, and the notification that
// makes a passthru vmac follow.
func (e *Engine) setParentMAC(a rules.Action) error {
	p := e.ports[a.Parent]
	if p == nil {
		return nil
	}
	had := p.taken
	p.taken = a.MAC
	e.save() // before: a daemon that is killed now has to find it
	err := p.setMAC(a.MAC)
	if err != nil {
		p.taken = had
		e.saveSoon()
		e.log.Warn("parent refused an address", "parent", p.name, "mac", a.MAC, "err", err)
		if rp := e.state.Port(a.Parent); rp != nil && rp.Passthru {
			v := rp.Vmacs[0]
			e.execute(rules.Action{Kind: rules.SetMAC, Vmac: v.ID, MAC: v.MAC})
		}
		return err
	}
	e.lookParent(p)
	return nil
}

// gone reports whether err says that the device no longer exists.
func gone(err error) bool {
	return errors.Is(err, unix.EBADFD) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

func answerOf(err error) rules.Answer {
	r := refusalOf(err, "")
	return rules.Answer{Errno: unix.Errno(r.Errno), Text: r.Text, Hint: r.Hint}
}

// Status describes the engine; Socket and Version are the caller's to fill.
func (e *Engine) Status() Status {
	s := Status{PID: unix.Getpid(), Parents: []string{}, Steal: []string{}, Kernel: Kernel(), Features: features()}
	s.Waiting, s.State = e.waitingFor(), e.states.status()
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Ending = e.ending
	for _, p := range e.state.Ports() {
		s.Parents = append(s.Parents, p.Parent.Name)
		s.Vmacs += len(p.Vmacs)
		if at := e.ports[p.Parent.ID]; at != nil {
			s.Steal = append(s.Steal, p.Parent.Name+": "+at.steal)
		}
	}
	return s
}
