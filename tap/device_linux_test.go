package tap

import (
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
)

func TestCreate(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	mac := [6]byte{0, 0, 0x5e, 0, 1, 1}
	d := mustCreate(t, Config{Name: "vmac0", MAC: mac, MTU: 1400, Alias: "vmac of eth0, bridge"})

	l, err := h.LinkByName("vmac0")
	if err != nil {
		t.Fatal(err)
	}
	a := l.Attrs()
	if a.HardwareAddr.String() != "00:00:5e:00:01:01" || a.MTU != 1400 || a.Alias != "vmac of eth0, bridge" || a.TxQLen != 1000 {
		t.Errorf("address %v, mtu %d, alias %q, txqueuelen %d", a.HardwareAddr, a.MTU, a.Alias, a.TxQLen)
	}
	if a.Flags&net.FlagUp != 0 {
		t.Error("created up")
	}
	if tt := l.(*netlink.Tuntap); tt.Mode != netlink.TUNTAP_MODE_TAP || !tt.NonPersist {
		t.Errorf("device is %+v", tt)
	}
	if index, err := d.Index(); err != nil || index != a.Index {
		t.Errorf("Index = %d, %v, want %d", index, err, a.Index)
	}
	if got, err := d.MAC(); err != nil || got != mac {
		t.Errorf("MAC = %x, %v", got, err)
	}
	if mtu, err := d.MTU(); err != nil || mtu != 1400 {
		t.Errorf("MTU = %d, %v", mtu, err)
	}
	if header := !feature.Off(feature.VnetHdr); d.Offload() != header || (len(d.Offloads()) >= 3) != header {
		t.Errorf("offloads %v", d.Offloads())
	}
	t.Log("offloads:", d.Offloads())
	if up, err := d.IsUp(); err != nil || up {
		t.Errorf("IsUp = %v, %v while down", up, err)
	}
	if err := h.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	if up, err := d.IsUp(); err != nil || !up {
		t.Errorf("IsUp = %v, %v while up", up, err)
	}
	eventually(t, "state UP", func() bool {
		l, err := h.LinkByName("vmac0")
		return err == nil && l.Attrs().OperState == netlink.OperUp
	})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.LinkByName("vmac0"); err == nil {
		t.Error("device outlives Close")
	}
	if err := d.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if _, err := d.Read(make([]byte, 2000)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if err := d.SetMTU(1000); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetMTU after Close: %v", err)
	}
}

// links fails the test unless the namespace has these links besides lo.
func links(t *testing.T, h *netlink.Handle, want ...string) {
	t.Helper()
	list, err := h.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range list {
		if l.Attrs().Name != "lo" {
			got = append(got, l.Attrs().Name)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("links %q, want %q", got, want)
	}
}

func TestCreateRefused(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	// A persistent TAP without a queue, which TUNSETIFF would attach to.
	w, err := water.New(water.Config{DeviceType: water.TAP, PlatformSpecificParams: water.PlatformSpecificParams{Name: "other", Persist: true}})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	mac := [6]byte{2, 0, 0, 0, 1, 1}
	for _, tt := range []struct {
		name string
		c    Config
		want error
	}{
		{"name of a persistent TAP", Config{Name: "other", MAC: mac}, unix.EEXIST},
		{"name of lo", Config{Name: "lo", MAC: mac}, unix.EEXIST},
		{"no name", Config{MAC: mac}, unix.EINVAL},
		{"name too long", Config{Name: "sixteen-bytes-xx", MAC: mac}, unix.EINVAL},
		{"name with a slash", Config{Name: "a/b", MAC: mac}, unix.EINVAL},
		{"two templates", Config{Name: "a%d%d", MAC: mac}, unix.EINVAL},
		{"zero address", Config{Name: "v0"}, unix.EADDRNOTAVAIL},
		{"group address", Config{Name: "v0", MAC: [6]byte{1, 0, 0x5e, 0, 0, 1}}, unix.EADDRNOTAVAIL},
		{"mtu too small", Config{Name: "v0", MAC: mac, MTU: 60}, unix.EINVAL},
		{"mtu too large", Config{Name: "v0", MAC: mac, MTU: 70000}, unix.EINVAL},
		{"alias too long", Config{Name: "v0", MAC: mac, Alias: strings.Repeat("x", 256)}, unix.ERANGE},
	} {
		fds := len(openFDs())
		d, err := Create(tt.c)
		if d != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			continue
		}
		if !strings.HasPrefix(err.Error(), "create tap "+tt.c.Name+": ") {
			t.Errorf("%s: error says %q", tt.name, err)
		}
		links(t, h, "other")
		if n := len(openFDs()); n != fds {
			t.Errorf("%s: %d descriptors leaked", tt.name, n-fds)
		}
	}
}

// TestRenameRefusesName is the race that the look beforehand cannot win: the name
// is taken between that look and the rename.
func TestRenameRefusesName(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	first := mustCreate(t, Config{Name: "v0"})
	r, err := openRoute()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	second := mustCreate(t, Config{Name: "v1"})
	index, _ := second.Index()
	if err := second.configure(r, index, Config{Name: "v0", MAC: [6]byte{2, 0, 0, 0, 0, 9}}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("configure with a name in use: %v", err)
	}
	if name, err := first.Name(); name != "v0" {
		t.Errorf("first is %q, %v", name, err)
	}
	links(t, h, "v0", "v1")
}

