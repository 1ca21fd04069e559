package tap

import (
	"bytes"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/tap/vnet"
)

// TestMovedAway does everything from a namespace that the device is not in.
func TestMovedAway(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	d := mustCreate(t, Config{Name: "mv0", MAC: myMAC})
	other := otherNS(t)
	third := otherNS(t)
	from, name := h, "mv0"
	for i, to := range []struct {
		fd   int
		h    *netlink.Handle
		name string
	}{{int(other), handle(t, other), "mv1"}, {int(third), handle(t, third), "mv2"}, {int(ns), h, "mv3"}} {
		l, err := from.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := from.LinkSetNsFd(l, to.fd); err != nil {
			t.Fatal(err)
		}
		if l, err = to.h.LinkByName(name); err != nil {
			t.Fatal(err)
		}
		if err := to.h.LinkSetName(l, to.name); err != nil {
			t.Fatal(err)
		}
		from, name = to.h, to.name

		if got, err := d.Name(); err != nil || got != name {
			t.Fatalf("Name = %q, %v", got, err)
		}
		if got, err := d.Index(); err != nil || got != l.Attrs().Index {
			t.Fatalf("Index = %d, %v, want %d", got, err, l.Attrs().Index)
		}
		fd, err := d.Netns()
		if err != nil || !sameFile(fd, to.fd) {
			t.Fatalf("Netns: %v", err)
		}
		unix.Close(fd)
		mac := [6]byte{2, 0, 0, 0, 3, byte(i)}
		if err := d.SetMAC(mac); err != nil {
			t.Fatal(err)
		}
		if got, err := d.MAC(); err != nil || got != mac {
			t.Fatalf("MAC = %x, %v", got, err)
		}
		if err := d.SetMTU(1300 + i); err != nil {
			t.Fatal(err)
		}
		if got, err := d.MTU(); err != nil || got != 1300+i {
			t.Fatalf("MTU = %d, %v", got, err)
		}
		if err := d.SetAlias(name); err != nil {
			t.Fatal(err)
		}
		if err := d.SetUp(true); err != nil {
			t.Fatal(err)
		}
		if up, err := d.IsUp(); err != nil || !up {
			t.Fatalf("IsUp = %v, %v", up, err)
		}
		if l, err = to.h.LinkByName(name); err != nil {
			t.Fatal(err)
		}
		a := l.Attrs()
		if !bytes.Equal(a.HardwareAddr, mac[:]) || a.MTU != 1300+i || a.Alias != name || a.Flags&net.FlagUp == 0 {
			t.Errorf("address %v, mtu %d, alias %q, flags %v", a.HardwareAddr, a.MTU, a.Alias, a.Flags)
		}
		if err := d.SetCarrier(false); err != nil {
			t.Fatal(err)
		}
		if err := d.SetCarrier(true); err != nil {
			t.Fatal(err)
		}
		var sock int
		if err := inNS(to.fd, func() { sock = packetSocket(t, a.Index) }); err != nil {
			t.Fatal(err)
		}
		in, out := super(false, unix.IPPROTO_TCP, 65000, 1448), super(true, unix.IPPROTO_TCP, 65000, 1448)
		if !d.Offload() {
			in, out = super(false, unix.IPPROTO_UDP, 100, 0), super(true, unix.IPPROTO_UDP, 100, 0)
			if err := errors.Join(vnet.Complete(in), vnet.Complete(out)); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Write(in); err != nil {
			t.Fatal(err)
		}
		if got := recv(t, sock); !bytes.Equal(got[vnet.HdrLen:], in[vnet.HdrLen:]) {
			t.Error("frame written")
		}
		// Carrier events reach the queueing discipline in the kernel's own time.
		buf := make([]byte, maxRaw)
		eventually(t, "frame read", func() bool {
			if _, err := unix.Write(sock, out); err != nil {
				t.Fatal(err)
			}
			n, err := d.Read(buf)
			return err == nil && bytes.Equal(buf[vnet.HdrLen:n], out[vnet.HdrLen:])
		})
		for { // what the retries left
			if _, err := d.Read(buf); err != nil {
				break
			}
		}
		if err := d.SetUp(false); err != nil {
			t.Fatal(err)
		}
	}
	links(t, h, "mv3")
	// Threads that were lent to another namespace are back, or gone.
	eventually(t, "no thread elsewhere", func() bool {
		tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
		if err != nil || len(tasks) == 0 {
			t.Fatal(err)
		}
		for _, task := range tasks {
			fd, err := unix.Open(task, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			away := sameFile(fd, int(other)) || sameFile(fd, int(third))
			unix.Close(fd)
			if away {
				return false
			}
		}
		return true
	})
}
