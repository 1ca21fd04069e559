package lab

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"golang.org/x/sys/unix"
)

// both runs a test on the kernel's driver and on the emulator, each with a
// topology of its own.
func both(t *testing.T, o Options, test func(t *testing.T, top *Topology)) {
	for _, driver := range []func() Driver{Kernel, func() Driver { return NewEmulator() }} {
		d := driver()
		t.Run(d.Name(), func(t *testing.T) {
			if d.Name() == "kernel" {
				Need(t, NeedNS, NeedMacvlan)
			} else {
				Need(t, NeedNS, NeedTUN)
			}
			top, err := NewTopology(d, o)
			if err != nil {
				t.Fatal(err)
			}
			test(t, top)
			for _, err := range []error{d.Close(), top.Close()} {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// upVmac makes a bridge vmac in a namespace of its own, and brings it up.
func upVmac(t *testing.T, top *Topology) *Device {
	t.Helper()
	ns, err := top.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	d, err := top.Add(Vmac{Name: "b1", Mode: classify.Bridge, NS: ns})
	if err == nil {
		err = d.Up()
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// KERNEL.md row 213: what the host's own stack sends to a group, and gets back
// itself, no vmac hears.
func TestOwnMulticast(t *testing.T) {
	both(t, Options{}, func(t *testing.T, top *Topology) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		d := upVmac(t, top)
		must(d.SetAllmulti(true))
		must(top.Parent.AddAddr("10.77.0.1/24"))
		tap, err := d.Tap()
		must(err)
		defer tap.Close()
		wire, err := top.Wire.Tap()
		must(err)
		defer wire.Close()

		// Such a group it hears when it comes from outside.
		group := []byte{1, 0, 0x5e, 5, 5, 5}
		from, err := top.Injector(top.Wire.Name)
		must(err)
		outside := buildFrame(group, WireMAC, nil, EtherType, 1, 60)
		for end := time.Now().Add(10 * time.Second); !tap.Has(outside); {
			if time.Now().After(end) {
				t.Fatal("a group from outside is not heard")
			}
			must(from.Send(outside))
			if err := Wait([]*Probe{tap}, 10*time.Millisecond, func() bool { return tap.Has(outside) }); err != nil && err != ErrTimeout {
				t.Fatal(err)
			}
		}

		var host net.PacketConn
		to := &net.UDPAddr{IP: net.IPv4(239, 5, 5, 5), Port: 7777}
		must(top.Parent.NS.Do(func() error {
			i, err := net.InterfaceByName(top.Parent.Name)
			if err != nil {
				return err
			}
			c, err := net.ListenMulticastUDP("udp4", i, to)
			if err != nil {
				return err
			}
			host = c
			raw, err := c.SyscallConn()
			if err != nil {
				return err
			}
			var e1 error
			err = raw.Control(func(fd uintptr) {
				if e1 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 1); e1 == nil {
					e1 = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(i.Index)})
				}
			})
			if err == nil {
				err = e1
			}
			return err
		}))
		defer host.Close()
		const text = "to whom it may concern"
		if _, err := host.WriteTo([]byte(text), to); err != nil {
			t.Fatal(err)
		}
		must(host.SetReadDeadline(time.Now().Add(10 * time.Second)))
		b := make([]byte, 100)
		if n, _, err := host.ReadFrom(b); err != nil || string(b[:n]) != text {
			t.Fatalf("the host got %q, %v", b[:n], err)
		}
		said := func(p *Probe) bool {
			for _, s := range p.Seen {
				if bytes.Contains(s.Bytes, []byte(text)) {
					return true
				}
			}
			return false
		}
		if err := Wait([]*Probe{wire}, 10*time.Second, func() bool { return said(wire) }); err != nil {
			t.Fatal("the wire got nothing: ", err)
		}
		// What came later than that has come.
		after := buildFrame(group, WireMAC, nil, EtherType, 2, 60)
		must(from.Send(after))
		if err := Wait([]*Probe{tap}, 10*time.Second, func() bool { return tap.Has(after) }); err != nil {
			t.Fatal(err)
		}
		if said(tap) {
			t.Error("the vmac heard what the host sent")
		}
	})
}

// KERNEL.md row 216: super-frames of a local peer arrive whole, and count once.
func TestSuperFrames(t *testing.T) {
	both(t, Options{Offloads: true}, func(t *testing.T, top *Topology) {
		d := upVmac(t, top)
		for dev, a := range map[*Device]string{d: "10.77.0.1/24", top.Wire: "10.77.0.2/24"} {
			if err := dev.AddAddr(a); err != nil {
				t.Fatal(err)
			}
		}
		before, err := top.Driver.Counters(d)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if _, err := TCP(ctx, top.Wire.NS, d.NS, netip.MustParseAddr("10.77.0.1"), 200*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		now, err := top.Driver.Counters(d)
		if err != nil {
			t.Fatal(err)
		}
		c := now.Sub(before)
		if c.RxPackets == 0 || c.RxBytes/c.RxPackets < 4*1514 {
			t.Errorf("%d bytes in %d frames", c.RxBytes, c.RxPackets)
		} else {
			t.Logf("%d bytes in %d frames, %d each", c.RxBytes, c.RxPackets, c.RxBytes/c.RxPackets)
		}
	})
}
