package dataplane

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/umacvlan/umacvlan/classify"
)

// bcQueue is the port's broadcast queue (macvlan_broadcast_enqueue and
// macvlan_process_broadcast): groups wait here, so that unicast doesn't wait
// behind them. Its length is counted in frames, as the kernel does, and doesn't
// contain the backlog that the worker has taken.
type bcQueue struct {
	mu      sync.Mutex
	ready   sync.Cond
	items   []*bcItem
	limit   int
	closed  bool
	unused  []*bcItem
	kept    int          // bytes in unused
	waiting atomic.Int64 // copies, the worker's backlog included
}

// bcItem is one frame with the vmacs that it is meant for. It owns its bytes.
type bcItem struct {
	frame Frame
	buf   []byte
	to    []bcCopy
}

type bcCopy struct {
	v   *Vmac
	how account
}

// bcKeep is how many bytes are kept in items for reuse, once a storm is over.
const bcKeep = 4 << 20

// size is what the item takes, about.
func (it *bcItem) size() int { return 128 + cap(it.buf) + 16*cap(it.to) }

func (q *bcQueue) init() { q.ready.L = &q.mu }

func (q *bcQueue) setCap(n int) {
	q.mu.Lock()
	q.limit = n
	q.mu.Unlock()
}

// item returns an empty item.
func (q *bcQueue) item() *bcItem {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.unused); n > 0 {
		it := q.unused[n-1]
		q.unused[n-1], q.unused = nil, q.unused[:n-1]
		q.kept -= it.size()
		return it
	}
	return new(bcItem)
}

// put queues a clone of f for it.to, or, if the queue is full, counts every one
// of its copies as dropped. It reports which.
func (q *bcQueue) put(w *worker, it *bcItem, f *Frame) bool {
	q.mu.Lock()
	full := len(q.items) >= q.limit || q.closed
	if !full {
		f.cloneInto(&it.frame, &it.buf)
		q.waiting.Add(int64(len(it.to)))
		q.items = append(q.items, it)
		q.ready.Signal()
	}
	q.mu.Unlock()
	if full {
		for _, c := range it.to {
			c.v.drop(w, classify.BCQueueFull, 1)
		}
		q.recycle(it)
	}
	return !full
}

func (q *bcQueue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) >= q.limit
}

// take blocks until there is something and returns all of it; back is the
// slice of an earlier take, for reuse. After close it returns what was left, too.
func (q *bcQueue) take(back []*bcItem) ([]*bcItem, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.ready.Wait()
	}
	items := q.items
	q.items = back[:0]
	if q.closed {
		return items, net.ErrClosed
	}
	return items, nil
}

func (q *bcQueue) ended() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

func (q *bcQueue) recycle(items ...*bcItem) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range items {
		clear(it.to)
		it.to = it.to[:0]
		if size := it.size(); q.kept+size <= bcKeep {
			q.kept += size
			q.unused = append(q.unused, it)
		}
	}
}

func (q *bcQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.ready.Broadcast()
	q.mu.Unlock()
}

// bcTurn is how many frames the worker stages before it writes them.
const bcTurn = 64

// broadcast is the loop from the queue to the vmacs. Frames that still wait
// when the switch ends are dropped with it.
func (s *Switch) broadcast() error {
	var backlog []*bcItem
	for {
		s.bc.epoch.park()
		items, err := s.queue.take(backlog)
		if err != nil {
			s.abandon(items)
			return err
		}
		for todo := items; len(todo) > 0; {
			if s.queue.ended() { // thousands of vmacs would keep Run waiting
				s.abandon(todo)
				break
			}
			n := min(bcTurn, len(todo))
			s.bc.epoch.enter(&s.snap) // a vmac that is not gone now stays open until the next park
			s.broadcastTurn(todo[:n])
			s.bc.epoch.park()
			todo = todo[n:]
		}
		clear(items)
		backlog = items
	}
}

// abandon drops what nobody serves any more.
func (s *Switch) abandon(items []*bcItem) {
	for _, it := range items {
		for _, c := range it.to {
			c.v.drop(&s.bc, classify.VmacGone, 1)
		}
		s.queue.waiting.Add(-int64(len(it.to)))
	}
}

func (s *Switch) broadcastTurn(items []*bcItem) {
	var copies int64
	for _, it := range items {
		copies += int64(len(it.to))
		for _, c := range it.to {
			if c.v.gone.Load() {
				c.v.drop(&s.bc, classify.VmacGone, 1)
				continue
			}
			s.bc.stage(c.v, &it.frame, c.how)
		}
	}
	s.bc.flush()
	s.queue.waiting.Add(-copies)
	s.queue.recycle(items...)
}
