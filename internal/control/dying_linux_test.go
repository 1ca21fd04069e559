package control_test

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// A name is free once the parent of the vmac that had it is gone, as under RTNL:
// a script that makes both anew does not find its own past.
func TestNameOfTheDead(t *testing.T) {
	b := newBed(t)
	ns := b.ns()
	parent := func() {
		b.must(ns.Do(func() error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "pp"}, PeerName: "pq"})
		}))
	}
	add := control.LinkRequest{Op: "add", Name: "vmac0", Kind: "macvlan", Parent: "pp", Data: data(classify.Bridge)}
	parent()
	for range 10 {
		b.done(ns, add)
		d, err := lab.Find(ns, "pp")
		b.must(err)
		b.must(d.Delete())
		parent()
	}
	b.done(ns, add)
}

// Whoever asks for a device that is being deleted hears that there is none, and
// whoever asks for its name gets it.
func TestRequestsDuringDelete(t *testing.T) {
	b := newBed(t)
	ns := b.ns()
	base := control.LinkRequest{Name: "vmac0", Kind: "macvlan", NetnsPath: ns.Path()}
	add, del := base, base
	add.Op, add.Parent, add.Up = "add", "pp", ptr(true)
	del.Op = "delete"
	b.must(ns.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "pp"}, PeerName: "pq"})
	}))
	h, err := control.OpenNamespace(ns.Path())
	b.must(err)
	defer h.Close()
	link := func(r control.LinkRequest, allowed ...error) {
		_, refusal := b.em.Engine.Link(t.Context(), r, h)
		if refusal == nil {
			return
		}
		for _, a := range allowed {
			if errors.Is(refusal, a) {
				return
			}
		}
		t.Errorf("%s: %v", r.Op, refusal)
	}
	for range 20 {
		b.done(ns, add)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { link(del, unix.ENODEV) })
		}
		wg.Go(func() { link(control.LinkRequest{Op: "set", Name: "vmac0", Up: ptr(true)}, unix.ENODEV) })
		wg.Wait()
		if attrs(ns, "vmac0") != nil {
			t.Fatal("a delete has been answered, and the device is there")
		}
	}
	// By ip, in the middle of whatever a request does.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if d, err := lab.Find(ns, "vmac0"); err == nil {
				d.Delete()
			}
		}
	})
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		link(add, unix.ENODEV, unix.EEXIST) // it may not have been deleted yet
		link(control.LinkRequest{Op: "set", Name: "vmac0", Up: ptr(true), MTU: ptr(uint32(1400))}, unix.ENODEV)
	}
	close(stop)
	wg.Wait()
}

// What a daemon has left that was killed while it made a device goes when the
// next one opens a parent there.
func TestUnfinishedSwept(t *testing.T) {
	b := newBed(t)
	ns := b.Parent.NS
	b.must(ns.Do(func() error {
		tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer tun.Close()
		ifr, err := unix.NewIfreq("umac-new%d")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return errors.Join(unix.IoctlIfreq(int(tun.Fd()), unix.TUNSETIFF, ifr), unix.IoctlSetInt(int(tun.Fd()), unix.TUNSETPERSIST, 1))
	}))
	if attrs(ns, "umac-new0") == nil {
		t.Fatal("there is nothing to sweep")
	}
	b.vmac(lab.Vmac{Name: "vmac0"})
	b.soon("umac-new0 goes", func() bool { return attrs(ns, "umac-new0") == nil })
	if attrs(ns, "vmac0") == nil {
		t.Error("the vmac went too")
	}
}
