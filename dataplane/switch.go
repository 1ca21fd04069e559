package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/umacvlan/umacvlan/classify"
)

// Options of a Switch; the zero value is the default.
type Options struct {
	// Gone, if set, is called when the device behind a vmac no longer exists:
	// once per vmac, from a data thread, so it must not block.
	Gone func(v *Vmac)

	// Steal, if set, takes from the parent's own stack what the decision
	// consumes. The switch owns it.
	Steal Taker

	// Fragments holds the fragments of the namespace that the parent is in. If it
	// is nil the switch has one of its own, with a kernel's limits.
	Fragments *Fragments

	// Waking says how the transmit loop waits; empty is WakingYield.
	Waking string
}

// Switch is one port (macvlan_port): a Wire, its vmacs, and the three data
// threads between them. One receives from the parent, one from all vmacs, one
// serves the broadcast queue. Its methods may be called from any goroutine.
type Switch struct {
	wire Wire
	opt  Options
	poll *poller

	snap  atomic.Pointer[snapshot]
	rx    worker // parent → vmacs
	tx    worker // vmacs → parent, and bridge siblings
	bc    worker // the broadcast queue → vmacs
	queue bcQueue
	read  atomic.Uint64 // frames read from vmacs
	sent  byReason      // what became of them

	fragments *Fragments
	datagram  []byte // the last that was put together; receive loop only

	mu      sync.Mutex // orders Swap, Run's end and the reaper
	slots   []*Vmac    // by Vmac.slot; nil is free
	free    []int32    // the free ones
	serial  int32      // of the last vmac that was given a slot
	retired []retired
	reap    chan struct{} // kicks the reaper
	closed  bool
}

// snapshot is what one Swap publishes: a decision, and the vmacs that it speaks
// of. It is immutable.
type snapshot struct {
	gen   uint64
	table *classify.Table
	vmacs []*Vmac // by number in the table
	slots []*Vmac // by slot, as the poller reports them
	index []int32 // slot → number in the table
}

// New makes a switch over w, without vmacs. The switch owns w, and o.Steal; after
// an error they are still the caller's.
func New(w Wire, o Options) (*Switch, error) {
	p, err := newPoller(o.Waking)
	if err != nil {
		return nil, fmt.Errorf("switch: %w", err)
	}
	table, err := classify.NewTable(&classify.Spec{BCLim: classify.DefaultBCLim})
	if err != nil {
		return nil, fmt.Errorf("switch: %w", err)
	}
	s := &Switch{wire: w, opt: o, poll: p, reap: make(chan struct{}, 1), fragments: o.Fragments}
	if s.fragments == nil {
		s.fragments = NewFragments()
	}
	s.rx.id, s.tx.id, s.bc.id = rxWorker, txWorker, bcWorker
	s.queue.init()
	s.snap.Store(&snapshot{gen: 1, table: table})
	return s, nil
}

// Run starts every goroutine and returns when the last has ended: nil after ctx
// is done, or the Wire's error when the parent is gone. It then closes the Wire
// and every Child. Call it once.
func (s *Switch) Run(ctx context.Context) error {
	addProcessors()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, loop := range []func() error{s.receive, s.transmit, s.broadcast} {
		wg.Go(func() {
			if err := loop(); err != nil && !errors.Is(err, net.ErrClosed) {
				stop(err)
			}
		})
	}
	wg.Go(func() { s.reaper(ctx) })

	<-ctx.Done()
	err := s.wire.Close()
	s.mu.Lock()
	if s.closed = true; s.opt.Steal != nil { // what nobody receives is the stack's again
		err = errors.Join(err, s.opt.Steal.Close())
	}
	s.mu.Unlock()
	s.poll.wake()
	s.queue.close()
	wg.Wait()

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.retired {
		err = errors.Join(err, r.v.close())
	}
	for _, v := range s.snap.Load().vmacs {
		err = errors.Join(err, v.close())
	}
	s.retired = nil
	err = errors.Join(err, s.poll.close())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return err
}

