package bench

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// naive is a reference, no part of the project: macvlan in user space as it is
// first written, with the libraries that a search finds. The parent and one TAP
// are ports of a kernel bridge; a loop takes one frame at a time from that TAP
// or from a vmac's, decodes it, looks its destination up in a map and writes it
// to another TAP. The kernel finishes checksums and cuts super-frames for it, as
// for every TAP without a virtio header. See naive_role_linux.go.
type naive struct{ p *process }

const naiveUplink = "nup0"

// naiveOrder asks for the uplink, for a vmac, or for its counters.
type naiveOrder struct {
	Uplink string
	Add    string
	Show   string
	NS     string
	MAC    [6]byte
}

type naiveAnswer struct {
	Error    string
	Counters lab.Counters
}

func (n *naive) Name() string { return "naive" }

func (n *naive) Add(parent *lab.Device, v *lab.Vmac) error {
	if n.p == nil {
		if err := n.open(parent); err != nil {
			return err
		}
	}
	if _, err := n.ask(naiveOrder{Add: v.Name, NS: v.NS.Path(), MAC: [6]byte(v.MAC)}); err != nil {
		return err
	}
	d, err := lab.Find(v.NS, v.Name)
	if err != nil {
		return err
	}
	return d.SetMAC(v.MAC)
}

// open makes the bridge and starts the loop.
func (n *naive) open(parent *lab.Device) (err error) {
	if n.p, err = start(parent.NS, "naive", naiveOrder{Uplink: naiveUplink}); err != nil {
		return err
	}
	var a naiveAnswer
	if err := n.p.hear(patience, &a); err != nil {
		return err
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return parent.NS.Do(func() error { return bridgeTogether("nbr0", parent.Name, naiveUplink) })
}

// bridgeTogether makes a bridge of devices in the thread's namespace.
func bridgeTogether(name string, ports ...string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	br := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(br); err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	for _, port := range ports {
		l, err := netlink.LinkByName(port)
		if err == nil {
			err = errors.Join(netlink.LinkSetMaster(l, br), netlink.LinkSetUp(l))
		}
		if err != nil {
			return fmt.Errorf("bridge %s: port %s: %w", name, port, err)
		}
	}
	return netlink.LinkSetUp(br)
}

// Counters are the loop's own.
func (n *naive) Counters(d *lab.Device) (lab.Counters, error) {
	a, err := n.ask(naiveOrder{Show: d.Name})
	return a.Counters, err
}

func (n *naive) path(*lab.Device) (string, error) {
	return "bridge → TAP → loop → TAP, one frame a system call", nil
}

func (n *naive) ask(o naiveOrder) (a naiveAnswer, err error) {
	if err := n.p.tell(o); err != nil {
		return a, err
	}
	if err := n.p.hear(patience, &a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

func (n *naive) Close() error {
	if n.p == nil {
		return nil
	}
	return n.p.stop()
}
