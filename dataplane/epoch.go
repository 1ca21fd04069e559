package dataplane

import (
	"math"
	"sync/atomic"
)

// epoch says which snapshot a data thread is using: its generation, or 0 while
// the thread is parked and uses none. A child that left the list with
// generation g may be closed once oldest() >= g for every thread.
type epoch struct {
	gen   atomic.Uint64
	turns atomic.Uint64
	_     [48]byte // each thread writes its own cache line
}

// enter takes the current snapshot. The second load makes sure that whoever
// published a newer one has either been seen here or sees this thread's entry.
func (e *epoch) enter(cur *atomic.Pointer[snapshot]) *snapshot {
	e.turns.Add(1)
	for {
		sn := cur.Load()
		e.gen.Store(sn.gen)
		if cur.Load() == sn {
			return sn
		}
	}
}

// park lets go of the snapshot, before a call that may block.
func (e *epoch) park() { e.gen.Store(0) }

func (e *epoch) oldest() uint64 {
	if g := e.gen.Load(); g != 0 {
		return g
	}
	return math.MaxUint64
}
