package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// Section 5: what happens to the parent happens to its vmacs.
func TestParentEvents(t *testing.T) {
	b := newBed(t)
	inside := b.ns()
	d := b.vmac(lab.Vmac{Name: "vmac0", NS: inside})
	b.must(d.Up())
	b.soon("the vmac hears", func() bool { return b.hears(d, d.MAC, 10*time.Millisecond) })
	shown := func() control.Link { return b.links(inside, "vmac0")[0] }

	b.must(b.Parent.Down())
	b.soon("the carrier is gone", func() bool {
		up, err := d.Operational()
		return err == nil && up == feature.Off(feature.SetCarrier) && shown().OperState == "LOWERLAYERDOWN"
	})
	if l := shown(); l.OperState != "LOWERLAYERDOWN" || !slices.Contains(l.Flags, "NO-CARRIER") || !slices.Contains(l.Flags, "M-DOWN") {
		t.Errorf("over a parent that is down: %v, state %s", l.Flags, l.OperState)
	}
	b.must(b.Parent.Up())
	b.soon("the carrier is back", func() bool {
		up, err := d.Operational()
		return err == nil && up && shown().OperState == "UP"
	})
	b.soon("the vmac hears again", func() bool { return b.hears(d, d.MAC, 10*time.Millisecond) })

	b.must(b.Wire.Down())
	b.soon("no carrier", func() bool { return shown().OperState == "LOWERLAYERDOWN" })
	if l := shown(); slices.Contains(l.Flags, "M-DOWN") {
		t.Errorf("over a parent without carrier: %v", l.Flags)
	}
	b.must(b.Wire.Up())
	b.soon("carrier", func() bool { return shown().OperState == "UP" })

	b.must(b.Parent.SetMTU(1400))
	b.soon("the mtu is clamped", func() bool { return attrs(inside, "vmac0").MTU == 1400 })
	b.must(b.Parent.SetMTU(1500))
	time.Sleep(20 * time.Millisecond)
	if m := attrs(inside, "vmac0").MTU; m != 1400 {
		t.Errorf("raising the parent's mtu raised the vmac's to %d", m)
	}

	b.must(b.Parent.NS.Do(func() error {
		l, err := netlink.LinkByName("va")
		if err != nil {
			return err
		}
		return netlink.LinkSetName(l, "eth7")
	}))
	b.soon("the alias names the parent", func() bool { return attrs(inside, "vmac0").Alias == "umacvlan mode bridge link eth7" })

	// The frames that the wire sent while the vmac had no carrier are not lost
	// on the ledger, nor is the parent.
	b.must(b.Parent.Delete())
	b.soon("vmacs go with their parent", func() bool { return attrs(inside, "vmac0") == nil && b.em.Engine.Status().Vmacs == 0 })
}

// A vmac can be made and brought up over a parent that is down.
func TestParentDownFirst(t *testing.T) {
	b := newBed(t)
	b.must(b.Parent.Down())
	l := b.done(b.Parent.NS, control.LinkRequest{Op: "add", Name: "x", Kind: "macvlan", Parent: "va", Up: ptr(true)})
	if l.OperState != "LOWERLAYERDOWN" {
		t.Errorf("state is %s", l.OperState)
	}
	d, err := lab.Find(b.Parent.NS, "x")
	b.must(err)
	b.must(b.Parent.Up())
	b.soon("it hears", func() bool { return b.hears(d, d.MAC, 10*time.Millisecond) })
}

// A parent that waits for being let in (802.1X) makes its vmacs wait too, but keeps
// nobody from sending (netif_stacked_transfer_operstate).
func TestParentDormant(t *testing.T) {
	b := newBed(t)
	d := b.vmac(lab.Vmac{Name: "vmac0"})
	b.must(d.Up())
	b.must(b.Parent.NS.Do(func() error { return modify("va", nl.NewRtAttr(unix.IFLA_LINKMODE, []byte{1})) }))
	b.must(b.Wire.Down()) // the mode counts with the next change
	shown := func(state string) func() bool {
		return func() bool { return b.links(b.Parent.NS, "vmac0")[0].OperState == state }
	}
	b.soon("no carrier", shown("LOWERLAYERDOWN"))
	b.must(b.Wire.Up())
	b.soon("dormant", shown("DORMANT"))
	// As the kernel shows a macvlan.
	if f := b.links(b.Parent.NS, "vmac0")[0].Flags; !slices.Equal(f, []string{"NO-CARRIER", "BROADCAST", "MULTICAST", "UP", "LOWER_UP", "DORMANT"}) {
		t.Errorf("flags are %v", f)
	}
	b.soon("it hears", func() bool { return b.hears(d, d.MAC, 10*time.Millisecond) })
}

