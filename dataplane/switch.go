package dataplane

import (
	"context"

	"github.com/umacvlan/umacvlan/classify"
)

// Options of a Switch; the zero value is the default.
type Options struct {
	// Gone, if set, is called (from a data thread; it must not block) when the
	// device behind a vmac no longer exists.
	Gone func(v *Vmac)
}

// Switch is one port: a Wire, its vmacs, and the threads between them.
type Switch struct{}

// Vmac is one emulated device of a Switch: a Child and its counters.
type Vmac struct{}

// NewVmac makes a vmac around c. The Switch that it is swapped into owns c from
// then on and closes it when no data thread can use it any more.
func NewVmac(name string, c Child) *Vmac { return &Vmac{} }

// New makes a switch over w, with no vmacs. It owns w.
func New(w Wire, o Options) *Switch { return &Switch{} }

// Run starts every goroutine and returns when the last has ended: after ctx is
// done, or when the parent is gone. It closes the Wire and every Child.
func (s *Switch) Run(ctx context.Context) error { return nil }

// Swap publishes a decision together with the vmacs that it speaks of:
// vmacs[i] stands behind spec.Vmacs[i]. It never blocks a data thread. It also
// programs the Wire with what the spec needs. Vmacs that are no longer listed
// are closed as soon as every data thread has let go of them.
func (s *Switch) Swap(spec *classify.Spec, vmacs []*Vmac) error { return nil }

// Drain waits until every vmac that has been swapped out is closed.
func (s *Switch) Drain(ctx context.Context) error { return nil }

// VmacStats are a vmac's counters: the first block with the kernel driver's
// accounting, then copies and frames by reason.
type VmacStats struct {
	RxPackets, RxBytes, RxErrors, RxDropped, Multicast uint64
	TxPackets, TxBytes, TxDropped                      uint64

	Copies [classify.NumReasons]uint64 // copies towards this vmac
	Sent   [classify.NumReasons]uint64 // frames read from it
	Read   uint64                      // frames read from it, counted by the reader
}

// Stats returns v's counters since it was made.
func (v *Vmac) Stats() VmacStats { return VmacStats{} }

// SwitchStats are the port's counters, including those of vmacs that are gone.
type SwitchStats struct {
	Wire    WireStats
	Seen    uint64                      // frames that Recv gave, counted by the loop
	Frames  [classify.NumReasons]uint64 // what became of them
	Read    uint64                      // frames read from all vmacs
	Sent    [classify.NumReasons]uint64 // what became of those
	Planned uint64                      // copies planned
	Copies  [classify.NumReasons]uint64 // what became of those
	InQueue uint64                      // copies waiting in the broadcast queue
}

// Stats returns the port's counters.
func (s *Switch) Stats() SwitchStats { return SwitchStats{} }
