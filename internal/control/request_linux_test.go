package control_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// A refusal says why, and leaves nothing half made.
func TestRefusalsLeaveNothing(t *testing.T) {
	b := newBed(t)
	ns := b.Parent.NS
	fifo := filepath.Join(t.TempDir(), "fifo")
	b.must(unix.Mkfifo(fifo, 0o600))
	base := control.LinkRequest{Op: "add", Name: "x", Kind: "macvlan", Parent: "va"}
	with := func(change func(*control.LinkRequest)) control.LinkRequest {
		r := base
		change(&r)
		return r
	}
	for _, c := range []struct {
		name  string
		r     control.LinkRequest
		errno error
		hint  string
	}{
		{"no such parent", with(func(r *control.LinkRequest) { r.Parent = "nope" }), unix.ENODEV, "parent"},
		{"macvtap", with(func(r *control.LinkRequest) { r.Kind = "macvtap" }), unix.EOPNOTSUPP, "macvlan"},
		{"no such namespace", with(func(r *control.LinkRequest) { r.ToNetns = ptr("/run/netns/nope") }), unix.ENOENT, "nope"},
		{"no namespace", with(func(r *control.LinkRequest) { r.ToNetns = ptr("/dev/null") }), unix.EINVAL, "not a network namespace"},
		{"a FIFO, which nobody may wait for", with(func(r *control.LinkRequest) { r.ToNetns = ptr(fifo) }), unix.EINVAL, "not a network namespace"},
		{"another kind of namespace", with(func(r *control.LinkRequest) { r.ToNetns = ptr("/proc/self/ns/mnt") }), unix.EINVAL, "not a network namespace"},
		{"a zero byte in the name", with(func(r *control.LinkRequest) { r.Name = "x\x00y" }), unix.EINVAL, "zero byte"},
		{"a zero byte in the parent's", with(func(r *control.LinkRequest) { r.Parent = "va\x00y" }), unix.EINVAL, "zero byte"},
		{"garbage address", with(func(r *control.LinkRequest) { r.Address = ptr("zz:00") }), unix.EINVAL, "hardware address"},
		{"up with the parent's address", with(func(r *control.LinkRequest) { r.Address = ptr("02:00:00:00:00:0a"); r.Up = ptr(true) }), unix.EADDRINUSE, "the parent va"},
		{"name of a device", with(func(r *control.LinkRequest) { r.Name = "va" }), unix.EEXIST, "va exists"},
		{"unknown operation", with(func(r *control.LinkRequest) { r.Op = "frob" }), unix.EINVAL, "frob"},
		{"an alias that is too long", with(func(r *control.LinkRequest) { r.Alias = ptr(strings.Repeat("x", 300)) }), unix.ERANGE, ""},
		{"set of nothing", control.LinkRequest{Op: "set", Name: "nope"}, unix.ENODEV, ""},
		{"set of another device", control.LinkRequest{Op: "set", Name: "va", MTU: ptr(uint32(1400))}, unix.EOPNOTSUPP, "no vmac"},
		{"delete of another device", control.LinkRequest{Op: "delete", Name: "va"}, unix.EOPNOTSUPP, "no vmac"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub := *b
			sub.t = t
			r := sub.refused(ns, c.r, c.errno)
			if !strings.Contains(r.Hint, c.hint) {
				t.Errorf("hint is %q", r.Hint)
			}
			if attrs(ns, "x") != nil {
				t.Error("the device was made")
			}
			if st := b.em.Engine.Status(); st.Vmacs != 0 || len(st.Parents) != 0 {
				t.Errorf("status is %+v", st)
			}
		})
	}
	if r := b.refused(ns, with(func(r *control.LinkRequest) { r.Parent = "nope" }), unix.ENODEV); r.Device != "nope" {
		t.Errorf("device is %q", r.Device)
	}
	if a := attrs(ns, "va"); a == nil || a.MTU != 1500 || a.Promisc != 0 {
		t.Errorf("the parent is left as %+v", a)
	}
	// A refusal on a port that is in use leaves the port.
	b.vmac(lab.Vmac{Name: "y"})
	b.refused(ns, with(func(r *control.LinkRequest) { r.MTU = ptr(uint32(1501)) }), unix.EINVAL)
	if st := b.em.Engine.Status(); st.Vmacs != 1 {
		t.Errorf("status is %+v", st)
	}
}