// Row 208: the vmacs of a parent that moves survive, and stay where they are. The
// namespace that it moves to has neither name nor process.
func TestParentMoved(t *testing.T) {
	b := newBed(t)
	inside, to := b.ns(), b.ns()
	d := b.vmac(lab.Vmac{Name: "vmac0", NS: inside})
	b.must(d.Up())
	b.soon("the vmac hears", func() bool { return b.hears(d, d.MAC, 10*time.Millisecond) })
	before := b.links(inside)[0].Stats64.Rx.Packets
	if feature.Off(feature.DevNetns) {
		sleepIn(t, to)
	}
	b.moveParent(to)
	b.must(b.Parent.Up())
	if feature.Off(feature.NewNetns) || feature.Off(feature.ListenAll) {
		b.soon("the vmac goes with a parent that nobody tells the way of", func() bool { return attrs(inside, "vmac0") == nil })
		return
	}
	b.soon("the vmac hears by the moved parent", func() bool { return b.hears(d, d.MAC, 10*time.Millisecond) })
	if l := b.links(inside)[0]; l.Stats64.Rx.Packets <= before || l.Umacvlan.ParentIn != fmt.Sprintf("net:[%d]", to.Inode()) {
		t.Errorf("after the move it is shown as %+v", l)
	}
}

// A parent that moves on at once, before anybody could look where it is, and comes
// back.
func TestParentMovedOn(t *testing.T) {
	if feature.Off(feature.NewNetns) || feature.Off(feature.ListenAll) {
		t.Skip("a parent that nobody tells the way of counts as deleted")
	}
	b := newBed(t)
	inside, home := b.ns(), b.Parent.NS
	d := b.vmac(lab.Vmac{Name: "vmac0", NS: inside})
	b.must(d.Up())
	through := []*lab.NS{b.ns(), b.ns(), home}
	for _, ns := range through {
		sleepIn(t, ns)
	}
	for range 3 {
		for _, to := range through {
			b.moveParent(to)
		}
		b.must(b.Parent.Up())
		b.soon("the vmac hears", func() bool { return b.hears(d, d.MAC, 10*time.Millisecond) })
	}
}

// TestAddWhereParentHasMoved: who adds a vmac to a parent in its new namespace, as
// soon as it is there, doesn't make a second port of it.
func TestAddWhereParentHasMoved(t *testing.T) {
	b := newBed(t)
	inside, away, home := b.ns(), b.ns(), b.Parent.NS
	b.vmac(lab.Vmac{Name: "stay", NS: inside})
	// Else a parent that moves counts as deleted.
	follows := !feature.Off(feature.NewNetns) && !feature.Off(feature.ListenAll) && !feature.Off(feature.DevNetns)
	for i := range 6 {
		to := []*lab.NS{away, home}[i%2]
		h, err := control.OpenNamespace(to.Path())
		b.must(err)
		added := make(chan *control.Refusal)
		path := inside.Path()
		go func() {
			for {
				_, refusal := b.em.Engine.Link(context.Background(), control.LinkRequest{Op: "add", Name: fmt.Sprintf("new%d", i), Parent: "va", Kind: "macvlan", ToNetns: &path}, h)
				if refusal == nil || !errors.Is(refusal, unix.ENODEV) {
					added <- refusal
					return
				}
			}
		}()
		b.moveParent(to)
		refusal := <-added
		b.must(h.Close())
		if refusal != nil {
			t.Fatal(refusal)
		}
		if st := b.em.Engine.Status(); len(st.Parents) != 1 || follows && st.Vmacs != i+2 {
			t.Fatalf("move %d: %d vmacs on %v", i, st.Vmacs, st.Parents)
		}
	}
}

// moveParent is ip link set netns.
func (b *bed) moveParent(to *lab.NS) {
	b.t.Helper()
	b.must(b.Parent.NS.Do(func() error {
		return modify(b.Parent.Name, nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.FD()))))
	}))
	moved, err := lab.Find(to, b.Parent.Name)
	b.must(err)
	b.Parent = moved
}

