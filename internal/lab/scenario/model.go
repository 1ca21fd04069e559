package scenario

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane/defrag"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// NewModel returns the way of running that needs nothing: macvlan as the
// packages rules and classify decide it, with a parent, a wire and a host's
// stack that are made up. It may be used from any number of goroutines.
//
// Time doesn't pass, so that fragments wait for each other for ever, and nothing is
// overtaken: a queue with any room holds all. A group that a vmac's filter would only admit
// because its hash collides is not admitted, as such a collision depends on a
// pointer in the kernel.
func NewModel() Player { return model{} }

type model struct{}

func (model) Way() Way { return Model }

func (model) Play(ctx context.Context, s *Scenario) (*Result, error) {
	m := newMachine(s)
	for i := range s.Vmacs {
		if a := m.add(&s.Vmacs[i]); !a.OK() {
			return nil, fmt.Errorf("%s: vmac %s: %v", s.File, s.Vmacs[i].Name, a)
		}
	}
	r := &Result{Way: Model}
	for i := range s.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out, err := m.step(i)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", s.File, s.Steps[i].Line, err)
		}
		r.Outcomes = append(r.Outcomes, *out)
	}
	return r, nil
}

// machine is the made-up host: the control plane's state, and what stands
// around it.
type machine struct {
	s       *Scenario
	profile profile

	state  rules.State
	parent rules.Parent
	gone   bool // the parent is
	vmacs  map[string]rules.VmacID
	extra  map[rules.VmacID]*device

	flags    map[Attr]bool // of the parent: promisc, allmulti
	promisc  int           // of the parent, beside what vmacs bring
	allmulti int
	// uc says that the parent is promiscuous as it can't filter the secondary
	// addresses that it has; that changes only while it is up.
	uc      bool
	cable   int // the wire's MTU
	netns   string
	ingress string // a tc rule: pass, drop, or an address
	egress  string

	fragments map[string]*defrag.Queues // by the namespace that the parent was in when they came

	keys   map[rules.VmacID]uint32 // what was added to a filter key to avoid collisions
	counts map[string]*Counters    // of this step
}

// device is what the rules don't know of a vmac's net_device.
type device struct {
	groups []classify.MAC // joined, as often, beside what the IPv4 stack does; sorted
	netns  string
	// address is what a passthru vmac of an old profile has instead of the
	// parent's.
	address classify.MAC
	// heard is the broadcast address that the vmac's filter was made with; 0 if
	// it is the device's.
	heard classify.MAC
	// left is the group that was left last, if the filter has not been made
	// again since: it is made from the device's list before the parent's copy
	// of the entry goes, and with it the entry.
	left classify.MAC
}

// remade says that the vmac's filter has been made again.
func (d *device) remade() { d.heard, d.left = 0, 0 }

func newMachine(s *Scenario) *machine {
	return &machine{
		s: s, profile: profiles[orCurrent(s.Profile)],
		parent: rules.Parent{
			ID: 1, Name: Port, MAC: s.Parent.Address, MTU: s.Parent.MTU, Up: true, Carrier: true,
		},
		vmacs: map[string]rules.VmacID{}, extra: map[rules.VmacID]*device{}, keys: map[rules.VmacID]uint32{},
		fragments: map[string]*defrag.Queues{}, flags: map[Attr]bool{}, cable: s.Parent.MTU, ingress: "pass", egress: "pass",
	}
}

// step plays one step.
func (m *machine) step(i int) (*Outcome, error) {
	m.counts = map[string]*Counters{}
	out := &Outcome{}
	st := &m.s.Steps[i]
	if st.Send != nil {
		frame, err := m.s.Frame(i)
		if err != nil {
			return nil, err
		}
		if _, is := classify.Fragment(frame); is && st.Send.From == Wire {
			m.sendEach(st.Send, frame, out)
		} else {
			m.send(st.Send, frame, out)
			m.multiply(out, st.Send.Times)
		}
	} else {
		a := m.control(st.Control)
		out.Answer = a
		if st.Control.Verb == Show {
			out.Shows = []Shown{m.show(st.Control.Who)}
		}
	}
	if p := m.port(); p != nil {
		for _, v := range p.Vmacs {
			out.Counts = append(out.Counts, Count{v.Name, *m.count(v.Name)})
		}
	}
	if !m.gone {
		out.Counts = append(out.Counts, Count{Port, *m.count(Port)})
	}
	return out, nil
}

