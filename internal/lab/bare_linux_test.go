package lab

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/tap"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bare is the data plane without control: a switch per parent over a chosen
// wire, told by Sync what the devices look like. It keeps faults of one apart
// from those of the other, and plays the scenarios on every kind of wire.
type bare struct {
	wire     func(name string) (dataplane.Wire, error)
	rung     string // of what takes from the parent's stack
	switches map[*Device]*bareSwitch
}

type bareSwitch struct {
	parent *Device
	sw     *dataplane.Switch
	stop   context.CancelFunc
	done   chan error
	spec   classify.Spec
	vmacs  []*dataplane.Vmac
	made   []*Vmac
	up     uint64
}

func (b *bare) Name() string { return "dataplane" }

func (b *bare) Add(parent *Device, v *Vmac) error {
	s, err := b.open(parent)
	if err != nil {
		return err
	}
	if v.MAC == nil {
		v.MAC = parent.MAC
	}
	var dev *tap.Device
	err = v.NS.Do(func() error {
		dev, err = tap.Create(tap.Config{Name: v.Name, MAC: [6]byte(v.MAC), MTU: s.mtu()})
		return err
	})
	if err != nil {
		return err
	}
	n := len(s.spec.Vmacs)
	queue := uint32(classify.DefaultBCQueueLen)
	if v.BCQueueLen != nil {
		queue = *v.BCQueueLen
	}
	if v.BCLim != nil {
		s.spec.BCLim = *v.BCLim
	}
	s.spec.Vmacs = append(s.spec.Vmacs, classify.Vmac{Name: v.Name, Mode: v.Mode, Flags: v.Flags, MAC: classify.MACFrom(v.MAC), BCQueueLen: queue})
	for _, m := range v.Sources {
		s.spec.Sources = append(s.spec.Sources, classify.SourceEntry{Vmac: n, MAC: classify.MACFrom(m)})
	}
	s.vmacs = append(s.vmacs, dataplane.NewVmac(v.Name, dataplane.NewTap(dev)))
	s.made = append(s.made, v)
	return s.sync()
}

func (b *bare) open(parent *Device) (*bareSwitch, error) {
	if s := b.switches[parent]; s != nil {
		return s, nil
	}
	var w dataplane.Wire
	var steal dataplane.Taker
	err := parent.NS.Do(func() (err error) {
		if w, err = b.wire(parent.Name); err == nil {
			steal, _, err = dataplane.OpenSteal(parent.Name, b.rung)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	sw, err := dataplane.New(w, dataplane.Options{Steal: steal})
	if err != nil {
		return nil, err
	}
	s := &bareSwitch{parent: parent, sw: sw, done: make(chan error, 1)}
	s.spec = classify.Spec{Parent: classify.MACFrom(parent.MAC), FilterAll: true, BCLim: classify.DefaultBCLim}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.done <- s.sw.Run(ctx) }()
	b.switches[parent] = s
	return s, nil
}

func (s *bareSwitch) mtu() (mtu int) {
	_ = s.parent.link("look at", func(l netlink.Link) error { mtu = l.Attrs().MTU; return nil })
	return mtu
}

// Sync reads every device and publishes the decision.
func (b *bare) Sync() error {
	for _, s := range b.switches {
		if err := s.sync(); err != nil {
			return err
		}
	}
	return nil
}

func (s *bareSwitch) sync() error {
	operational, err := s.parent.Operational()
	if err != nil {
		return err
	}
	s.spec.ParentDown = !operational
	for i, v := range s.made {
		d, err := Find(v.NS, v.Name)
		if err != nil {
			return err
		}
		at := &s.spec.Vmacs[i]
		err = d.link("look at", func(l netlink.Link) error {
			a := l.Attrs()
			up := a.RawFlags&unix.IFF_UP != 0
			if up && !at.Up {
				s.up++
				at.UpSeq = s.up
			}
			at.Up, at.MTU = up, a.MTU
			at.Promisc, at.Allmulti = a.Promisc != 0, a.Allmulti != 0
			at.Groups, err = groups(v.Name)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.sw.Swap(&s.spec, s.vmacs)
}

// groups reads the device's multicast list in the thread's namespace.
func groups(name string) (list []classify.MAC, err error) {
	b, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) == 5 && f[1] == name {
			mac, err := hex.DecodeString(f[4])
			if err != nil || len(mac) != 6 {
				return nil, fmt.Errorf("dev_mcast: %q", line)
			}
			list = append(list, classify.MACFrom(mac))
		}
	}
	return list, err
}

func (b *bare) Counters(d *Device) (Counters, error) {
	for _, s := range b.switches {
		for i, v := range s.made {
			if v.Name == d.Name && v.NS.Inode() == d.NS.Inode() {
				c := s.vmacs[i].Stats()
				return Counters{c.RxPackets, c.RxBytes, c.RxErrors, c.RxDropped, c.Multicast, c.TxPackets, c.TxBytes, c.TxDropped}, nil
			}
		}
	}
	return Counters{}, fmt.Errorf("no vmac %s", d.Name)
}

func (b *bare) Close() error {
	for _, s := range b.switches {
		s.stop()
		if err := <-s.done; err != nil {
			return err
		}
	}
	return nil
}
