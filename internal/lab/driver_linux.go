package lab

import (
	"fmt"
	"net"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/vishvananda/netlink"
)

// Vmac is what a vmac is made from.
type Vmac struct {
	Name  string
	Mode  classify.Mode
	Flags classify.Flags
	MAC   net.HardwareAddr // nil: chosen by the driver
	NS    *NS              // where it shall live; nil: beside its parent

	Sources    []net.HardwareAddr
	BCQueueLen *uint32
	BCLim      *int32
}

// Counters are a vmac's counters as "ip -s link" shows a macvlan's.
type Counters struct {
	RxPackets, RxBytes, RxErrors, RxDropped, Multicast uint64
	TxPackets, TxBytes, TxDropped                      uint64
}

// Sub returns what was counted since b.
func (a Counters) Sub(b Counters) Counters {
	return Counters{
		a.RxPackets - b.RxPackets, a.RxBytes - b.RxBytes, a.RxErrors - b.RxErrors, a.RxDropped - b.RxDropped, a.Multicast - b.Multicast,
		a.TxPackets - b.TxPackets, a.TxBytes - b.TxBytes, a.TxDropped - b.TxDropped,
	}
}

// Driver makes vmacs: the kernel's macvlan, or the emulator. Everything else
// about a vmac (up, down, groups, MAC, MTU) is done to the device itself, in
// the same way for both.
type Driver interface {
	// Name is "kernel" or "umacvlan".
	Name() string
	// Add makes a vmac, down, on a parent.
	Add(parent *Device, v *Vmac) error
	// Counters returns a vmac's counters.
	Counters(d *Device) (Counters, error)
	// Close ends the driver; its vmacs may be gone afterwards.
	Close() error
}

// Kernel is the kernel's own macvlan driver.
func Kernel() Driver { return kernel{} }

type kernel struct{}

func (kernel) Name() string                      { return "kernel" }
func (kernel) Add(parent *Device, v *Vmac) error { return addMacvlan(parent, v) }
func (kernel) Close() error                      { return nil }

func (kernel) Counters(d *Device) (c Counters, err error) { return d.Counters() }

// Counters returns the device's own counters, from rtnetlink.
func (d *Device) Counters() (c Counters, err error) {
	err = d.link("counters of", func(l netlink.Link) error {
		s := l.Attrs().Statistics
		if s == nil {
			return fmt.Errorf("the kernel reports none")
		}
		c = Counters{s.RxPackets, s.RxBytes, s.RxErrors, s.RxDropped, s.Multicast, s.TxPackets, s.TxBytes, s.TxDropped}
		return nil
	})
	return c, err
}
