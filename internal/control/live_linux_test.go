package control_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// What plain ip does to a vmac takes effect in the data plane, wherever the vmac
// is: on a quiet machine within 100 ms, and within a second what nobody announces.
// Asserted is what a busy machine keeps too.
func TestLiveChanges(t *testing.T) {
	for _, place := range []struct {
		name  string
		moves int
	}{{"beside its parent", 0}, {"moved", 1}, {"moved twice", 2}} {
		t.Run(place.name, func(t *testing.T) {
			b := newBed(t)
			b.vmac(lab.Vmac{Name: "x", MAC: hw("02:00:00:00:01:01")})
			sibling := b.vmac(lab.Vmac{Name: "y", MAC: hw("02:00:00:00:01:02")})
			b.must(sibling.Up())
			at := b.Parent.NS
			for range place.moves {
				to := b.ns()
				b.must(at.Do(func() error { return modify("x", nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.FD())))) }))
				at = to
			}
			x, err := lab.Find(at, "x")
			b.must(err)
			(&live{b, x, sibling, 5 * time.Second}).all()
		})
	}
}

// live changes one vmac in every way that its owner has.
type live struct {
	*bed
	x, sibling *lab.Device
	limit      time.Duration
}

// takes does something and waits for what should come of it.
func (l *live) takes(what string, change func() error, effect func() bool) {
	l.t.Helper()
	start := time.Now()
	l.must(change())
	for !effect() {
		if time.Since(start) > l.limit {
			l.t.Fatalf("%s: no effect within %v", what, l.limit)
		}
	}
	l.t.Logf("%-22s %v", what, time.Since(start).Round(100*time.Microsecond))
}

func (l *live) all() {
	x := l.x
	heard := func(dst net.HardwareAddr) func() bool {
		return func() bool { return l.hears(x, dst, 0) }
	}
	not := func(f func() bool) func() bool { return func() bool { return !f() } }

	l.takes("up", x.Up, heard(x.MAC))
	l.takes("address", func() error { return x.SetMAC(hw("02:00:00:00:01:09")) }, heard(hw("02:00:00:00:01:09")))
	if l.hears(x, hw("02:00:00:00:01:01"), 0) {
		l.t.Error("the old address is still heard")
	}

	// Groups that don't leak through the filter by chance (KERNEL.md 4.4).
	unheard := func(g net.HardwareAddr) net.HardwareAddr {
		g = append(net.HardwareAddr(nil), g...)
		for range 100 {
			if !l.hears(x, g, 10*time.Millisecond) {
				return g
			}
			g[5]++
		}
		l.t.Fatalf("a hundred groups that nobody has joined are heard, up to %v", g)
		return nil
	}
	groups := []net.HardwareAddr{unheard(hw("33:33:00:00:ab:00")), unheard(hw("33:33:00:00:ab:80"))}
	l.takes("promisc on", func() error { return x.SetPromisc(true) }, heard(groups[0]))
	l.takes("promisc off", func() error { return x.SetPromisc(false) }, not(heard(groups[0])))
	l.takes("allmulticast on", func() error { return x.SetAllmulti(true) }, heard(groups[0]))
	l.takes("allmulticast off", func() error { return x.SetAllmulti(false) }, not(heard(groups[0])))

	// A sibling's broadcast has to fit (is_skb_forwardable).
	l.takes("mtu lowered", func() error { return x.SetMTU(1000) }, not(l.flood(1400)))
	l.takes("mtu raised", func() error { return x.SetMTU(1500) }, l.flood(1400))

	l.takes("renamed", func() error {
		l.must(x.Down()) // older kernels rename nothing that is up
		err := x.NS.Do(func() error { return modify("x", nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("renamed"))) })
		x.Name = "renamed"
		l.must(x.Up())
		return err
	}, func() bool { return len(l.links(x.NS, "renamed")) == 1 && heard(x.MAC)() })

	mac := unheard(hw("01:00:5e:01:02:03"))
	ip := net.IPv4(239, mac[3], mac[4], mac[5])
	var member net.PacketConn
	l.takes("group joined by IP", func() error {
		return x.NS.Do(func() (err error) {
			i, err := net.InterfaceByIndex(x.Index)
			if err == nil {
				member, err = net.ListenMulticastUDP("udp4", i, &net.UDPAddr{IP: ip, Port: 7777})
			}
			return err
		})
	}, heard(mac))
	l.takes("group left by IP", member.Close, not(heard(mac)))

	var bare *lab.Injector
	l.takes("group joined below IP", func() (err error) {
		if bare, err = x.Inject(); err != nil {
			return err
		}
		return bare.Join(x.Index, groups[1])
	}, heard(groups[1]))
	l.takes("group left below IP", func() error { bare.Close(); return nil }, not(heard(groups[1])))

	// Not macvlan's to have (EOPNOTSUPP): undone. A kernel without TUNSETCARRIER
	// has no such change either.
	if !feature.Off(feature.SetCarrier) {
		l.takes("carrier off", func() error {
			return x.NS.Do(func() error { return modify(x.Name, nl.NewRtAttr(unix.IFLA_CARRIER, []byte{0})) })
		}, func() bool { return attrs(x.NS, x.Name).RawFlags&unix.IFF_LOWER_UP != 0 })
	}
	l.takes("hears after that", func() error { return nil }, heard(x.MAC))

	// A vmac that is down is no sibling any more: the wire gets what is for it.
	wire, err := l.Wire.Tap()
	l.must(err)
	defer wire.Close()
	from, err := l.sibling.Inject()
	l.must(err)
	defer from.Close()
	l.takes("down", x.Down, func() bool {
		frame := frameTo(x.MAC)
		copy(frame[14:], fmt.Sprint(time.Now().UnixNano()))
		l.must(from.Send(frame))
		return lab.Wait([]*lab.Probe{wire}, 5*time.Millisecond, func() bool { return wire.Has(frame) }) == nil
	})
}

// flood reports whether x gets a broadcast of that size from its sibling.
func (l *live) flood(size int) func() bool {
	return func() bool {
		tap, err := l.x.Tap()
		l.must(err)
		defer tap.Close()
		from, err := l.sibling.Inject()
		l.must(err)
		defer from.Close()
		frame := append(frameTo(hw("ff:ff:ff:ff:ff:ff")), make([]byte, size-60)...)
		l.must(from.Send(frame))
		return lab.Wait([]*lab.Probe{tap}, 10*time.Millisecond, func() bool { return tap.Has(frame) }) == nil
	}
}

// modify is RTM_SETLINK in the thread's namespace.
func modify(name string, attrs ...*nl.RtAttr) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(l.Attrs().Index)
	req.AddData(m)
	for _, a := range attrs {
		req.AddData(a)
	}
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