// Swap publishes a decision together with the vmacs that it speaks of:
// vmacs[i] stands behind spec.Vmacs[i]. It never blocks a data thread. Then it
// makes the parent's addresses what the spec needs; an error from that leaves
// the new decision in force. Vmacs that are no longer listed are closed as soon
// as every data thread has let go of them (see Drain). After Run has returned it
// returns net.ErrClosed, and the vmacs given stay the caller's.
func (s *Switch) Swap(spec *classify.Spec, vmacs []*Vmac) error {
	if len(spec.Vmacs) != len(vmacs) {
		return fmt.Errorf("switch: %d vmacs for a spec of %d", len(vmacs), len(spec.Vmacs))
	}
	table, err := classify.NewTable(spec)
	if err != nil {
		return fmt.Errorf("switch: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	old := s.snap.Load()
	next := &snapshot{gen: old.gen + 1, table: table, vmacs: append([]*Vmac(nil), vmacs...)}
	var added []*Vmac
	for _, v := range next.vmacs {
		if v.seen == 0 {
			s.place(v)
			added = append(added, v)
		}
		v.seen = next.gen
	}
	for _, v := range old.vmacs {
		if v.seen != next.gen {
			v.gone.Store(true)
			s.poll.remove(v.child.FD())
			s.slots[v.slot] = nil
			s.free = append(s.free, v.slot)
			s.retired = append(s.retired, retired{v, next.gen})
		}
	}
	next.slots = append([]*Vmac(nil), s.slots...)
	next.index = make([]int32, len(s.slots))
	for i, v := range next.vmacs {
		next.index[v.slot] = int32(i)
	}
	s.queue.setCap(table.BCQueueLen())
	// Taken first: what comes between reaches nobody, which is better than a vmac
	// and the host's stack answering both.
	if s.opt.Steal != nil {
		if e := s.opt.Steal.Take(table.Taken()); e != nil {
			err = errors.Join(err, fmt.Errorf("switch: steal: %w", e))
		}
	}
	s.snap.Store(next)
	for _, v := range added {
		if e := s.poll.add(v.child.FD(), v.slot, v.serial); e != nil {
			err = errors.Join(err, fmt.Errorf("switch: vmac %s: %w", v.name, e))
		}
	}
	if len(s.retired) > 0 {
		select {
		case s.reap <- struct{}{}:
		default:
		}
	}
	return errors.Join(err, s.wire.Program(spec.Addresses()))
}

// Keep says which VLANs have a device of their own on the parent (see Taker).
func (s *Switch) Keep(ids []uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.opt.Steal == nil {
		return nil
	}
	return s.opt.Steal.Keep(ids)
}

// Rename says what the parent is called now.
func (s *Switch) Rename(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.opt.Steal == nil {
		return nil
	}
	return s.opt.Steal.Rename(name)
}

// place gives v a slot: one that is free, so that the tables stay small.
func (s *Switch) place(v *Vmac) {
	if n := len(s.free); n > 0 {
		v.slot = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		v.slot = int32(len(s.slots))
		s.slots = append(s.slots, nil)
	}
	s.slots[v.slot] = v
	s.serial++
	v.serial = s.serial
}

// at returns the vmac that an event of the poller is about, nil if it has been
// swapped out since the wait: another may have its slot by now.
func (sn *snapshot) at(slot, serial int32) *Vmac {
	if int(slot) < len(sn.slots) {
		if v := sn.slots[slot]; v != nil && v.serial == serial {
			return v
		}
	}
	return nil
}

// retired is a vmac that left the list with generation gen.
type retired struct {
	v   *Vmac
	gen uint64
}

// reaper closes retired children. A descriptor is closed only when no data
// thread can still write to its number: a reused number would deliver one
// vmac's frames to another.
func (s *Switch) reaper(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.reap:
		}
		for s.closeRetired() > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// closeRetired closes what every data thread has let go of and returns how many
// vmacs still wait.
func (s *Switch) closeRetired() int {
	s.mu.Lock()
	// Read the epochs only now: a thread that was parked before the last Swap may
	// since have entered the snapshot which that replaced.
	oldest := min(s.rx.epoch.oldest(), s.tx.epoch.oldest(), s.bc.epoch.oldest())
	n := 0
	for n < len(s.retired) && s.retired[n].gen <= oldest { // generations only rise
		n++
	}
	free := slices.Clone(s.retired[:n])
	s.mu.Unlock()
	for _, r := range free {
		r.v.close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = slices.Delete(s.retired, 0, n) // not before they are closed, or Drain would miss them
	return len(s.retired)
}

// Drain waits until every vmac that was swapped out before the call is closed.
func (s *Switch) Drain(ctx context.Context) error {
	s.mu.Lock()
	wait := append([]retired(nil), s.retired...)
	s.mu.Unlock()
	for _, r := range wait {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.v.done:
		}
	}
	return nil
}
