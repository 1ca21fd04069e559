package rules

import (
	"slices"
	"syscall"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

const (
	macA = "02:00:00:00:01:01"
	macB = "02:00:00:00:01:02"
	macC = "02:00:00:00:01:03"
	macP = "02:00:00:00:00:0a" // the parent's
)

// Row 180.
func TestSameAddressTwice(t *testing.T) {
	for _, m := range []classify.Mode{classify.Private, classify.Vepa, classify.Bridge, classify.Source} {
		w := newWorld(t)
		w.addr("a", macA, m)
		w.addr("b", macA, m)
		w.want(w.up("a"), 0)
		w.want(w.up("b"), syscall.EADDRINUSE)
		if w.vmac("b").Up {
			t.Error("b is up")
		}
		w.want(w.up("a"), 0) // up already
		w.want(w.down("a"), 0)
		w.want(w.up("b"), 0)
	}
}

// Row 181.
func TestAddressOfParent(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macP, classify.Bridge)
	w.want(w.up("a"), syscall.EADDRINUSE)
	w.parentIs(func(p *Parent) { p.MAC = mac(macC) })
	w.want(w.up("a"), 0)
}

// Rows 182 and 183.
func TestAddressChanges(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.addr("b", macB, classify.Bridge)
	w.want(w.up("a"), 0)
	w.want(w.set("a", macP), syscall.EADDRINUSE)
	w.want(w.set("b", macP), syscall.EADDRINUSE)
	w.want(w.set("b", macA), syscall.EADDRINUSE)
	w.want(w.set("b", macB), 0) // its own
	w.want(w.set("b", "00:00:00:00:00:00"), syscall.EADDRNOTAVAIL)
	w.want(w.set("b", "ff:ff:ff:ff:ff:ff"), syscall.EADDRNOTAVAIL)
	w.want(w.set("b", "01:00:5e:00:00:01"), syscall.EADDRNOTAVAIL)
	w.want(w.do(SetAddress{w.named["b"], []byte{2, 0, 0, 0, 1}}), syscall.EINVAL)

	seq := w.vmac("a").UpSeq
	w.want(w.set("a", macB), 0) // b is down
	if v := w.vmac("a"); v.MAC != mac(macB) || v.UpSeq <= seq {
		t.Errorf("a is %+v, want a new address and a new place", *v)
	}
	w.want(w.up("b"), syscall.EADDRINUSE)

	// A longer attribute is cut.
	w.want(w.do(SetAddress{w.named["b"], append(hw(macC), 9, 9)}), 0)
	if v := w.vmac("b"); v.MAC != mac(macC) || v.UpSeq != 0 {
		t.Errorf("b is %+v", *v)
	}
}

// Row 184's control side: the parent's change is never refused.
func TestParentTakesAddress(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.want(w.up("a"), 0)
	w.parentIs(func(p *Parent) { p.MAC = mac(macA) })
	if !w.vmac("a").Up || w.s.Spec(1).Parent != mac(macA) {
		t.Error("a went down, or the spec has the old address")
	}
	w.want(w.down("a"), 0)
	w.want(w.up("a"), syscall.EADDRINUSE)
}

// Row 193.
func TestMTU(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.addr("b", macB, classify.Bridge)
	w.want(w.do(SetMTU{w.named["a"], 1501}), syscall.EINVAL)
	w.want(w.do(SetMTU{w.named["b"], 1000}), 0)
	w.parentIs(func(p *Parent) { p.MTU = 1400 })
	w.parentIs(func(p *Parent) { p.MTU = 1500 })
	if a, b := w.vmac("a").MTU, w.vmac("b").MTU; a != 1400 || b != 1000 {
		t.Errorf("mtus are %d and %d, want 1400 and 1000", a, b)
	}
	if want := (Action{Kind: ChangeMTU, Vmac: w.named["a"], MTU: 1400}); !slices.Contains(w.log, want) {
		t.Error("no action clamps the device")
	}
	a := w.do(SetMTU{w.named["a"], 67})
	if w.want(a, syscall.EINVAL); a.Text != "mtu less than device minimum" {
		t.Errorf("text is %q", a.Text)
	}
	a = w.do(SetMTU{w.named["a"], 65536})
	if w.want(a, syscall.EINVAL); a.Text != "mtu greater than device maximum" {
		t.Errorf("text is %q", a.Text)
	}
}

// Rows 194 and 195, the vmac up and down.
func TestPassthruAddress(t *testing.T) {
	for _, up := range []bool{false, true} {
		w := newWorld(t)
		w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru) }), 0)
		if up {
			w.want(w.up("pt"), 0)
		}
		w.want(w.set("pt", macA), 0)
		if w.parent[1].MAC != mac(macA) || w.vmac("pt").MAC != mac(macA) {
			t.Errorf("parent %v, vmac %v, want %s", w.parent[1].MAC, w.vmac("pt").MAC, macA)
		}
		w.want(w.set("pt", "01:00:00:00:00:01"), syscall.EADDRNOTAVAIL)
		w.do(DelLink{w.named["pt"]})
		if w.parent[1].MAC != mac(macP) {
			t.Errorf("parent has %v after the delete", w.parent[1].MAC)
		}

		w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru) }), 0)
		w.want(w.set("pt", macA), 0)
		w.parentIs(func(p *Parent) { p.MAC = mac(macB) })
		if w.vmac("pt").MAC != mac(macB) {
			t.Error("the vmac did not follow its parent")
		}
		w.want(w.set("pt", macC), 0)
		w.do(DelLink{w.named["pt"]})
		if w.parent[1].MAC != mac(macB) {
			t.Errorf("parent has %v after the delete, want %s", w.parent[1].MAC, macB)
		}
	}
}

// Section 4.2: passthru is open to any address.
func TestPassthruOpens(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru) }), 0)
	w.want(w.up("pt"), 0)
	if spec := w.s.Spec(1); !spec.Vmacs[0].Up || spec.Vmacs[0].MAC != spec.Parent {
		t.Errorf("spec is %+v", spec)
	}
}

func TestUpSeqOrdersByLastUp(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.addr("b", macB, classify.Bridge)
	w.up("a")
	w.up("b")
	w.down("a")
	w.up("a")
	if w.vmac("a").UpSeq <= w.vmac("b").UpSeq {
		t.Error("a came up last, but doesn't stand last")
	}
}
