package tap

import (
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// alike makes what another process may have: a TAP of that name and address.
func alike(t *testing.T, ns netns.NsHandle, name string) {
	t.Helper()
	h := handle(t, ns)
	if err := inNS(int(ns), func() {
		err := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: unix.IFF_TAP})
		if err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	l, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkSetHardwareAddr(l, myMAC[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.LinkDel(l) })
}

// searched makes a device that is searched for, whatever the kernel has.
func searched(t *testing.T, name string) *Device {
	t.Helper()
	d := mustCreate(t, Config{Name: name, MAC: myMAC})
	fd, err := d.search()
	if err == nil {
		err = unix.Close(fd)
	}
	if err == nil {
		err = d.settle()
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func moveTo(t *testing.T, h *netlink.Handle, name string, to netns.NsHandle) {
	t.Helper()
	l, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkSetNsFd(l, int(to))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// isIn reports whether a search ends in ns.
func isIn(t *testing.T, d *Device, ns netns.NsHandle) bool {
	t.Helper()
	fd, err := d.search()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return sameFile(fd, int(ns))
}

// Where the device has been moved to is known, so one that is alike and would be
// found first is not taken for it; neither is it when the path by which its
// namespace was found leads there no more.
func TestAlikeElsewhere(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	there := otherNS(t)
	d := searched(t, "al0")
	moveTo(t, h, "al0", there)
	alike(t, ns, "al0")
	d.Moved(int(there))
	for range 3 {
		if !isIn(t, d, there) {
			t.Fatal("another device was taken for it")
		}
		spots.Lock()
		d.path = threadNetns()
		spots.Unlock()
	}
}

// One that was taken for the device, which nobody said had been moved, is found
// not to be it when the device has passed frames.
func TestAlikeDoubted(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	there := otherNS(t)
	d := searched(t, "al1")
	moveTo(t, h, "al1", there)
	alike(t, ns, "al1")
	if !isIn(t, d, ns) {
		t.Fatal("the test is about nothing: the other device isn't found first")
	}
	to := handle(t, there)
	l, err := to.LinkByName("al1")
	if err == nil {
		err = to.LinkSetUp(l)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 9 {
		if err := d.Write(append(ethernet(false), 0x88, 0xb5)); err != nil {
			t.Fatal(err)
		}
	}
	if !isIn(t, d, there) {
		t.Error("another device is taken for it")
	}
	// One that is sure isn't asked again, and is the same when it is found anew.
	for range 100 {
		if err := d.Write(append(ethernet(false), 0x88, 0xb5)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if !isIn(t, d, there) || !d.sure {
			t.Error("lost")
		}
	}
}
