package random

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Size is how much there is in a scenario.
type Size struct {
	Frames   int
	Controls int // actions between the frames
}

// New makes a scenario: the same for the same seed, number and size. Nothing is
// expected in it; it is for comparing ways of running.
func New(seed, number uint64, size Size) *scenario.Scenario {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, number)), s: &scenario.Scenario{
		File:    fmt.Sprintf("random-%d-%d.scenario", seed, number),
		Title:   fmt.Sprintf("Random, seed %d, number %d", seed, number),
		Profile: scenario.Current,
		Parent:  scenario.Parent{MTU: scenario.DefaultMTU, Address: scenario.ParentMAC},
	}}
	m.parent = m.s.Parent.Address
	m.family = m.IntN(2)
	m.pieces = m.of(36) // few: the parent's stack sees fragments, which differs as known (3)
	m.topology()
	for left := size.Controls; ; left-- {
		frames := size.Frames / (size.Controls + 1)
		if left == 0 {
			frames = size.Frames - m.sent
		}
		if m.gone {
			frames = min(frames, 4)
		}
		for range frames {
			m.step(scenario.Step{Send: m.send()})
			m.sent++
		}
		if left == 0 || m.gone {
			break
		}
		m.step(scenario.Step{Control: m.action(left)})
	}
	refresh(m.s)
	return m.s
}

// refresh has the filter of a vmac made again wherever it would be stale: a new
// broadcast address and a group that was left count only from the next time that
// the kernel sets the device's receive mode, and that isn't ours alone to say.
// The corpus has what happens until then. Bringing up what is up does it.
func refresh(s *scenario.Scenario) {
	var steps []scenario.Step
	for i, st := range s.Steps {
		steps = append(steps, st)
		c := st.Control
		if c == nil || c.Verb != scenario.Leave && c.Attr != scenario.AttrBroadcast {
			continue
		}
		if i+1 < len(s.Steps) && s.Steps[i+1].Control != nil && s.Steps[i+1].Control.Who == c.Who && s.Steps[i+1].Control.Attr == scenario.AttrUp {
			continue
		}
		steps = append(steps, scenario.Step{Control: &scenario.Control{Verb: scenario.Set, Who: c.Who, Attr: scenario.AttrUp}})
	}
	s.Steps = steps
}

func (m *maker) step(s scenario.Step) { m.s.Steps = append(m.s.Steps, s) }

// action throws one, and has rare ones for the end: a rule at the parent, and that
// the parent goes or moves away.
func (m *maker) action(left int) *scenario.Control {
	switch {
	case left == 3 && m.of(3):
		m.rule = true
		dst := m.destination()
		if dst == classify.Broadcast { // players need those
			dst = m.group()
		}
		return m.parentSet(scenario.AttrIngress, dst.String())
	case left == 2 && m.rule:
		return m.parentSet(scenario.AttrIngress, "pass")
	case left == 1 && m.of(2):
		m.gone = true
		return &scenario.Control{Verb: scenario.Delete, Who: scenario.Port}
	case left == 1:
		return m.parentSet(scenario.AttrNetns, one(m, spaces[1:]))
	}
	return m.control()
}

// maker has the dice, and knows the port well enough to throw them with sense:
// it doesn't know what is refused.
type maker struct {
	*rand.Rand
	s     *scenario.Scenario
	vmacs []*vmac // that exist, as far as it knows
	flows []*flow // that fragments are still to come of
	made  int
	// started counts the flows that there have been.
	started int
	parent  classify.MAC
	family  int
	sent    int
	pieces  bool // datagrams for groups come in fragments
	rule    bool // one drops what the parent receives
	gone    bool
	down    bool // the parent is
	cut     bool // the cable is
	mute    bool // a rule drops what the parent sends
}

type vmac struct {
	name   string
	mac    classify.MAC
	mode   classify.Mode
	up     bool
	groups []classify.MAC
	netns  string

	promisc bool
}

func one[T any](m *maker, of []T) T { return of[m.IntN(len(of))] }

// of says yes once in n.
func (m *maker) of(n int) bool { return m.IntN(n) == 0 }

func ptr[T any](v T) *T { return &v }

// Addresses that nobody owns; some of them get into source lists.
var (
	strangers = macs("02:00:00:00:0e:01", "02:00:00:00:0e:03")
	sources   = macs("02:00:00:00:0e:02", "02:00:00:00:0e:04", "00:00:5e:00:01:01")
	unknown   = macs("02:00:00:00:77:77", "02:00:00:00:77:78", "00:00:00:00:00:00")
)

// families are groups of which the driver's filter never takes one for another.
// It is a hash of the last four octets and of where the vmac is in the kernel's
// memory (KERNEL.md 4.4): what differs in the last octet only never falls on
// one bit, wherever that is, because all that follows is multiplied by an odd
// number. A scenario takes all its groups from one family. Only the broadcast
// address, and allhosts for the second family, may share a bit with one of them;
// Leaks finds that.
var families = [][]classify.MAC{
	macs("01:00:5e:00:00:41", "01:00:5e:00:00:09", "33:33:5e:00:00:05"),
	macs("01:80:c2:00:00:00", "01:80:c2:00:00:01", "01:80:c2:00:00:0e"),
}