// One engine serves many parents in many namespaces; names are the caller's.
func TestManyParents(t *testing.T) {
	b := newBed(t)
	second, err := lab.NewTopology(b.em, lab.Options{})
	b.must(err)
	t.Cleanup(func() { second.Close() })
	c := &bed{second, t, b.em}
	for _, x := range []*bed{b, c} {
		for i := range 3 {
			d := x.vmac(lab.Vmac{Name: fmt.Sprintf("vmac%d", i), MAC: hw(fmt.Sprintf("02:00:00:00:01:0%d", i))})
			x.must(d.Up())
		}
	}
	for _, x := range []*bed{b, c} {
		for i := range 3 {
			d := x.Vmacs[fmt.Sprintf("vmac%d", i)]
			x.soon("it hears", func() bool { return x.hears(d, d.MAC, 10*time.Millisecond) })
		}
		if n := len(x.links(x.Parent.NS)); n != 3 {
			t.Errorf("%d vmacs are shown, want 3", n)
		}
	}
	if st := b.em.Engine.Status(); len(st.Parents) != 2 || st.Vmacs != 6 {
		t.Errorf("status is %+v", st)
	}
	d := b.Vmacs["vmac0"]
	b.done(b.Parent.NS, control.LinkRequest{Op: "delete", Name: "vmac1"})
	if !b.hears(d, d.MAC, 50*time.Millisecond) || !c.hears(c.Vmacs["vmac1"], c.Vmacs["vmac1"].MAC, 50*time.Millisecond) {
		t.Error("deleting one made another one deaf")
	}
}

// Many come, go up, and go at once.
func TestChurn(t *testing.T) {
	b := newBed(t)
	const n = 60
	inside := b.ns()
	for i := range n {
		r := control.LinkRequest{Op: "add", Kind: "macvlan", Parent: "va", Up: ptr(true), Data: data(classify.Bridge)}
		if i%2 == 1 {
			r.ToNetns = ptr(inside.Path())
		}
		b.done(b.Parent.NS, r)
	}
	if a, c := len(b.links(b.Parent.NS)), len(b.links(inside)); a != n/2 || c != n/2 {
		t.Errorf("%d and %d are shown", a, c)
	}
	done := make(chan *control.Refusal)
	for i := range n / 2 {
		go func() {
			_, r := b.ask(inside, control.LinkRequest{Op: "delete", Name: fmt.Sprintf("macvlan%d", i)})
			done <- r
		}()
	}
	for range n / 2 {
		if r := <-done; r != nil {
			t.Error(r)
		}
	}
	if n := len(b.links(inside)); n != 0 {
		t.Errorf("%d are left", n)
	}
	var d *lab.Device
	for _, l := range b.links(b.Parent.NS) {
		var err error
		d, err = lab.Find(b.Parent.NS, l.IfName)
		b.must(err)
		b.soon(l.IfName+" hears", func() bool { return b.hears(d, d.MAC, 10*time.Millisecond) })
	}
	if p := attrs(b.Parent.NS, "va").Promisc; p != 1 {
		t.Errorf("promiscuity is %d", p)
	}
}

// What already takes the parent's frames is named.
func TestBusyParent(t *testing.T) {
	b := newBed(t)
	b.must(b.Parent.NS.Do(func() error {
		a := netlink.NewLinkAttrs()
		a.Name = "br0"
		br := &netlink.Bridge{LinkAttrs: a}
		if err := netlink.LinkAdd(br); err != nil {
			return err
		}
		l, err := netlink.LinkByName("va")
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(l, br)
	}))
	r := b.refused(b.Parent.NS, control.LinkRequest{Op: "add", Name: "x", Kind: "macvlan", Parent: "va"}, unix.EBUSY)
	if !has([]string{r.Hint}, "bridge br0") {
		t.Errorf("hint is %q", r.Hint)
	}
	// The kernel would keep a parent out of a bridge; here it is said.
	b.must(b.Parent.NS.Do(func() error {
		l, err := netlink.LinkByName("va")
		if err != nil {
			return err
		}
		return netlink.LinkSetNoMaster(l)
	}))
	b.done(b.Parent.NS, control.LinkRequest{Op: "add", Name: "y", Kind: "macvlan", Parent: "va"})
	b.must(b.Parent.NS.Do(func() error {
		l, err := netlink.LinkByName("va")
		if err != nil {
			return err
		}
		br, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(l, br)
	}))
	b.soon("the warning", func() bool { return has(b.links(b.Parent.NS, "y")[0].Umacvlan.Warnings, "port of bridge br0") })
	// A bridge itself is as good a parent as any.
	b.done(b.Parent.NS, control.LinkRequest{Op: "add", Name: "x", Kind: "macvlan", Parent: "br0"})
}
