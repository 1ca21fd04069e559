package rules

import (
	"slices"
	"syscall"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

const (
	group = "01:00:5e:11:22:33"
	more  = "02:00:00:00:01:99"
	zero  = "00:00:00:00:00:00"
)

func (w *world) fdbAdd(name, address string) Answer {
	return w.do(FdbAdd{Vmac: w.named[name], Address: hw(address)})
}

func (w *world) fdbDel(name, address string) Answer {
	return w.do(FdbDel{Vmac: w.named[name], Address: hw(address)})
}

// Row 198.
func TestFdbOfBridge(t *testing.T) {
	for _, m := range []classify.Mode{classify.Private, classify.Vepa, classify.Bridge, classify.Source} {
		w := newWorld(t)
		w.addr("a", macA, m)
		w.want(w.up("a"), 0)
		w.want(w.do(FilterSeen{Parent: 1}), 0)
		for _, unicast := range []string{more, zero, macA} {
			w.want(w.fdbAdd("a", unicast), syscall.EOPNOTSUPP)
			w.want(w.fdbDel("a", unicast), syscall.EOPNOTSUPP)
		}
		w.log = nil
		w.want(w.fdbAdd("a", group), 0)
		w.wantActions(Action{Kind: AddGroup, Vmac: w.named["a"], MAC: mac(group)})
		if !w.s.Port(1).FilterStale() {
			t.Error("nobody computes the filters again")
		}
		if g := w.s.Spec(1).Vmacs[0].Groups; !slices.Equal(g, []classify.MAC{mac(group)}) {
			t.Errorf("subscribes to %v", g)
		}
		w.want(w.fdbAdd("a", group), syscall.EEXIST)
		w.want(w.do(FdbAdd{Vmac: w.named["a"], Address: hw(group), Replace: true}), syscall.EOPNOTSUPP)
		w.log = nil
		w.want(w.fdbDel("a", group), 0)
		w.wantActions(Action{Kind: DelGroup, Vmac: w.named["a"], MAC: mac(group)})
		w.want(w.fdbDel("a", group), syscall.ENOENT)
	}
}

// Row 197, up and down.
func TestFdbOfPassthru(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru) }), 0)
	unicast := func() []classify.MAC { s := w.s.Spec(1); return s.Addresses().Unicast }
	w.want(w.fdbAdd("pt", more), 0)
	w.want(w.fdbAdd("pt", zero), 0)
	if w.s.Port(1).FilterStale() || len(unicast()) != 0 {
		t.Error("a vmac that is down asks its parent for something")
	}
	w.want(w.up("pt"), 0)
	w.want(w.fdbAdd("pt", more), syscall.EEXIST)
	w.want(w.do(FdbAdd{Vmac: w.named["pt"], Address: hw(macB), Replace: true}), syscall.EOPNOTSUPP)
	if got := unicast(); !slices.Equal(got, []classify.MAC{0, mac(more)}) {
		t.Errorf("the parent is asked for %v", got)
	}
	if got := w.vmac("pt").Unicast; !slices.Equal(got, []classify.MAC{mac(more), 0}) {
		t.Errorf("pt has %v, not in order of addition", got)
	}
	w.want(w.fdbDel("pt", zero), 0)
	w.want(w.fdbDel("pt", zero), syscall.ENOENT)
	before := w.s
	w.want(w.fdbAdd("pt", zero), 0)
	if v, _ := before.Vmac(w.named["pt"]); !slices.Equal(v.Unicast, []classify.MAC{mac(more)}) {
		t.Errorf("an older state changed: %v", v.Unicast)
	}
	// dev_uc_flush at a move.
	v := w.vmac("pt")
	w.want(w.do(VmacSeen{Vmac: v.ID, Name: v.Name, Netns: netB, MAC: v.MAC, Broadcast: v.Broadcast, MTU: v.MTU}), 0)
	if v := w.vmac("pt"); v.Unicast != nil {
		t.Errorf("moved, and still with %v", v.Unicast)
	}
}

func TestFdbMalformed(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	id := w.named["a"]
	a := w.do(FdbAdd{Vmac: id, Address: []byte{1, 0, 0x5e, 0, 0}})
	if w.want(a, syscall.EINVAL); a.Text != "invalid address" {
		t.Errorf("text is %q", a.Text)
	}
	for vid, ok := range map[uint16]bool{0: false, 1: true, 4094: true, 4095: false} {
		a := w.do(FdbAdd{Vmac: id, Address: hw(group), Vlan: &vid})
		if ok {
			w.want(a, 0)
			w.want(w.do(FdbDel{Vmac: id, Address: hw(group), Vlan: &vid}), 0)
		} else if w.want(a, syscall.EINVAL); a.Text != "invalid vlan id" {
			t.Errorf("vlan %d: text is %q", vid, a.Text)
		}
	}
	w.want(w.do(FdbAdd{Vmac: id, Address: hw(group), Master: true}), syscall.EOPNOTSUPP)
	w.want(w.do(FdbDel{Vmac: id, Address: hw(group), Master: true}), syscall.EOPNOTSUPP)
	w.want(w.do(FdbAdd{Vmac: 77, Address: hw(group)}), syscall.ENODEV)
	w.want(w.do(FdbDel{Vmac: 77, Address: hw(group)}), syscall.ENODEV)
}

// Of two addresses the one that is meant goes, and they stay behind only when the
// device moves to another namespace.
func TestFdbKeepsTheRest(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru) }), 0)
	const low, high = "02:00:00:00:01:01", "02:00:00:00:01:03"
	for _, gone := range []string{low, high} {
		w.want(w.fdbAdd("pt", low), 0)
		w.want(w.fdbAdd("pt", high), 0)
		w.want(w.fdbDel("pt", gone), 0)
		if got := w.vmac("pt").Unicast; len(got) != 1 || got[0] == mac(gone) {
			t.Errorf("without %s it has %v", gone, got)
		}
		w.want(w.fdbDel("pt", map[string]string{low: high, high: low}[gone]), 0)
	}
	for _, to := range []uint64{netA, netB, netA} {
		w.want(w.fdbAdd("pt", low), 0)
		stays := w.vmac("pt").Netns == to
		w.want(w.seen("pt", func(s *VmacSeen) { s.Netns = to }), 0)
		if got := len(w.vmac("pt").Unicast) == 1; got != stays {
			t.Errorf("seen in %d it has its address %v, want %v", to, got, stays)
		}
		if stays {
			w.want(w.fdbDel("pt", low), 0)
		}
	}
	for _, address := range []string{"", "\x01\x00\x5e\x00\x00", "\x01\x00\x5e\x00\x00\x01\x02\x03"} {
		w.want(w.do(FdbAdd{Vmac: w.named["pt"], Address: []byte(address)}), syscall.EINVAL)
	}
}
