package rules

import (
	"strings"
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
	w.log = nil
	w.want(w.set("b", macB), 0) // its own
	w.want(w.set("a", macA), 0) // its own, while up
	w.wantActions()
	w.want(w.set("b", "00:00:00:00:00:00"), syscall.EADDRNOTAVAIL)
	w.want(w.set("b", "ff:ff:ff:ff:ff:ff"), syscall.EADDRNOTAVAIL)
	w.want(w.set("b", "01:00:5e:00:00:01"), syscall.EADDRNOTAVAIL)
	w.want(w.do(SetAddress{w.named["b"], []byte{2, 0, 0, 0, 1}}), syscall.EINVAL)

	seq := w.vmac("a").UpSeq
	w.want(w.set("a", macB), 0) // b is down
	w.wantActions(Action{Kind: SetMAC, Vmac: w.named["a"], MAC: mac(macB)})
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
	w.log = nil
	w.want(w.do(SetMTU{w.named["b"], 1000}), 0)
	w.wantActions(Action{Kind: ChangeMTU, Vmac: w.named["b"], MTU: 1000})
	w.log = nil
	w.want(w.do(SetMTU{w.named["b"], 1000}), 0)
	w.want(w.do(SetMTU{w.named["a"], 1500}), 0)
	w.wantActions()
	w.parentIs(func(p *Parent) { p.MTU = 1400 })
	w.parentIs(func(p *Parent) { p.MTU = 1500 })
	if a, b := w.vmac("a").MTU, w.vmac("b").MTU; a != 1400 || b != 1000 {
		t.Errorf("mtus are %d and %d, want 1400 and 1000", a, b)
	}
	w.wantActions(Action{Kind: ChangeMTU, Vmac: w.named["a"], MTU: 1400})
	w.want(w.do(SetMTU{w.named["a"], 1500}), 0) // as much as the parent's
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

// A passthru vmac's parent keeps the address that it is to get back through
// changes of anything else; and has nothing to get back if its address is the
// same.
func TestPassthruGivesBack(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru) }), 0)
	w.log = nil
	pt := w.named["pt"]
	w.want(w.set("pt", macA), 0)
	w.wantActions(Action{Kind: SetParentMAC, Parent: 1, MAC: mac(macA)}, Action{Kind: SetMAC, Vmac: pt, MAC: mac(macA)})
	w.parentIs(func(p *Parent) { p.MTU = 9000 })
	w.log = nil
	w.want(w.do(DelLink{pt}), 0)
	w.wantActions(Action{Kind: Delete, Vmac: pt}, Action{Kind: SetParentMAC, Parent: 1, MAC: mac(macP)})

	w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru) }), 0)
	pt = w.named["pt"]
	w.log = nil
	w.want(w.do(DelLink{pt}), 0)
	w.wantActions(Action{Kind: Delete, Vmac: pt})

	// No other mode gives anything back.
	w.addr("b", macB, classify.Bridge)
	w.parentIs(func(p *Parent) { p.MAC = mac(macC) })
	b := w.named["b"]
	w.log = nil
	w.want(w.do(DelLink{b}), 0)
	w.wantActions(Action{Kind: Delete, Vmac: b})
}

// The address that was asked for doesn't come; somebody gives the parent another
// one, which is its own then.
func TestPassthruOvertaken(t *testing.T) {
	for _, m := range []string{macA, macC} {
		w := newWorld(t)
		w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru) }), 0)
		var actions []Action
		w.s, _, actions = Apply(w.s, SetAddress{w.named["pt"], hw(macB)})
		if len(actions) != 1 {
			t.Errorf("actions are %+v", actions)
		}
		w.parentIs(func(p *Parent) { p.MAC = mac(m) })
		w.want(w.set("pt", macP), 0)
		w.want(w.do(DelLink{w.named["pt"]}), 0)
		if w.parent[1].MAC != mac(m) {
			t.Errorf("parent has %v, want %s", w.parent[1].MAC, m)
		}
	}
}

// A refusal says whose the address is.
func TestBusyHints(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	w.addr("b", macB, classify.Bridge)
	w.up("a")
	for m, owner := range map[string]string{macA: "the vmac a", macP: "the parent va"} {
		if a := w.set("b", m); !strings.Contains(a.Hint, owner) {
			t.Errorf("%s: %q", m, a.Hint)
		}
	}
}

// Vmacs and ports are told apart by their numbers, not by the order of these.
func TestLookups(t *testing.T) {
	w := newWorld(t)
	one := w.parent[1]
	w.parent[2] = &Parent{ID: 2, Name: "vb", MTU: 1500}
	for i, name := range []string{"a", "b", "c"} {
		w.want(w.add(name, func(r *NewLink) { r.Link = w.parent[ParentID(2-i%2)] }), 0) // a and c on vb
	}
	for _, name := range []string{"a", "b", "c"} {
		if v, p := w.s.Vmac(w.named[name]); v.Name != name || p.Parent.Name == one.Name != (name == "b") {
			t.Errorf("%s: %s on %s", name, v.Name, p.Parent.Name)
		}
	}
	if v, p := w.s.Vmac(77); v != nil || p != nil {
		t.Errorf("there is a vmac 77: %v %v", v, p)
	}
	if p := w.s.Port(1); p.Parent.Name != "va" {
		t.Errorf("port 1 is %s", p.Parent.Name)
	}
	if w.s.Port(0) != nil || w.s.Port(3) != nil {
		t.Error("there is a port 0 or 3")
	}
	if spec := w.s.Spec(3); spec.BCLim != classify.DefaultBCLim || len(spec.Vmacs) != 0 {
		t.Errorf("no port has spec %+v", spec)
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
