package dataplane

import (
	"slices"
	"sync/atomic"

	"github.com/umacvlan/umacvlan/classify"
)

// Vmac is one emulated device of a Switch: a Child and its counters.
type Vmac struct {
	name  string
	child Child

	slot   int32         // where the poller finds it
	serial int32         // tells it from who had the slot before
	seen   uint64        // generation of the last Swap that listed it; under Switch.mu
	gone   atomic.Bool   // left the list; copies that still wait are dropped
	lost   bool          // the device vanished and was reported; transmit loop only
	done   chan struct{} // closed with the Child, when nobody uses it any more

	rx    rxCounters
	tx    txCounters
	stage [workers]stage
}

// NewVmac makes a vmac around c. The switch that it is first swapped into owns
// c from then on. A Vmac belongs to one switch and, once swapped out, to none.
func NewVmac(name string, c Child) *Vmac {
	return &Vmac{name: name, child: c, done: make(chan struct{})}
}

// Name returns the name that the vmac was made with; the device may have been
// renamed since.
func (v *Vmac) Name() string { return v.name }

// Child returns what stands behind the vmac.
func (v *Vmac) Child() Child { return v.child }

// close closes the Child, which nobody uses any more, and tells Drain.
func (v *Vmac) close() error {
	defer close(v.done)
	return v.child.Close()
}

// The data threads. Each has its own counters and staging area.
const (
	rxWorker = iota
	txWorker
	bcWorker
	workers
)

// worker is what one data thread owns.
type worker struct {
	epoch  epoch
	id     int
	copies []classify.Copy // scratch of one decision
	ready  []*Vmac         // vmacs with something staged, in order of their first frame
	soft   software
	count  counters

	// What the current batch adds to count.
	frames  run
	planned uint64
}

// stage holds what one data thread is about to write to a vmac.
type stage struct {
	frames []*Frame
	how    []account
}

// account says how the kernel driver counts a copy.
type account struct {
	bytes int32
	multi bool // counts as multicast
}

// stage queues a copy for v until the next flush.
func (w *worker) stage(v *Vmac, f *Frame, a account) {
	st := &v.stage[w.id]
	if len(st.frames) == 0 {
		w.ready = append(w.ready, v)
	}
	st.frames = append(st.frames, f)
	st.how = append(st.how, a)
}

// fewerFrames orders vmacs by what a worker has staged for them.
var fewerFrames = func() (less [workers]func(a, b *Vmac) int) {
	for id := range less {
		less[id] = func(a, b *Vmac) int { return len(a.stage[id].frames) - len(b.stage[id].frames) }
	}
	return less
}()

// flush ends a batch: it counts it, and writes what is staged, a vmac at a time:
// the one with the fewest frames first, so that it waits for no other's burst.
func (w *worker) flush() {
	w.frames.flush(&w.count.frames)
	if w.planned > 0 {
		w.count.planned.Add(w.planned)
		w.planned = 0
	}
	for _, v := range w.ready {
		if len(v.stage[w.id].frames) != len(w.ready[0].stage[w.id].frames) {
			slices.SortStableFunc(w.ready, fewerFrames[w.id])
			break
		}
	}
	for i, v := range w.ready {
		v.deliver(w)
		w.ready[i] = nil
	}
	w.ready = w.ready[:0]
}

// deliver writes v's staged frames. Each ends as written or as a drop with a
// reason; one that fails doesn't keep back the rest.
func (v *Vmac) deliver(w *worker) {
	st := &v.stage[w.id]
	todo, how := st.frames, st.how
	if !v.child.Offload() {
		v.deliverPlain(w, todo, how)
		todo = nil
	}
	for len(todo) > 0 {
		n, err := v.child.Send(todo)
		v.delivered(w, how[:n])
		if n == len(todo) {
			break
		}
		v.drop(w, childReason(err), 1)
		todo, how = todo[n+1:], how[n+1:]
	}
	clear(st.frames)
	st.frames, st.how = st.frames[:0], st.how[:0]
}

// deliverPlain is deliver for a device without virtio headers: checksums are
// finished and super-frames cut up first. A super-frame still counts once.
func (v *Vmac) deliverPlain(w *worker, frames []*Frame, how []account) {
	for i, f := range frames {
		plain, err := w.soft.plain(f)
		if err != nil {
			v.drop(w, classify.BadOffload, 1)
			continue
		}
		if n, err := v.child.Send(plain); n < len(plain) {
			v.drop(w, childReason(err), 1)
			continue
		}
		v.delivered(w, how[i:i+1])
	}
}

// delivered counts copies that the device took (macvlan_count_rx).
func (v *Vmac) delivered(w *worker, how []account) {
	var bytes, multi uint64
	for _, a := range how {
		bytes += uint64(a.bytes)
		if a.multi {
			multi++
		}
	}
	n := uint64(len(how))
	v.rx.packets.Add(n)
	v.rx.bytes.Add(bytes)
	if multi > 0 {
		v.rx.multicast.Add(multi)
	}
	v.rx.copies[classify.Delivered].Add(n)
	w.count.copies[classify.Delivered].Add(n)
}

// drop counts n copies that were planned for v and did not reach it.
func (v *Vmac) drop(w *worker, r classify.Reason, n uint64) {
	v.rx.copies[r].Add(n)
	w.count.copies[r].Add(n)
}

// skip counts a vmac that a flood walked past.
func (v *Vmac) skip(r classify.Reason) {
	v.rx.copies[r].Add(1)
	if r == classify.OverMTU { // dev_forward_skb counts it, and macvlan_count_rx again
		v.rx.errors.Add(1)
		v.rx.dropped.Add(2)
	}
}
