package dataplane

import (
	"sync/atomic"

	"github.com/umacvlan/umacvlan/classify"
)

// byReason counts by classify.Reason.
type byReason [classify.NumReasons]atomic.Uint64

func (c *byReason) addTo(sum *[classify.NumReasons]uint64) {
	for i := range c {
		sum[i] += c[i].Load()
	}
}

// run adds up equal reasons before it counts them: in a burst they mostly are
// equal, and each locked addition costs as much as the lookup of an address.
type run struct {
	reason classify.Reason
	n      uint64
}

func (r *run) add(c *byReason, reason classify.Reason) {
	if reason != r.reason {
		r.flush(c)
		r.reason = reason
	}
	r.n++
}

func (r *run) flush(c *byReason) {
	if r.n > 0 {
		c[r.reason].Add(r.n)
		r.n = 0
	}
}

// counters are one data thread's share of the port's.
type counters struct {
	seen    atomic.Uint64 // frames taken from Recv
	frames  byReason      // what became of them
	planned atomic.Uint64 // copies
	copies  byReason      // what became of those
	_       [64]byte
}

// rxCounters and txCounters are a vmac's. They sit on cache lines of their own:
// different threads write them.
type rxCounters struct {
	packets, bytes, errors, dropped, multicast atomic.Uint64
	copies                                     byReason
	_                                          [64]byte
}

type txCounters struct {
	packets, bytes, dropped atomic.Uint64
	read                    atomic.Uint64
	sent                    byReason
}

// VmacStats are a vmac's counters: first those of the net_device, with the
// kernel driver's accounting, then copies and frames by reason.
type VmacStats struct {
	RxPackets, RxBytes, RxErrors, RxDropped, Multicast uint64
	TxPackets, TxBytes, TxDropped                      uint64

	Copies [classify.NumReasons]uint64 // copies towards this vmac, floods that passed it by included
	Read   uint64                      // frames read from it, counted by the reader
	Sent   [classify.NumReasons]uint64 // what became of them
}

// Stats returns v's counters since it was made.
func (v *Vmac) Stats() VmacStats {
	st := VmacStats{
		RxPackets: v.rx.packets.Load(), RxBytes: v.rx.bytes.Load(), RxErrors: v.rx.errors.Load(),
		RxDropped: v.rx.dropped.Load(), Multicast: v.rx.multicast.Load(),
		TxPackets: v.tx.packets.Load(), TxBytes: v.tx.bytes.Load(), TxDropped: v.tx.dropped.Load(),
		Read: v.tx.read.Load(),
	}
	v.rx.copies.addTo(&st.Copies)
	v.tx.sent.addTo(&st.Sent)
	return st
}

// SwitchStats are the port's counters since it was made, including those of
// vmacs that are gone. On a quiet switch
//
//	Wire.Packets = Wire.Received + Wire.Drops
//	Wire.Received = Seen = the sum of Frames
//	Planned = the sum of Copies + InQueue
//	Read = the sum of Sent
type SwitchStats struct {
	Wire    WireStats
	Seen    uint64                      // frames taken from Recv
	Frames  [classify.NumReasons]uint64 // what became of them
	Planned uint64                      // copies planned, without those that a flood passed by
	Copies  [classify.NumReasons]uint64 // what became of those
	InQueue uint64                      // copies waiting in the broadcast queue
	Read    uint64                      // frames read from all vmacs
	Sent    [classify.NumReasons]uint64 // what became of those
}

// Stats returns the port's counters.
func (s *Switch) Stats() SwitchStats {
	st := SwitchStats{Wire: s.wire.Stats(), InQueue: uint64(s.queue.waiting.Load()), Read: s.read.Load()}
	for _, w := range []*worker{&s.rx, &s.tx, &s.bc} {
		st.Seen += w.count.seen.Load()
		st.Planned += w.count.planned.Load()
		w.count.frames.addTo(&st.Frames)
		w.count.copies.addTo(&st.Copies)
	}
	s.sent.addTo(&st.Sent)
	return st
}
