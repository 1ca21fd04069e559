package lab

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
)

// The session that this project starts from: a NIC and two private vmacs with
// an address each in one namespace, and a node on the wire that pings all
// three and finds each behind its own MAC.
func TestArticle(t *testing.T) {
	Need(t, NeedNS)
	chosen := net.HardwareAddr{0, 0, 0x5e, 0, 1, 1}
	for _, c := range []struct {
		name string
		mac  net.HardwareAddr
	}{{"addresses of their own choice", nil}, {"address 00:00:5e:00:01:01", chosen}} {
		t.Run(c.name, func(t *testing.T) {
			t.Run("kernel", func(t *testing.T) {
				Need(t, NeedMacvlan)
				article(t, Kernel(), c.mac)
			})
			t.Run("umacvlan", func(t *testing.T) {
				Need(t, NeedTUN)
				before := Measure()
				e := NewEmulator()
				article(t, e, c.mac)
				if err := e.Close(); err != nil {
					t.Error(err)
				}
				if err := before.Leaked(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func article(t *testing.T, d Driver, mac net.HardwareAddr) {
	top, err := NewTopology(d, Options{Offloads: true, Parent: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	devices := []*Device{top.Parent}
	for _, v := range []Vmac{{Name: "vmac0", Mode: classify.Private, MAC: mac}, {Name: "vmac1", Mode: classify.Private}} {
		dev, err := top.Add(v)
		must(err)
		must(dev.Up())
		devices = append(devices, dev)
	}
	for i, dev := range devices {
		must(dev.AddAddr(netip.AddrFrom4([4]byte{10, 1, 1, byte(i + 1)}).String() + "/24"))
	}
	must(Sysctl(top.Parent.NS, "ipv4/conf/all/arp_ignore", "1"))
	for _, name := range []string{"vmac0", "vmac1", "all"} {
		must(Sysctl(top.Parent.NS, "ipv4/conf/"+name+"/rp_filter", "0"))
	}
	must(top.Wire.AddAddr("10.1.1.9/24"))

	for i, dev := range devices {
		to := netip.AddrFrom4([4]byte{10, 1, 1, byte(i + 1)})
		var rtt time.Duration
		// The emulator may be a moment behind "up" and "addr add".
		must(poll(10*time.Second, func() (bool, error) {
			rtt, err = Ping(top.Wire.NS, to, 200*time.Millisecond)
			return err == nil, nil
		}))
		t.Logf("%s answers for %s in %v", dev.Name, to, rtt)
	}
	neighbours, err := top.Wire.Neighbours()
	must(err)
	seen := map[string]bool{}
	for i, dev := range devices {
		to := netip.AddrFrom4([4]byte{10, 1, 1, byte(i + 1)}).String()
		if !bytes.Equal(neighbours[to], dev.MAC) {
			t.Errorf("the node on the wire has %s at %v, but it is %s's, which has %v", to, neighbours[to], dev.Name, dev.MAC)
		}
		seen[dev.MAC.String()] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d different MACs, want 3", len(seen))
	}
	if mac != nil && !bytes.Equal(devices[1].MAC, mac) {
		t.Errorf("vmac0 has %v, asked for %v", devices[1].MAC, mac)
	}
}
