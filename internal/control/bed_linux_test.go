package control_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// bed is an engine and a parent with a wire; at its end nothing may be left.
type bed struct {
	*lab.Topology
	t  *testing.T
	em *lab.Emulator
}

func newBed(t *testing.T) *bed {
	t.Helper()
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	before := lab.Measure()
	em := lab.NewEmulator()
	top, err := lab.NewTopology(em, lab.Options{})
	if err != nil {
		em.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			for _, s := range em.Unbalanced() {
				t.Error(s)
			}
		}
		if err := errors.Join(em.Close(), top.Close()); err != nil {
			t.Error(err)
		}
		if err := before.Leaked(); err != nil {
			t.Error(err)
		}
	})
	return &bed{top, t, em}
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) ns() *lab.NS {
	b.t.Helper()
	ns, err := b.NewNS()
	b.must(err)
	return ns
}

func (b *bed) vmac(v lab.Vmac) *lab.Device {
	b.t.Helper()
	if v.Mode == 0 {
		v.Mode = classify.Bridge
	}
	d, err := b.Add(v)
	b.must(err)
	return d
}

// ask makes a request for a caller in ns.
func (b *bed) ask(ns *lab.NS, r control.LinkRequest) (control.LinkAnswer, *control.Refusal) {
	b.t.Helper()
	h, err := control.OpenNamespace(ns.Path())
	b.must(err)
	defer h.Close()
	return b.em.Engine.Link(context.Background(), r, h)
}

func (b *bed) done(ns *lab.NS, r control.LinkRequest) *control.Link {
	b.t.Helper()
	a, refusal := b.ask(ns, r)
	if refusal != nil {
		b.t.Fatalf("%s %s: %v", r.Op, r.Name, refusal)
	}
	return a.Link
}

func (b *bed) refused(ns *lab.NS, r control.LinkRequest, errno error) *control.Refusal {
	b.t.Helper()
	_, refusal := b.ask(ns, r)
	if refusal == nil {
		b.t.Fatalf("%s %s: done, want %v", r.Op, r.Name, errno)
	}
	if !errors.Is(refusal, errno) {
		b.t.Errorf("%s %s: %v, want %v", r.Op, r.Name, refusal, errno)
	}
	return refusal
}

func (b *bed) links(ns *lab.NS, names ...string) []control.Link {
	b.t.Helper()
	h, err := control.OpenNamespace(ns.Path())
	b.must(err)
	defer h.Close()
	l, err := b.em.Engine.Links(h, names...)
	b.must(err)
	return l
}

// attrs is what rtnetlink says of a device, nil if there is none.
func attrs(ns *lab.NS, name string) (a *netlink.LinkAttrs) {
	ns.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err == nil {
			a = l.Attrs()
		}
		return err
	})
	return a
}

// soon waits until ok says yes.
func (b *bed) soon(what string, ok func() bool) {
	b.t.Helper()
	end := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			b.t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// hears reports whether the vmac gets a frame that the wire sends to dst within
// the time.
func (b *bed) hears(d *lab.Device, dst net.HardwareAddr, within time.Duration) bool {
	b.t.Helper()
	tap, err := d.Tap()
	b.must(err)
	defer tap.Close()
	wire, err := b.Wire.Inject()
	b.must(err)
	defer wire.Close()
	frame := frameTo(dst)
	for end := time.Now().Add(within); ; {
		b.must(wire.Send(frame))
		err := lab.Wait([]*lab.Probe{tap}, 5*time.Millisecond, func() bool { return tap.Has(frame) })
		if err == nil || time.Now().After(end) {
			return err == nil
		}
	}
}

func frameTo(dst net.HardwareAddr) []byte {
	f := make([]byte, 60)
	copy(f, dst)
	copy(f[6:], []byte{2, 0, 0, 0, 0x0e, 1})
	binary.BigEndian.PutUint16(f[12:], lab.EtherType)
	return f
}

// echo sends a datagram from one namespace to an address in another, and waits
// for it to come back.
func (b *bed) echo(from, to *lab.NS, address string) {
	b.t.Helper()
	var server, client net.PacketConn
	b.must(to.Do(func() (err error) { server, err = net.ListenPacket("udp4", address+":7"); return err }))
	defer server.Close()
	go func() {
		buf := make([]byte, 64)
		for {
			n, who, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			server.WriteTo(buf[:n], who)
		}
	}()
	b.must(from.Do(func() (err error) { client, err = net.ListenPacket("udp4", ":0"); return err }))
	defer client.Close()
	dst := &net.UDPAddr{IP: net.ParseIP(address), Port: 7}
	buf := make([]byte, 64)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		client.WriteTo([]byte("echo"), dst)
		client.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, _, err := client.ReadFrom(buf); err == nil && string(buf[:n]) == "echo" {
			return
		}
	}
	b.t.Fatalf("no answer from %s", address)
}

func ptr[T any](v T) *T { return &v }

func data(mode classify.Mode) *control.MacvlanData {
	return &control.MacvlanData{Mode: ptr(uint32(mode))}
}

func hw(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func has(list []string, part string) bool {
	for _, s := range list {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}