// multiply makes one sending into many: nothing that a frame does changes what
// becomes of the next.
func (m *machine) multiply(out *Outcome, times int) {
	if times < 2 {
		return
	}
	for i := range out.Gets {
		out.Gets[i].Times = times
	}
	n := uint64(times)
	for _, c := range m.counts {
		*c = Counters{
			c.RxPackets * n, c.RxBytes * n, c.RxErrors * n, c.RxDropped * n, c.Multicast * n,
			c.TxPackets * n, c.TxBytes * n, c.TxDropped * n,
		}
	}
}

// sendEach sends a frame as often as it says, as each may meet what the one before
// it has left behind.
func (m *machine) sendEach(s *Send, frame []byte, out *Outcome) {
	for range max(1, s.Times) {
		one := &Outcome{}
		m.send(s, frame, one)
		out.Answer, out.Why, out.Explained = one.Answer, one.Why, one.Explained
		for _, d := range one.Gets {
			i := slices.IndexFunc(out.Gets, func(o Delivery) bool {
				return o.Who == d.Who && o.Type == d.Type && bytes.Equal(o.Frame, d.Frame)
			})
			if i < 0 {
				d.Times = 1
				out.Gets = append(out.Gets, d)
			} else {
				out.Gets[i].Times++
			}
		}
	}
}

func (m *machine) count(who string) *Counters {
	c := m.counts[who]
	if c == nil {
		c = &Counters{}
		m.counts[who] = c
	}
	return c
}

func (m *machine) port() *rules.Port { return m.state.Port(m.parent.ID) }

// vmac returns a vmac by name, nil if there is none.
func (m *machine) vmac(name string) *rules.Vmac {
	v, _ := m.state.Vmac(m.vmacs[name])
	return v
}

// apply lets the rules answer and does to the devices what they say.
func (m *machine) apply(in rules.Input) rules.Answer {
	next, answer, actions := rules.Apply(m.state, in)
	m.state = next
	for _, a := range actions {
		if a.Kind == rules.SetParentMAC && !m.gone {
			m.parent.MAC = a.MAC
			m.apply(rules.ParentSeen{Parent: m.parent})
		}
	}
	return answer
}

// settle does what the kernel does by itself after a change: the IPv4 stack
// joins or leaves its group, and the port's filters follow.
func (m *machine) settle() {
	if m.parent.Up {
		spec := m.state.Spec(m.parent.ID)
		m.uc = len(spec.Addresses().Unicast) > 0
	}
	p := m.port()
	if p == nil {
		return
	}
	for _, v := range p.Vmacs {
		d := m.extra[v.ID]
		groups := d.groups
		if v.Up {
			groups = append(slices.Clip(groups), AllHosts)
		}
		groups = sorted(groups)
		if !slices.Equal(groups, v.Groups) {
			m.seen(v, func(r *rules.VmacSeen) { r.Groups = groups })
		}
	}
	if p = m.port(); p.FilterStale() {
		m.apply(rules.FilterSeen{Parent: m.parent.ID, Promisc: m.promiscuity() != 0, Allmulti: m.allmulticast() != 0})
	}
}

// seen changes what a device is like as its owner may.
func (m *machine) seen(v *rules.Vmac, change func(*rules.VmacSeen)) rules.Answer {
	r := rules.VmacSeen{
		Vmac: v.ID, Name: v.Name, Netns: v.Netns, MAC: v.MAC, Broadcast: v.Broadcast, MTU: v.MTU,
		Up: v.Up, Promisc: v.Promisc, Allmulti: v.Allmulti, Groups: v.Groups,
	}
	change(&r)
	return m.apply(r)
}

// spec is what the port decides by now about a frame from the wire or from a
// vmac, as the profile has it.
func (m *machine) spec(from int) classify.Spec {
	s := m.state.Spec(m.parent.ID)
	p := m.port()
	if p == nil {
		s.Parent, s.ParentDown = m.parent.MAC, !m.running()
		return s
	}
	for i, v := range p.Vmacs {
		d := m.extra[v.ID]
		if d.address != 0 {
			s.Vmacs[i].MAC = d.address
		}
		// The port's filter never had the one, and is made without the other.
		for _, g := range []classify.MAC{d.heard, d.left} {
			if g != 0 && (s.FilterAll || from != classify.FromWire || g == classify.Broadcast) {
				s.Vmacs[i].Groups = append(sorted(s.Vmacs[i].Groups), g)
			}
		}
		s.Vmacs[i].FilterKey += m.keys[v.ID]
	}
	m.profile.change(&s)
	return s
}

func (m *machine) running() bool { return !m.gone && m.parent.Up && m.parent.Carrier }
