package rules

import (
	"slices"
	"syscall"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

// seen is what the device behind a vmac looks like if nobody touched it.
func (w *world) seen(name string, change func(*VmacSeen)) Answer {
	w.t.Helper()
	v := w.vmac(name)
	in := VmacSeen{Vmac: v.ID, Name: v.Name, Netns: v.Netns, MAC: v.MAC, Broadcast: v.Broadcast, MTU: v.MTU, Up: v.Up,
		Promisc: v.Promisc, Allmulti: v.Allmulti, Groups: v.Groups}
	change(&in)
	w.log = nil
	return w.do(in)
}

func (w *world) wantActions(want ...Action) {
	w.t.Helper()
	if !slices.Equal(w.log, want) {
		w.t.Errorf("actions are %+v, want %+v", w.log, want)
	}
}

func TestParentDownAndCarrier(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.addr("b", macB, classify.Bridge)
	w.up("a")
	w.log = nil
	a, b := w.named["a"], w.named["b"]
	w.parentIs(func(p *Parent) { p.Carrier = false })
	w.wantActions(Action{Kind: SetCarrier, Vmac: a}, Action{Kind: SetCarrier, Vmac: b})
	if !w.s.Spec(1).ParentDown || !w.vmac("a").Up {
		t.Error("the spec says that the parent runs, or a was taken down")
	}
	w.log = nil
	w.parentIs(func(p *Parent) { p.Up = false })
	w.wantActions()
	w.parentIs(func(p *Parent) { p.Up, p.Carrier = true, true })
	w.wantActions(Action{Kind: SetCarrier, Vmac: a, On: true}, Action{Kind: SetCarrier, Vmac: b, On: true})
	if w.s.Spec(1).ParentDown {
		t.Error("the spec says that the parent is down")
	}

	// A vmac added over a parent that is down starts without carrier.
	w.parentIs(func(p *Parent) { p.Up = false })
	w.log = nil
	w.addr("c", macC, classify.Bridge)
	w.wantActions(Action{Kind: SetCarrier, Vmac: w.named["c"]})
	w.want(w.up("c"), 0)
}

func TestParentGone(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.want(w.add("b", func(r *NewLink) { r.Netns = netB }), 0)
	a, b := w.named["a"], w.named["b"]
	w.log = nil
	w.want(w.do(ParentGone{1}), 0)
	w.wantActions(Action{Kind: Delete, Vmac: a}, Action{Kind: Delete, Vmac: b})
	if len(w.s.Ports()) != 0 {
		t.Error("a port is left")
	}
}

func TestPlainIpUpDown(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.addr("b", macA, classify.Bridge)
	w.want(w.seen("a", func(s *VmacSeen) { s.Up = true }), 0)
	w.wantActions()
	if !w.s.Spec(1).Vmacs[0].Up {
		t.Error("a isn't up")
	}
	w.want(w.seen("b", func(s *VmacSeen) { s.Up = true }), syscall.EADDRINUSE)
	w.wantActions(Action{Kind: SetDown, Vmac: w.named["b"]})
	if w.s.Spec(1).Vmacs[1].Up {
		t.Error("b is in the hash")
	}
	w.want(w.seen("a", func(s *VmacSeen) { s.Up = false }), 0)
	w.want(w.seen("b", func(s *VmacSeen) { s.Up = true }), 0)
}

func TestPlainIpAddress(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.addr("b", macB, classify.Bridge)
	w.up("a")
	w.want(w.seen("a", func(s *VmacSeen) { s.MAC = mac(macC) }), 0)
	w.wantActions()
	if got := w.s.Spec(1).Vmacs[0].MAC; got != mac(macC) {
		t.Errorf("address is %v", got)
	}
	for _, bad := range []string{macC, macP} {
		w.want(w.seen("b", func(s *VmacSeen) { s.MAC = mac(bad) }), syscall.EADDRINUSE)
		w.wantActions(Action{Kind: SetMAC, Vmac: w.named["b"], MAC: mac(macB)})
		if w.vmac("b").MAC != mac(macB) {
			t.Error("b took the address")
		}
	}
	// Up and a free address in one look: both hold.
	w.want(w.seen("b", func(s *VmacSeen) { s.MAC = mac(macA); s.Up = true }), 0)
}

func TestPlainIpPassthruAddress(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru) }), 0)
	w.want(w.seen("pt", func(s *VmacSeen) { s.MAC = mac(macA) }), 0)
	if w.parent[1].MAC != mac(macA) || w.vmac("pt").MAC != mac(macA) {
		t.Errorf("parent %v, vmac %v, want %s", w.parent[1].MAC, w.vmac("pt").MAC, macA)
	}
	w.do(DelLink{w.named["pt"]})
	if w.parent[1].MAC != mac(macP) {
		t.Errorf("parent has %v after the delete", w.parent[1].MAC)
	}
}

