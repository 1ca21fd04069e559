package control_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// crowd makes n up vmacs of mixed modes in a namespace of their own, and lets them
// take part in traffic.
func (b *bed) crowd(tr *traffic, n int) map[int]*lab.Device {
	b.t.Helper()
	inside := b.ns()
	members := map[int]*lab.Device{}
	for i := range n {
		mode := []classify.Mode{classify.Bridge, classify.Bridge, classify.Vepa, classify.Private}[i%4]
		d := b.vmac(lab.Vmac{Name: fmt.Sprintf("vmac%d", i), MAC: numbered(i), Mode: mode, NS: inside})
		b.must(d.Up())
		members[i] = d
		tr.add(i, d)
	}
	b.steady(members)
	return members
}

// However often parent and vmacs go down and up, all is as before at the end.
func TestFlaps(t *testing.T) {
	b := newBed(t)
	tr := newTraffic(t, b.Wire)
	members := b.crowd(tr, 8)
	start, n := time.Now(), times(40, 1000)
	for i := range n {
		d := members[i%len(members)]
		b.must(d.Down())
		what := b.Parent
		if i%10 == 9 {
			what = b.Wire // which is the parent's carrier
		}
		b.must(what.Down())
		b.must(d.Up())
		b.must(what.Up())
		if i%8 == 7 {
			tr.check()
		}
	}
	t.Logf("%d flaps of parent and vmac in %v", n, time.Since(start).Round(time.Millisecond))
	b.steady(members)
	for _, l := range b.links(members[0].NS) {
		b.soon(l.IfName+" has its carrier", func() bool { return b.links(members[0].NS, l.IfName)[0].OperState == "UP" })
	}
	tr.end()
	for i := range members {
		b.must(members[i].Down())
	}
	b.steady(nil)
}

// Vmacs, and now and then their parent, move from namespace to namespace.
func TestMoves(t *testing.T) {
	b := newBed(t)
	tr := newTraffic(t, b.Wire)
	members := b.crowd(tr, 4)
	spaces := []*lab.NS{members[0].NS, b.ns(), b.ns(), b.Parent.NS}
	start, n := time.Now(), times(12, 100)
	parents := 0
	for i := range n {
		number := i % len(members)
		d := members[number]
		to := spaces[(i/len(members)+number+1)%len(spaces)]
		if to == d.NS {
			continue
		}
		tr.remove(number)
		b.must(d.NS.Do(func() error { return modify(d.Name, nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.FD())))) }))
		moved, err := lab.Find(to, d.Name)
		b.must(err)
		members[number] = moved
		if i%10 == 5 && !feature.Off(feature.NewNetns) && !feature.Off(feature.ListenAll) && !feature.Off(feature.DevNetns) {
			b.moveParent(spaces[(parents+1)%len(spaces)])
			b.must(b.Parent.Up())
			parents++
		}
		b.must(moved.Up())
		tr.add(number, moved)
	}
	t.Logf("%d moves of vmacs, %d of the parent, in %v", n, parents, time.Since(start).Round(time.Millisecond))
	b.steady(members)
	tr.end()
}

// Vmacs come up, have traffic, and go, beside others that stay.
func TestCycles(t *testing.T) {
	b := newBed(t)
	tr := newTraffic(t, b.Wire)
	stay := b.crowd(tr, 2)
	inside := stay[0].NS
	start, n := time.Now(), times(30, 10000)
	for i := range n {
		// One in four has an address that another had a moment ago.
		number := 100 + i - i%4/3
		r := control.LinkRequest{Op: "add", Name: "guest", Kind: "macvlan", Parent: "va", Address: ptr(numbered(number).String()), Data: data(classify.Bridge)}
		at := b.Parent.NS
		if i%8 == 0 {
			at, r.ToNetns = inside, ptr(inside.Path())
		}
		b.done(b.Parent.NS, r)
		d, err := lab.Find(at, "guest")
		b.must(err)
		b.must(d.Up())
		tr.add(number, d)
		if i%16 == 0 {
			b.soon("the guest hears", func() bool { return b.hears(d, numbered(number), 5*time.Millisecond) })
		}
		if i%2 == 0 {
			b.must(d.Down())
		}
		tr.remove(number)
		b.done(at, control.LinkRequest{Op: "delete", Name: "guest"})
	}
	t.Logf("%d cycles in %v", n, time.Since(start).Round(time.Millisecond))
	b.steady(stay)
	tr.end()
}
