package lab

import (
	"maps"
	"slices"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// course is what a scenario makes of the devices, as far as the emulator's
// deviations depend on it: one state for each step, as it is while the step is
// played.
type course struct {
	s  *scenario.Scenario
	at []situation
}

type situation struct {
	parent, original classify.MAC
	ingress          string // what a rule of the parent drops: pass, drop or an address
	vmacs            map[string]vmacState
}

type vmacState struct {
	mac       classify.MAC
	mode      classify.Mode
	broadcast classify.MAC
	promisc   bool
	allmulti  bool
	joined    []classify.MAC // not by the IP stack
	left      []classify.MAC // what the filter may still have
	netns     string
}

// hears says that a vmac has a reason to hear a group.
func (v *vmacState) hears(group classify.MAC) bool {
	return v.promisc || v.allmulti || sameToFilter(group, scenario.AllHosts) || sameToFilter(group, allNodes) ||
		sameToFilter(group, v.broadcast) || slices.ContainsFunc(v.joined, func(g classify.MAC) bool { return sameToFilter(g, group) })
}

// sameToFilter says that two groups end in the same four octets, which is all
// that mc_hash looks at.
func sameToFilter(a, b classify.MAC) bool {
	x, y := a.Bytes(), b.Bytes()
	return [4]byte(x[2:]) == [4]byte(y[2:])
}

// allNodes is joined by every device where the kernel has IPv6, even if it is
// switched off.
var allNodes = classify.MACFrom([]byte{0x33, 0x33, 0, 0, 0, 1})

// newCourse follows the control actions that ref was answered with success.
func newCourse(s *scenario.Scenario, ref *scenario.Result) *course {
	c := &course{s: s}
	now := situation{parent: s.Parent.Address, original: s.Parent.Address, ingress: "pass", vmacs: map[string]vmacState{}}
	for i := range s.Vmacs {
		now.add(s, &s.Vmacs[i])
	}
	for i := range s.Steps {
		c.at = append(c.at, now)
		if i >= len(ref.Outcomes) || s.Steps[i].Control == nil {
			continue
		}
		now.vmacs = maps.Clone(now.vmacs)
		now.apply(s, s.Steps[i].Control, ref.Outcomes[i].Answer)
	}
	return c
}

func (n *situation) add(s *scenario.Scenario, v *scenario.Vmac) {
	mode := classify.Vepa
	if v.Link.Mode != nil {
		mode = classify.Mode(*v.Link.Mode)
	}
	mac := s.Address(v)
	if mode == classify.Passthru {
		mac = n.parent
	}
	broadcast := classify.Broadcast
	if m, err := s.MAC(v.Broadcast); err == nil {
		broadcast = m
	}
	n.vmacs[v.Name] = vmacState{mac, mode, broadcast, v.Promisc, v.Allmulti, macs(s, v.Groups), nil, v.Netns}
}

func (n *situation) apply(s *scenario.Scenario, c *scenario.Control, a scenario.Answer) {
	v, exists := n.vmacs[c.Who]
	switch {
	case c.Verb == scenario.Add && a.Errno != "EEXIST" && !exists && (a.OK() || a.Errno == "EADDRINUSE"):
		n.add(s, c.Vmac) // one that can't come up is there all the same
	case c.Link != nil && exists && c.Link.Mode != nil && (a.OK() || c.Link.MacaddrMode != nil && valid(s, c.Link)):
		// What was done before one part is refused stays (macvlan_changelink).
		if m := classify.Mode(*c.Link.Mode); *c.Link.Mode <= uint32(classify.Source) && m.IsValid() && m != classify.Passthru && v.mode != classify.Passthru {
			v.mode = m
			n.vmacs[c.Who] = v
		}
	case !a.OK():
	case c.Verb == scenario.Delete && c.Attr == scenario.AttrNetns:
		for name, v := range n.vmacs {
			if v.netns == c.Value {
				n.remove(name)
			}
		}
	case c.Verb == scenario.Delete && exists:
		n.remove(c.Who)
	case c.Attr == scenario.AttrIngress:
		n.ingress = c.Value
		if mac, err := s.MAC(scenario.Addr(c.Value)); err == nil && c.Value != "drop" && c.Value != "pass" {
			n.ingress = mac.String()
		}
	case c.Attr == scenario.AttrBroadcast && exists:
		if mac, err := s.MAC(scenario.Addr(c.Value)); err == nil {
			v.left = append(slices.Clip(v.left), v.broadcast)
			v.broadcast = mac
			n.vmacs[c.Who] = v
		}
	case c.Verb == scenario.Fdb && exists:
		verb := scenario.Join
		if c.Attr == scenario.AttrFdbDel {
			verb = scenario.Leave
		}
		n.apply(s, &scenario.Control{Verb: verb, Who: c.Who, Groups: []scenario.Addr{scenario.Addr(c.Value)}}, a)
	case c.Verb == scenario.Join && exists:
		v.joined = slices.Concat(v.joined, macs(s, c.Groups))
		n.vmacs[c.Who] = v
	case c.Verb == scenario.Leave && exists:
		v.joined = slices.Clone(v.joined)
		for _, g := range macs(s, c.Groups) {
			if i := slices.Index(v.joined, g); i >= 0 {
				v.joined = slices.Delete(v.joined, i, i+1)
				v.left = append(slices.Clip(v.left), g)
			}
		}
		n.vmacs[c.Who] = v
	case c.Attr == scenario.AttrPromisc && exists:
		v.promisc = c.Value == "on"
		n.vmacs[c.Who] = v
	case c.Attr == scenario.AttrAllmulti && exists:
		v.allmulti = c.Value == "on"
		n.vmacs[c.Who] = v
	case c.Attr == scenario.AttrNetns && exists:
		if c.Value != v.netns && (c.Value != scenario.Port || v.netns != "") {
			v.joined, v.left = nil, nil // memberships end with the move
		}
		if v.netns = c.Value; v.netns == scenario.Port {
			v.netns = ""
		}
		n.vmacs[c.Who] = v
	case c.Attr == scenario.AttrAddress:
		mac, err := s.Octets(scenario.Addr(c.Value))
		if err != nil || len(mac) < 6 {
			return
		}
		n.setAddress(c.Who, classify.MACFrom(mac))
	}
}

// remove also gives the parent of a passthru vmac its address back.
func (n *situation) remove(name string) {
	if n.vmacs[name].mode == classify.Passthru {
		n.parent = n.original
	}
	delete(n.vmacs, name)
}

// valid says that a request gets past macvlan_validate, which comes before all
// else.
func valid(s *scenario.Scenario, l *scenario.Link) bool {
	for _, a := range append(slices.Clip(l.List), l.Macaddr) {
		if m, err := s.MAC(a); a != "" && (err != nil || !m.IsValid()) {
			return false
		}
	}
	return *l.MacaddrMode <= rules.MacaddrSet && (l.Flags == nil || *l.Flags <= uint16(classify.NoDst|classify.NoPromisc))
}

func macs(s *scenario.Scenario, names []scenario.Addr) (list []classify.MAC) {
	for _, a := range names {
		if m, err := s.MAC(a); err == nil {
			list = append(list, m)
		}
	}
	return list
}

// setAddress also follows a passthru vmac and its parent, which share one.
func (n *situation) setAddress(who string, mac classify.MAC) {
	v, exists := n.vmacs[who]
	switch {
	case who == scenario.Port:
		n.parent, n.original = mac, mac
	case !exists:
		return
	case v.mode == classify.Passthru:
		n.parent = mac
	default:
		v.mac = mac
		n.vmacs[who] = v
	}
	for name, v := range n.vmacs {
		if v.mode == classify.Passthru {
			v.mac = n.parent
			n.vmacs[name] = v
		}
	}
}