func TestPlainIpMTU(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.want(w.seen("a", func(s *VmacSeen) { s.MTU = 1280 }), 0)
	w.want(w.seen("a", func(s *VmacSeen) { s.MTU = 1501 }), syscall.EINVAL)
	w.wantActions(Action{Kind: ChangeMTU, Vmac: w.named["a"], MTU: 1280})
	if got := w.s.Spec(1).Vmacs[0].MTU; got != 1280 {
		t.Errorf("mtu is %d", got)
	}
}

func TestRenamedMovedAndGone(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Source)
	w.want(w.change("a", source(MacaddrAdd, "02:00:00:00:0e:01")), 0)
	w.addr("b", macB, classify.Bridge)
	w.want(w.seen("a", func(s *VmacSeen) { s.Name = "eth0"; s.Netns = netB }), 0)
	if v := w.vmac("a"); v.Name != "eth0" || v.Netns != netB {
		t.Errorf("a is %+v", *v)
	}
	w.want(w.do(VmacGone{w.named["a"]}), 0)
	if spec := w.s.Spec(1); len(spec.Vmacs) != 1 || len(spec.Sources) != 0 {
		t.Errorf("spec is %+v", spec)
	}
	w.do(VmacGone{w.named["b"]})
	if len(w.s.Ports()) != 0 {
		t.Error("the port outlived its last vmac")
	}
}

// Section 4.4, last paragraph: the port's filters are computed when a vmac's
// receive mode is set or bclim changes, from the parent's flags at that moment,
// and not when only the parent changes.
func TestFilterAll(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	stale := func() bool { return w.s.Port(1).FilterStale() }
	if stale() {
		t.Error("a down vmac made the filters stale")
	}
	w.down("a") // it is already
	if stale() {
		t.Error("a vmac that stays down made the filters stale")
	}
	w.up("a")
	if !stale() {
		t.Error("bringing a vmac up didn't make the filters stale")
	}
	w.do(FilterSeen{Parent: 1, Promisc: true})
	if s := w.s.Spec(1); stale() || !s.FilterAll || s.QueueCounts {
		t.Error("the filters aren't all ones over a promiscuous parent")
	}
	w.parentIs(func(p *Parent) { p.Carrier = false })
	if stale() {
		t.Error("a parent's change made the filters stale")
	}
	w.want(w.seen("a", func(s *VmacSeen) { s.Groups = []classify.MAC{mac("01:00:5e:00:00:01")} }), 0)
	if !stale() {
		t.Error("a join didn't make the filters stale")
	}
	w.do(FilterSeen{Parent: 1})
	if w.s.Spec(1).FilterAll {
		t.Error("the filters are all ones over a quiet parent")
	}
	w.want(w.change("a", &Data{BCLim: ptr(int32(3))}), 0)
	if !stale() {
		t.Error("bclim didn't make the filters stale")
	}
	w.do(FilterSeen{Parent: 1})
	w.want(w.change("a", &Data{BCLim: ptr(int32(3))}), 0)
	if stale() {
		t.Error("a bclim that stays made the filters stale")
	}
	w.want(w.change("a", &Data{BCLim: ptr(int32(2))}), 0)
	// Of the two it is only the one for the queue that bclim makes again, and a
	// negative one leaves that empty.
	for _, c := range []struct {
		bclim    int32
		rx, want bool
	}{{-1, false, false}, {0, false, true}, {-1, false, false}, {2, false, true}, {-1, true, true}, {3, false, true}} {
		w.want(w.change("a", &Data{BCLim: &c.bclim}), 0)
		if c.rx {
			w.want(w.up("a"), 0) // it is already
		}
		w.do(FilterSeen{Parent: 1, Promisc: true})
		if got := w.s.Spec(1).FilterAll; got != c.want {
			t.Errorf("bclim %d over a promiscuous parent, receive mode set %v: all ones %v, want %v", c.bclim, c.rx, got, c.want)
		}
	}
	// Over a parent that is no longer promiscuous bclim makes the one filter anew,
	// and the other stays all ones until a receive mode is set.
	for _, rx := range []bool{false, true} {
		w.want(w.change("a", &Data{BCLim: ptr(int32(2))}), 0)
		if rx {
			w.want(w.up("a"), 0)
		}
		w.do(FilterSeen{Parent: 1})
		if s := w.s.Spec(1); s.FilterAll == rx || s.QueueCounts == rx {
			t.Errorf("bclim over a quiet parent, receive mode set %v: all ones %v, the queue's counts %v", rx, s.FilterAll, s.QueueCounts)
		}
	}
}