func TestCreateAtOnce(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	const n = 8
	var mu sync.Mutex
	var wg sync.WaitGroup
	var made []*Device
	exist := 0
	for range n {
		wg.Go(func() {
			// Each goroutine needs a thread in the namespace of the test.
			err := inNS(int(ns), func() {
				d, err := Create(Config{Name: "same", MAC: [6]byte{2, 0, 0, 0, 0, 1}})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made = append(made, d)
				} else if errors.Is(err, unix.EEXIST) {
					exist++
				} else {
					t.Error(err)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(made) != 1 || exist != n-1 {
		t.Errorf("%d made the device, %d were told that it exists", len(made), exist)
	}
	links(t, h, "same")
	for _, d := range made {
		d.Close()
	}
}

func TestTemplate(t *testing.T) {
	enterNS(t)
	a := mustCreate(t, Config{Name: "vmac%d"})
	b := mustCreate(t, Config{Name: "vmac%d"})
	an, _ := a.Name()
	bn, _ := b.Name()
	if an != "vmac0" || bn != "vmac1" {
		t.Errorf("names %q and %q", an, bn)
	}
}

func TestSetters(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	d := mustCreate(t, Config{Name: "v0", Alias: "first"})
	link := func() *netlink.LinkAttrs {
		t.Helper()
		l, err := h.LinkByName("v0")
		if err != nil {
			t.Fatal(err)
		}
		return l.Attrs()
	}
	if err := d.SetUp(true); err != nil || link().Flags&net.FlagUp == 0 {
		t.Errorf("SetUp: %v, flags %v", err, link().Flags)
	}
	if err := d.SetMTU(9000); err != nil || link().MTU != 9000 {
		t.Errorf("SetMTU: %v, mtu %d", err, link().MTU)
	}
	mac := [6]byte{2, 0, 0, 0, 7, 7}
	if err := d.SetMAC(mac); err != nil || link().HardwareAddr.String() != "02:00:00:00:07:07" {
		t.Errorf("SetMAC while up: %v, address %v", err, link().HardwareAddr)
	}
	if err := d.SetMAC([6]byte{1}); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("SetMAC to a group: %v", err)
	}
	if err := d.SetAlias("second"); err != nil || link().Alias != "second" {
		t.Errorf("SetAlias: %v, alias %q", err, link().Alias)
	}
	if err := d.SetAlias(""); err != nil || link().Alias != "" {
		t.Errorf("SetAlias: %v, alias %q", err, link().Alias)
	}
	if err := d.SetMTU(10); !errors.Is(err, unix.EINVAL) || !strings.HasPrefix(err.Error(), "set mtu of tap v0: ") {
		t.Errorf("SetMTU(10): %v", err)
	}
	if err := d.SetCarrier(false); err != nil {
		t.Fatal(err)
	}
	if feature.Off(feature.SetCarrier) {
		if got := link().OperState; got != netlink.OperUp {
			t.Errorf("a carrier that can't be set leaves the device %v", got)
		}
	} else {
		eventually(t, "state DOWN", func() bool { return link().OperState == netlink.OperDown })
	}
	if up, err := d.IsUp(); err != nil || !up {
		t.Errorf("IsUp without carrier: %v, %v", up, err)
	}
	if err := d.SetCarrier(true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "state UP", func() bool { return link().OperState == netlink.OperUp })
	if err := d.SetUp(false); err != nil || link().Flags&net.FlagUp != 0 {
		t.Errorf("SetUp(false): %v, flags %v", err, link().Flags)
	}
}

func TestDeletedByOthers(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	d := mustCreate(t, Config{Name: "v0"})
	l, err := h.LinkByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkDel(l); err != nil {
		t.Fatal(err)
	}
	gone(t, d)
}

// gone checks what a Device says when its device no longer exists.
func gone(t *testing.T, d *Device) {
	t.Helper()
	if _, err := d.Read(make([]byte, 2000)); err != unix.EBADFD {
		t.Errorf("Read: %v", err)
	}
	if err := d.Write(make([]byte, 100)); err != unix.EBADFD {
		t.Errorf("Write: %v", err)
	}
	_, nameErr := d.Name()
	_, upErr := d.IsUp()
	_, mtuErr := d.MTU()
	_, macErr := d.MAC()
	_, nsErr := d.Netns()
	for i, err := range []error{nameErr, upErr, mtuErr, macErr, nsErr, d.SetUp(true), d.SetCarrier(true)} {
		if !errors.Is(err, unix.EBADFD) {
			t.Errorf("control %d: %v", i, err)
		}
	}
}

func TestNamespaceDeleted(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	d := mustCreate(t, Config{Name: "v0"})
	other := otherNS(t)
	l, err := h.LinkByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetNsFd(l, int(other)); err != nil {
		t.Fatal(err)
	}
	if up, err := d.IsUp(); up || err != nil {
		t.Fatalf("IsUp = %v, %v", up, err)
	}
	other.Close()
	eventually(t, "EBADFD", func() bool {
		_, err := d.Read(make([]byte, 2000))
		return err == unix.EBADFD
	})
	gone(t, d)
}

func TestDiesWithProcess(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	cmd := startChild(t, "doomed")
	links(t, h, "doomed")
	cmd.Process.Kill()
	cmd.Wait()
	links(t, h)
}

func TestMissingTun(t *testing.T) {
	need(t)
	// A mount namespace of a thread that ends with its goroutine.
	done := make(chan error)
	go func() { done <- withoutTun(func() error { return Probe() }) }()
	err := <-done
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "modprobe tun") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Probe without /dev/net/tun: %v", err)
	}
}

func TestNotPermitted(t *testing.T) {
	need(t)
	done := make(chan error)
	go func() { done <- withoutCaps(func() error { return Probe() }) }()
	err := <-done
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("Probe without capabilities: %v", err)
	}
}
