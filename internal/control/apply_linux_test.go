package control_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// apply applies a file in which $A is the parent's namespace and $B, $C, … are
// others.
func (b *bed) apply(dryRun bool, text string, others ...*lab.NS) control.ApplyReport {
	b.t.Helper()
	text = strings.ReplaceAll(text, "$A", b.Parent.NS.Path())
	for i, ns := range others {
		text = strings.ReplaceAll(text, "$"+string(rune('B'+i)), ns.Path())
	}
	r, err := b.em.Engine.ApplyText(context.Background(), "f", text, dryRun)
	b.must(err)
	if r.Problems.Failed() {
		b.t.Fatalf("%v\n%s", r.Problems, text)
	}
	return r
}

// changes is what a report says was done, in one line.
func changes(r control.ApplyReport) string {
	var s []string
	for _, st := range r.Steps {
		line := st.Op + " " + st.Name
		if st.Error != "" {
			line += " FAILED"
		}
		s = append(s, line)
	}
	return strings.Join(s, ", ")
}

// stream is a TCP connection on which something always moves.
type stream struct {
	conn  net.Conn
	echos atomic.Uint64
	err   atomic.Pointer[error]
}

func (b *bed) stream(from, to *lab.NS, address string) *stream {
	b.t.Helper()
	var l net.Listener
	b.must(to.Do(func() (err error) { l, err = net.Listen("tcp4", address+":0"); return err }))
	s := &stream{}
	b.must(from.Do(func() (err error) {
		s.conn, err = net.DialTimeout("tcp4", l.Addr().String(), 10*time.Second)
		return err
	}))
	back, err := l.Accept()
	b.must(errors.Join(err, l.Close()))
	var ends sync.WaitGroup
	ends.Go(func() {
		buf := make([]byte, 1000)
		for {
			n, err := back.Read(buf)
			if err == nil {
				_, err = back.Write(buf[:n])
			}
			if err != nil {
				return
			}
		}
	})
	ends.Go(func() {
		buf := make([]byte, 1000)
		for {
			s.conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, err := s.conn.Write(buf)
			if err == nil {
				_, err = io.ReadFull(s.conn, buf)
			}
			if err != nil {
				s.err.Store(&err)
				return
			}
			s.echos.Add(1)
			time.Sleep(time.Millisecond)
		}
	})
	b.t.Cleanup(func() { s.conn.Close(); back.Close(); ends.Wait() })
	return s
}

// moves waits until the connection has carried more.
func (s *stream) moves(t *testing.T) {
	t.Helper()
	before := s.echos.Load()
	for end := time.Now().Add(15 * time.Second); s.echos.Load() < before+5; time.Sleep(5 * time.Millisecond) {
		if err := s.err.Load(); err != nil || time.Now().After(end) {
			t.Fatalf("the connection stands still: %v", err)
		}
	}
}