// twins share the last four octets with a group, or with an address that every
// vmac hears, so that no filter can tell them apart.
var twins = [][]classify.MAC{
	macs("33:33:5e:00:00:41", "03:00:ff:ff:ff:ff", "33:33:5e:00:00:01"),
	macs("33:33:c2:00:00:0e", "03:00:ff:ff:ff:ff", "33:33:5e:00:00:01"),
}

func macs(list ...string) []classify.MAC {
	out := make([]classify.MAC, len(list))
	for i, s := range list {
		m, err := classify.ParseMAC(s)
		if err != nil {
			panic(err)
		}
		out[i] = m
	}
	return out
}

func (m *maker) group() classify.MAC {
	if m.of(6) {
		return one(m, twins[m.family])
	}
	return one(m, families[m.family])
}

// topology chooses what kind of port it shall be, and makes its first vmacs.
func (m *maker) topology() {
	switch n := m.IntN(20); {
	case n < 6:
		v := m.vmac()
		v.Link.Mode = ptr(uint32(classify.Passthru))
		v.Address, v.MTU = "", nil
		if m.of(2) {
			v.Link.Flags = ptr(uint16(classify.NoPromisc))
		}
		v.Link.MacaddrMode, v.Link.List, v.Allmulti = nil, nil, false
		m.s.Vmacs = append(m.s.Vmacs, *v)
	default:
		for range 3 + m.IntN(6) {
			v := m.vmac()
			if n == 6 {
				v.Link.BCQueueLen = ptr[uint32](0)
			}
			if !slices.ContainsFunc(m.s.Vmacs, func(o scenario.Vmac) bool { return o.Address == v.Address }) && v.Address != addr(m.parent) {
				m.s.Vmacs = append(m.s.Vmacs, *v)
				continue
			}
			v.Down = true // it couldn't come up
			m.s.Vmacs = append(m.s.Vmacs, *v)
		}
	}
	for i := range m.s.Vmacs {
		m.exists(&m.s.Vmacs[i])
	}
}

// exists notes a vmac.
func (m *maker) exists(v *scenario.Vmac) {
	n := &vmac{name: v.Name, mode: classify.Vepa, up: !v.Down, netns: v.Netns, mac: m.s.Address(v), promisc: v.Promisc}
	if v.Link.Mode != nil {
		n.mode = classify.Mode(*v.Link.Mode)
	}
	for _, g := range v.Groups {
		mac, _ := m.s.MAC(g)
		n.groups = append(n.groups, mac)
	}
	m.vmacs = append(m.vmacs, n)
}

var modes = []classify.Mode{
	classify.Private, classify.Private, classify.Vepa, classify.Vepa, classify.Bridge, classify.Bridge, classify.Bridge, classify.Source, classify.Source,
}

// lengths of the broadcast queue: a burst fits, or nothing does.
var queueLengths = []uint32{0, 1000, 1000, 2000, 4000000000}

// vmac throws what one is made from.
func (m *maker) vmac() *scenario.Vmac {
	m.made++
	mode := one(m, modes)
	v := &scenario.Vmac{Name: fmt.Sprintf("%c%d", mode.String()[0], m.made), Link: scenario.Link{Mode: ptr(uint32(mode))}}
	v.Address = addr(m.newAddress())
	if m.of(12) {
		v.Link.Flags = ptr(uint16(m.IntN(4)))
	}
	if mode == classify.Source && !m.of(5) {
		v.Link.MacaddrMode, v.Link.List = ptr(rules.MacaddrSet), m.sourceList(v.Address)
		if m.of(3) {
			v.Link.Flags = ptr(uint16(classify.NoDst))
		}
	}
	if m.of(6) {
		v.Link.BCQueueLen = ptr(one(m, queueLengths))
	}
	if m.of(6) {
		v.Link.BCLim = ptr(int32(m.IntN(6) - 2))
	}
	if m.of(4) {
		v.MTU = ptr(uint32(100 + m.IntN(1401)))
	}
	if m.of(12) {
		v.Broadcast = addr(one(m, families[m.family]))
	}
	for range m.IntN(4) {
		if g := addr(m.group()); !slices.Contains(v.Groups, g) {
			v.Groups = append(v.Groups, g)
		}
	}
	v.Promisc, v.Allmulti = m.of(16), m.of(16)
	v.Down = m.of(5)
	if m.of(8) {
		v.Netns = one(m, spaces[1:])
	}
	return v
}

// spaces are the namespaces that vmacs live in; the first is the parent's.
var spaces = []string{"", "n1", "n2"}

func addr(m classify.MAC) scenario.Addr { return scenario.Addr(m.String()) }

// newAddress is of the vmac that is being made: one of its own, or now and then
// somebody else's.
func (m *maker) newAddress() classify.MAC {
	switch {
	case m.of(24):
		return m.parent
	case m.of(16) && len(m.vmacs) > 0:
		return one(m, m.vmacs).mac
	case m.of(32):
		return sources[2]
	}
	b := [6]byte{2, 0, 0, 0, byte(2 + m.IntN(4)), byte(m.made)}
	return classify.MACFrom(b[:])
}

// sourceList may name anybody who sends: strangers, vmacs, the lister itself.
func (m *maker) sourceList(own scenario.Addr) (list []scenario.Addr) {
	for range 1 + m.IntN(3) {
		a := addr(one(m, sources))
		switch {
		case m.of(6):
			a = own
		case m.of(4) && len(m.vmacs) > 0:
			a = addr(one(m, m.vmacs).mac)
		case m.of(16):
			a = addr(m.parent)
		}
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}