// Every attribute of a set, in one request and in the kernel's order.
func TestSetEverything(t *testing.T) {
	b := newBed(t)
	inside := b.ns()
	b.vmac(lab.Vmac{Name: "x"})
	l := b.done(b.Parent.NS, control.LinkRequest{
		Op: "set", Name: "x", Kind: "macvlan", NewName: ptr("renamed"), ToNetns: ptr(inside.Path()),
		Address: ptr("02:00:00:00:05:01"), MTU: ptr(uint32(1300)), TxQLen: ptr(uint32(77)),
		Up: ptr(true), Promisc: ptr(true), Allmulti: ptr(true), Alias: ptr("mine"),
		Data: &control.MacvlanData{Mode: ptr(uint32(classify.Source)), MacaddrMode: ptr(uint32(3)), MacaddrData: []string{"2:0:0:0:e:1"}, BCLim: ptr(int32(4))},
	})
	// The answer is for a caller that the device has left.
	if l.IfName != "renamed" || l.Address != "02:00:00:00:05:01" || l.MTU != 1300 || l.TxQLen != 77 || l.Alias != "mine" ||
		l.Promiscuity != 1 || l.Allmulti != 1 || l.OperState != "UP" || l.LinkInfo.Data.Mode != "source" || *l.LinkInfo.Data.MacaddrCount != 1 ||
		*l.LinkInfo.Data.BCLim != 4 {
		t.Errorf("the device is %+v", *l)
	}
	if a := attrs(inside, "renamed"); a == nil || a.TxQLen != 77 || a.Alias != "mine" {
		t.Errorf("ip would say %+v", a)
	}
	// Somebody's own alias stays.
	b.done(inside, control.LinkRequest{Op: "set", Name: "renamed", Kind: "macvlan", Data: data(classify.Vepa)})
	if a := attrs(inside, "renamed"); a.Alias != "mine" {
		t.Errorf("alias is %q", a.Alias)
	}
	b.refused(b.Parent.NS, control.LinkRequest{Op: "set", Name: "x", Up: ptr(false)}, unix.ENODEV)

	// What stands before what is refused, stays.
	b.vmac(lab.Vmac{Name: "y"})
	b.refused(b.Parent.NS, control.LinkRequest{Op: "set", Name: "y", Kind: "macvlan", Data: data(classify.Private), MTU: ptr(uint32(1501)), Up: ptr(true)}, unix.EINVAL)
	if l := b.links(b.Parent.NS, "y")[0]; l.LinkInfo.Data.Mode != "private" || l.OperState != "DOWN" || l.Alias != "umacvlan mode private link va" {
		t.Errorf("after a half refused set: %+v", l)
	}
}

// Add is idempotent by owner.
func TestOwner(t *testing.T) {
	b := newBed(t)
	r := control.LinkRequest{Op: "add", Kind: "macvlan", Parent: "va", Owner: map[string]string{"cni": "container1"}}
	first := b.done(b.Parent.NS, r)
	if again := b.done(b.Parent.NS, r); again.IfIndex != first.IfIndex || again.Umacvlan.Owner["cni"] != "container1" {
		t.Errorf("the second add made %+v", *again)
	}
	r.Owner = map[string]string{"cni": "container2"}
	if other := b.done(b.Parent.NS, r); other.IfIndex == first.IfIndex {
		t.Error("another owner got the same device")
	}
	// Without an owner a taken name is refused.
	b.refused(b.Parent.NS, control.LinkRequest{Op: "add", Name: first.IfName, Kind: "macvlan", Parent: "va"}, unix.EEXIST)
}

// The article's pitfalls, with the commands that help.
func TestPitfalls(t *testing.T) {
	b := newBed(t)
	inside := b.ns()
	set := func(key, value string) {
		b.must(lab.Sysctl(b.Parent.NS, "ipv4/conf/"+key, value))
	}
	set("all/arp_ignore", "0")
	set("all/rp_filter", "1")
	set("default/rp_filter", "1")
	l := b.done(b.Parent.NS, control.LinkRequest{Op: "add", Name: "x", Kind: "macvlan", Parent: "va"})
	for _, command := range []string{"sysctl -w net.ipv4.conf.all.arp_ignore=1", "sysctl -w net.ipv4.conf.all.rp_filter=0", "sysctl -w net.ipv4.conf.x.rp_filter=0"} {
		if !has(l.Umacvlan.Warnings, command) {
			t.Errorf("%q is not among the warnings %q", command, l.Umacvlan.Warnings)
		}
	}
	set("all/arp_ignore", "1")
	set("all/rp_filter", "0")
	set("x/rp_filter", "0")
	if l := b.links(b.Parent.NS)[0]; len(l.Umacvlan.Warnings) != 0 {
		t.Errorf("warnings are %q", l.Umacvlan.Warnings)
	}
	set("all/arp_ignore", "0")
	l = b.done(b.Parent.NS, control.LinkRequest{Op: "add", Name: "y", Kind: "macvlan", Parent: "va", ToNetns: ptr(inside.Path())})
	if len(l.Umacvlan.Warnings) != 0 {
		t.Errorf("in a namespace of its own: %q", l.Umacvlan.Warnings)
	}
}

// What the parent does with the vmacs' addresses is found out by looking.
func TestFiltering(t *testing.T) {
	b := newBed(t)
	d := b.vmac(lab.Vmac{Name: "x"})
	shown := func() string { return b.links(b.Parent.NS, "x")[0].Umacvlan.Filtering }
	if s := shown(); s != "none: no vmac is up" {
		t.Errorf("down: %q", s)
	}
	b.must(d.Up())
	b.soon("promiscuous", func() bool { return strings.HasPrefix(shown(), "promiscuous: the driver") })
	b.must(d.Down())
	b.soon("none", func() bool { return strings.HasPrefix(shown(), "none") })
	// With the vmac's own promiscuity on top, the reason stays the driver.
	b.must(d.SetPromisc(true))
	b.must(d.Up())
	b.soon("promiscuous", func() bool { return strings.HasPrefix(shown(), "promiscuous: the driver") })
	if p := attrs(b.Parent.NS, "va").Promisc; p != 2 {
		t.Errorf("promiscuity is %d, want 2", p)
	}
}

// Before Run and after it, requests are not served.
func TestNotRunning(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	em := lab.NewEmulator()
	ns, err := control.CurrentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := em.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := em.Engine.Links(ns); err == nil {
		t.Error("a stopped engine lists links")
	}
	if _, r := em.Engine.Link(t.Context(), control.LinkRequest{Op: "add", Kind: "macvlan", Parent: "lo"}, ns); r == nil || r.Errno != int(unix.ESHUTDOWN) {
		t.Errorf("a stopped engine answers %v", r)
	}
}