// TestApplyLeavesTheRestAlone: everything around one vmac is changed, two others
// exchange their addresses, and its TCP connection and counters don't notice.
func TestApplyLeavesTheRestAlone(t *testing.T) {
	b := newBed(t)
	inside, other := b.ns(), b.ns() // keep is alone inside: a second device there would answer ARP for it
	b.must(b.Wire.AddAddr("10.1.1.9/24"))
	r := b.apply(false, `parents:
  - name: va
    netns: $A
    vmacs:
      - {name: keep, netns: $B, mode: bridge, addresses: [10.1.1.2/24]}
      - {name: one, mode: bridge, mac: "02:00:00:00:01:01"}
      - {name: two, mode: bridge, mac: "02:00:00:00:01:02", mtu: 1400}
      - {name: goes, mode: private}
      - {name: moves, netns: $C}
      - {name: source, mode: source, macaddr: ["02:00:00:00:0e:01"]}
`, inside, other)
	if got := changes(r); got != "add keep, add one, add two, add goes, add moves, add source" {
		t.Fatal(got, r)
	}
	b.vmac(lab.Vmac{Name: "hand"})
	index := attrs(inside, "keep").Index
	s := b.stream(b.Wire.NS, inside, "10.1.1.2")
	s.moves(t)
	before := b.links(inside, "keep")[0]

	const second = `parents:
  - name: va
    netns: $A
    bclim: 3
    vmacs:
      - {name: keep, netns: $B, mode: bridge, addresses: [10.1.1.2/24]}
      - {name: one, mode: bridge, mac: "02:00:00:00:01:02"}
      - {name: two, mode: vepa, mac: "02:00:00:00:01:01", alias: x, owner: {a: b}, up: false}
      - {name: moves}
      - {name: source, mode: source, flags: [nodst], macaddr: ["02:00:00:00:0e:02"], bcqueuelen: 9, txqueuelen: 77, promisc: true}
      - {name: fresh}
`
	if r := b.apply(true, second, inside, other); len(r.Steps) < 6 || !r.DryRun {
		t.Errorf("dry run: %+v", r)
	}
	if now := b.links(inside, "keep")[0]; attrs(b.Parent.NS, "fresh") != nil || now.LinkInfo.Data.BCLim != nil {
		t.Error("a dry run has changed something")
	}
	r = b.apply(false, second, inside, other)
	if r.Failed() || len(r.Waiting) > 0 {
		t.Errorf("%+v", r)
	}
	if len(r.Notes) != 1 || r.Notes[0] != "hand on va was made by hand and is left alone" {
		t.Errorf("notes: %q", r.Notes)
	}
	s.moves(t)
	after := b.links(inside, "keep")[0]
	if attrs(inside, "keep").Index != index || after.Stats64.Rx.Packets < before.Stats64.Rx.Packets || after.Stats64.Tx.Packets < before.Stats64.Tx.Packets {
		t.Errorf("keep was touched: %+v, before %+v", after, before)
	}
	all := map[string]control.Link{}
	for _, l := range b.links(b.Parent.NS) {
		all[l.IfName] = l
	}
	switch {
	case all["one"].Address != "02:00:00:00:01:02" || all["two"].Address != "02:00:00:00:01:01":
		t.Errorf("addresses were not exchanged: %s, %s", all["one"].Address, all["two"].Address)
	case all["one"].OperState != "UP" || all["two"].OperState != "DOWN":
		t.Errorf("one is %s, two %s", all["one"].OperState, all["two"].OperState)
	case all["two"].LinkInfo.Data.Mode != "vepa" || all["two"].MTU != 1500 || all["two"].Alias != "x" || all["two"].Umacvlan.Owner["a"] != "b":
		t.Errorf("two is %+v", all["two"])
	case all["goes"].IfName != "" || all["hand"].IfName == "" || all["fresh"].IfName == "":
		t.Errorf("there are %v", all)
	case !all["source"].LinkInfo.Data.NoDst || fmt.Sprint(all["source"].LinkInfo.Data.MacaddrData) != "[02:00:00:00:0e:02]" ||
		all["source"].LinkInfo.Data.BCQueueLen != 9 || all["source"].TxQLen != 77 || !strings.Contains(fmt.Sprint(all["source"].Flags), "PROMISC"):
		t.Errorf("source is %+v", all["source"])
	case all["one"].LinkInfo.Data.BCLim == nil || *all["one"].LinkInfo.Data.BCLim != 3:
		t.Errorf("bclim is %v", all["one"].LinkInfo.Data.BCLim)
	case attrs(other, "moves") != nil || attrs(b.Parent.NS, "moves") == nil:
		t.Error("moves has not moved")
	}
	if r := b.apply(true, second, inside, other); len(r.Steps) != 0 {
		t.Errorf("applied again it would change: %s", changes(r))
	}
	if r := b.apply(false, "parents: []\n"); len(r.Steps) != 6 || r.Failed() {
		t.Errorf("%s", changes(r))
	}
	if len(b.links(b.Parent.NS)) != 1 {
		t.Errorf("left: %+v", b.links(b.Parent.NS))
	}
}

// TestApplyFailsOneByOne: what can't be done is said, and the rest is done.
func TestApplyFailsOneByOne(t *testing.T) {
	b := newBed(t)
	b.vmac(lab.Vmac{Name: "hand"})
	const text = `parents:
  - name: va
    netns: $A
    vmacs:
      - {name: big, mtu: 9000}
      - {name: hand, mode: private}
      - {name: good, addresses: [10.1.1.3/24]}
  - name: lo
    netns: $A
    vmacs: [{name: never}]
`
	r := b.apply(false, text)
	if got := changes(r); got != "set hand, add big FAILED, add good, add never FAILED" {
		t.Error(got)
	}
	for _, s := range r.Steps {
		if s.Name == "big" && !strings.Contains(s.Error, "mtu 9000 is more than the 1500 of the parent va") {
			t.Error(s.Error)
		}
	}
	if attrs(b.Parent.NS, "good") == nil {
		t.Error("good was not made")
	}
	// By hand until the file named it, so that the file's end is its end.
	if r := b.apply(false, "parents: []\n"); len(r.Steps) != 2 || r.Failed() {
		t.Errorf("%+v", r)
	}
}