// The first thing that is refused is the answer; all of it is taken back.
func TestSeveralRefused(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.want(w.seen("a", func(s *VmacSeen) { s.MAC, s.MTU = mac(macP), 1501 }), syscall.EADDRINUSE)
	w.wantActions(Action{Kind: SetMAC, Vmac: w.named["a"], MAC: mac(macA)}, Action{Kind: ChangeMTU, Vmac: w.named["a"], MTU: 1500})
}

// Each part of a receive mode, set and taken away, while up: ndo_set_rx_mode. A
// down device has none set, nor has one of which something else changed.
func TestReceiveModeStale(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	changes := []func(*VmacSeen){
		func(s *VmacSeen) { s.Promisc = true },
		func(s *VmacSeen) { s.Promisc = false },
		func(s *VmacSeen) { s.Allmulti = true },
		func(s *VmacSeen) { s.Allmulti = false },
		func(s *VmacSeen) { s.Broadcast = mac("01:02:03:04:05:06") },
		func(s *VmacSeen) { s.Broadcast = 0 },
		func(s *VmacSeen) { s.Groups = []classify.MAC{mac("01:00:5e:00:00:01")} },
		func(s *VmacSeen) { s.Groups = nil },
	}
	for _, up := range []bool{false, true} {
		if up {
			w.want(w.up("a"), 0)
		}
		for i, change := range changes {
			w.want(w.do(FilterSeen{Parent: 1}), 0)
			w.want(w.seen("a", change), 0)
			if got := w.s.Port(1).FilterStale(); got != up {
				t.Errorf("change %d, up %v: stale %v", i, up, got)
			}
		}
		w.want(w.do(FilterSeen{Parent: 1}), 0)
		w.want(w.seen("a", func(s *VmacSeen) { s.Name = "b" }), 0)
		if w.s.Port(1).FilterStale() {
			t.Error("a new name made the filters stale")
		}
	}
	for in, want := range map[FilterSeen]bool{
		{Parent: 1}: false, {Parent: 1, Promisc: true}: true, {Parent: 1, Allmulti: true}: true,
	} {
		w.want(w.do(in), 0)
		if got := w.s.Spec(1).FilterAll; got != want {
			t.Errorf("%+v: the filters are all ones: %v", in, got)
		}
	}
}

func TestSpecCarriesFilterInputs(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	g := []classify.MAC{mac("01:00:5e:00:00:01")}
	w.want(w.seen("a", func(s *VmacSeen) { s.Up, s.Promisc, s.Allmulti, s.Groups = true, true, true, g }), 0)
	v := w.s.Spec(1).Vmacs[0]
	if !v.Promisc || !v.Allmulti || !slices.Equal(v.Groups, g) || v.Name != "a" {
		t.Errorf("spec has %+v", v)
	}
}

func TestUnknownVmac(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	for _, in := range []Input{
		NewLink{Kind: Kind, Name: "x", Upper: 77}, ChangeLink{Vmac: 77, Kind: Kind}, SetAddress{77, hw(macB)}, SetMTU{77, 1400},
		SetUp{77, true}, DelLink{77}, VmacSeen{Vmac: 77}, VmacGone{77},
	} {
		w.want(w.do(in), syscall.ENODEV)
	}
	w.want(w.do(ParentSeen{Parent{ID: 77}}), 0)
	w.want(w.do(ParentGone{77}), 0)
	w.want(w.do(FilterSeen{Parent: 77}), 0)
	if len(w.s.Ports()) != 1 || len(w.s.Port(1).Vmacs) != 1 {
		t.Error("something else changed")
	}
}

// A new vmac's bclim makes a filter anew if it changes the port's, up or down.
func TestNewLinkBCLim(t *testing.T) {
	w := newWorld(t)
	limit := func(n int32) bool {
		t.Helper()
		w.do(FilterSeen{Parent: 1})
		d := mode(classify.Bridge)
		d.BCLim = &n
		w.want(w.add("n", func(r *NewLink) { r.Data = d }), 0)
		stale := w.s.Port(1).FilterStale()
		w.want(w.do(DelLink{Vmac: w.named["n"]}), 0)
		return stale
	}
	w.addr("a", macA, classify.Bridge)
	for _, c := range []struct {
		n    int32
		want bool
	}{{classify.DefaultBCLim, false}, {4, true}, {4, false}, {2, true}} {
		if got := limit(c.n); got != c.want {
			t.Errorf("bclim %d: stale %v, want %v", c.n, got, c.want)
		}
	}
}
