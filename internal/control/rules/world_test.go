package rules

import (
	"net"
	"syscall"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

// world drives Apply as a person would, with one parent "va" (ID 1) unless
// told otherwise, and carries out what the Actions say on its own idea of the
// devices.
type world struct {
	t      *testing.T
	s      State
	parent map[ParentID]*Parent
	named  map[string]VmacID
	log    []Action
}

const (
	netA = 100
	netB = 200
)

func newWorld(t *testing.T) *world {
	w := &world{t: t, parent: map[ParentID]*Parent{}, named: map[string]VmacID{}}
	w.parent[1] = &Parent{ID: 1, Name: "va", MAC: mac("02:00:00:00:00:0a"), MTU: 1500, Up: true, Carrier: true}
	return w
}

func mac(s string) classify.MAC { return classify.MACFrom(hw(s)) }

func hw(s string) []byte {
	b, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return b
}

func ptr[T any](v T) *T { return &v }

func mode(m classify.Mode) *Data { return &Data{Mode: ptr(uint32(m))} }

func (w *world) do(in Input) Answer {
	w.t.Helper()
	next, a, actions := Apply(w.s, in)
	w.s = next
	w.log = append(w.log, actions...)
	if _, seen := in.(VmacSeen); !a.OK() && !seen && len(actions) > 0 {
		w.t.Errorf("%T is refused, and asks for %+v", in, actions)
	}
	for _, act := range actions {
		if (act.Kind == SetParentMAC) != (act.Parent != 0) || (act.Kind == SetParentMAC) != (act.Vmac == 0) {
			w.t.Errorf("%T: action on no device: %+v", in, act)
		}
	}
	for _, act := range actions {
		switch act.Kind {
		case SetParentMAC:
			if p := w.parent[act.Parent]; p != nil {
				p.MAC = act.MAC
				w.do(ParentSeen{*p})
			}
		case Delete:
			for n, id := range w.named {
				if id == act.Vmac {
					delete(w.named, n)
				}
			}
		}
	}
	return a
}

// add makes a vmac on parent 1; tweak may change the request.
func (w *world) add(name string, tweak func(*NewLink)) Answer {
	w.t.Helper()
	r := NewLink{Name: name, Netns: netA, Kind: Kind, Link: w.parent[1], Random: mac("06:00:00:00:00:00") + classify.MAC(len(w.named)+1)<<40}
	if tweak != nil {
		tweak(&r)
	}
	a := w.do(r)
	if a.OK() {
		v, _ := w.s.Vmac(a.Vmac)
		w.named[v.Name] = a.Vmac
	}
	return a
}

func (w *world) addr(name, address string, m classify.Mode) {
	w.t.Helper()
	w.want(w.add(name, func(r *NewLink) { r.Address = hw(address); r.Data = mode(m) }), 0)
}

func (w *world) up(name string) Answer   { return w.do(SetUp{w.named[name], true}) }
func (w *world) down(name string) Answer { return w.do(SetUp{w.named[name], false}) }

func (w *world) set(name, address string) Answer {
	return w.do(SetAddress{w.named[name], hw(address)})
}

func (w *world) change(name string, d *Data) Answer {
	return w.do(ChangeLink{Vmac: w.named[name], Kind: Kind, Data: d})
}

func (w *world) vmac(name string) *Vmac {
	w.t.Helper()
	v, _ := w.s.Vmac(w.named[name])
	if v == nil {
		w.t.Fatalf("no vmac %s", name)
	}
	return v
}

// parentIs changes the parent as others would.
func (w *world) parentIs(change func(*Parent)) {
	w.t.Helper()
	change(w.parent[1])
	w.want(w.do(ParentSeen{*w.parent[1]}), 0)
}

func (w *world) want(a Answer, errno syscall.Errno) {
	w.t.Helper()
	if a.Errno != errno {
		w.t.Errorf("answer is %v (%s), want %v", a.Errno, a.Hint, errno)
	}
	if !a.OK() && a.Hint == "" {
		w.t.Errorf("refusal %v has no hint", a.Errno)
	}
}
