package dataplane

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane/defrag"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// Fragments holds the IPv4 fragments of groups that wait for the rest of their
// datagrams. As in the kernel they belong to a network namespace: switches whose
// parents are in the same one share them. Its methods may be called from any
// goroutine.
type Fragments struct {
	mu      sync.Mutex
	queues  *defrag.Queues
	start   time.Time
	waiting atomic.Bool
}

// NewFragments returns a Fragments that holds nothing, with the limits that a
// kernel starts with.
func NewFragments() *Fragments {
	return &Fragments{queues: defrag.New(defrag.DefaultLimits()), start: time.Now()}
}

// Stats returns the counters.
func (h *Fragments) Stats() defrag.Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.queues.Stats()
}

// Expire lets go of what has waited too long, and reports whether nothing is
// left. Receiving calls it as it goes.
func (h *Fragments) Expire() (empty bool) {
	if !h.waiting.Load() {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queues.Expire(time.Since(h.start))
	empty = h.queues.Empty()
	h.waiting.Store(!empty)
	return empty
}

// add takes a fragment. If that makes its datagram whole, the frame is that; its
// bytes are in *buf, which is grown if it is too small.
func (h *Fragments) add(f *Frame, buf *[]byte) (whole Frame, ok bool, reason classify.Reason) {
	beside := defrag.Beside{Type: f.Type, Untagged: f.Untagged}
	switch flags := vnet.Parse(f.Raw).Flags; {
	case flags&vnet.FlagNeedsCsum != 0:
		beside.Checksum = defrag.ChecksumPartial
	case flags&vnet.FlagDataValid != 0:
		beside.Checksum = defrag.ChecksumUnnecessary
	}
	h.mu.Lock()
	*buf, beside, ok, reason = h.queues.Add((*buf)[:0], f.Raw, vnet.HdrLen, beside, time.Since(h.start))
	h.waiting.Store(!h.queues.Empty())
	h.mu.Unlock()
	if !ok {
		return Frame{}, false, reason
	}
	if beside.Checksum == defrag.ChecksumNone {
		hdr := vnet.Parse(*buf)
		hdr.Flags, hdr.CsumStart, hdr.CsumOffset = 0, 0, 0
		hdr.Put(*buf)
	}
	return Frame{Raw: *buf, Type: beside.Type, Untagged: beside.Untagged}, true, reason
}

// collects says that a frame takes part in the reassembly. What the host itself
// sent never does, and without a vmac there is nothing that would collect.
func collects(sn *snapshot, f *Frame) bool {
	b := f.Bytes()
	if len(b) == 0 || b[0]&1 == 0 || len(sn.vmacs) == 0 || f.Type == classify.TypeOutgoing || f.Type == classify.TypeLoopback {
		return false
	}
	_, is := classify.Fragment(b)
	return is
}

// collect is ip_check_defrag in macvlan_handle_frame: it takes a fragment, and
// decides the datagram that it makes whole.
func (s *Switch) collect(sn *snapshot, f *Frame) {
	whole, ok, reason := s.fragments.add(f, &s.datagram)
	if !ok {
		s.rx.frames.add(&s.rx.count.frames, reason)
		return
	}
	s.decide(sn, &whole)
	s.rx.flush() // the next datagram is put together in the same place
}