// TestWaitForParent: it comes, goes with everything on it, and comes back.
func TestWaitForParent(t *testing.T) {
	b := newBed(t)
	inside := b.ns()
	r := b.apply(false, `parents:
  - name: late
    netns: $A
    vmacs:
      - {name: w0, mode: bridge, addresses: [10.1.2.1/24]}
      - {name: w1, netns: $B}
  - {name: late, netns: /nowhere, vmacs: [{name: w2}]}
`, inside)
	if len(r.Steps) != 0 || len(r.Waiting) != 3 {
		t.Fatalf("%+v", r)
	}
	if st := b.em.Engine.Status(); strings.Join(st.Waiting, ", ") != "w0: parent late, w1: parent late, w2: namespace /nowhere" {
		t.Errorf("waiting: %q", st.Waiting)
	}
	var mac string
	for range 3 {
		b.must(b.Parent.NS.Do(func() error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "late"}, PeerName: "peer"})
		}))
		start := time.Now()
		b.soonLong("the vmacs are there", func() bool {
			return attrs(b.Parent.NS, "w0") != nil && attrs(inside, "w1") != nil && len(b.em.Engine.Status().Waiting) == 1
		})
		t.Logf("%v after the parent", time.Since(start).Round(time.Millisecond))
		a := attrs(b.Parent.NS, "w0")
		if mac != "" && a.HardwareAddr.String() != mac {
			t.Errorf("it came back with %v, had %s", a.HardwareAddr, mac)
		}
		mac = a.HardwareAddr.String()
		b.must(b.Parent.NS.Do(func() error {
			l, err := netlink.LinkByName("w0")
			if err != nil {
				return err
			}
			list, err := netlink.AddrList(l, netlink.FAMILY_V4)
			if err == nil && (len(list) != 1 || list[0].IPNet.String() != "10.1.2.1/24") {
				err = fmt.Errorf("addresses: %v", list)
			}
			return err
		}))
		b.must(b.Parent.NS.Do(func() error {
			l, err := netlink.LinkByName("late")
			if err != nil {
				return err
			}
			return netlink.LinkDel(l)
		}))
		b.soonLong("the vmacs are gone, and waited for", func() bool {
			return attrs(b.Parent.NS, "w0") == nil && attrs(inside, "w1") == nil && len(b.em.Engine.Status().Waiting) == 3
		})
	}
	if r := b.apply(false, "parents: []\n"); len(r.Waiting)+len(r.Steps) != 0 || len(b.em.Engine.Status().Waiting) != 0 {
		t.Errorf("still waiting: %+v", r)
	}
}

// soonLong is soon with the patience for a machine that is busy.
func (b *bed) soonLong(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// TestApplyPassthruAddress: a passthru vmac with an address of its own has never
// been up with another, or its link-local address would be made from that.
func TestApplyPassthruAddress(t *testing.T) {
	b := newBed(t)
	inside := b.ns()
	for _, key := range []string{"all", "default"} {
		if err := lab.Sysctl(inside, "ipv6/conf/"+key+"/disable_ipv6", "0"); err != nil {
			t.Skip("a kernel without IPv6: ", err)
		}
	}
	r := b.apply(false, `parents: [{name: va, netns: $A, vmacs: [{name: pt, netns: $B, mode: passthru, mac: "02:00:00:00:07:01"}]}]
`, inside)
	if r.Failed() || attrs(b.Parent.NS, "va").HardwareAddr.String() != "02:00:00:00:07:01" {
		t.Fatalf("%+v", r)
	}
	if a := attrs(inside, "pt"); a.HardwareAddr.String() != "02:00:00:00:07:01" || a.Flags&net.FlagUp == 0 {
		t.Errorf("%+v", a)
	}
	var list []netlink.Addr
	b.soonLong("it has a link-local address", func() bool {
		b.must(inside.Do(func() (err error) {
			list, err = netlink.AddrList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: attrs(inside, "pt").Index}}, netlink.FAMILY_V6)
			return err
		}))
		return len(list) > 0
	})
	if len(list) != 1 || list[0].IP.String() != "fe80::ff:fe00:701" {
		t.Errorf("addresses: %v", list)
	}
}

// TestApplyFileMissing: an error, and nothing is deleted.
func TestApplyFileMissing(t *testing.T) {
	b := newBed(t)
	b.apply(false, "parents: [{name: va, netns: $A, vmacs: [{name: a}]}]\n")
	if _, err := b.em.Engine.ApplyFile(context.Background(), "/nowhere/f", false); !os.IsNotExist(err) {
		t.Error(err)
	}
	r, err := b.em.Engine.ApplyText(context.Background(), "f", "", false)
	b.must(err)
	if !r.Failed() || attrs(b.Parent.NS, "a") == nil {
		t.Errorf("%+v", r)
	}
}
