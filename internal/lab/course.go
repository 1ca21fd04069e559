package lab

import (
	"maps"

	"github.com/umacvlan/umacvlan/classify"
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
}

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
	n.vmacs[v.Name] = vmacState{mac, mode, broadcast}
}

func (n *situation) apply(s *scenario.Scenario, c *scenario.Control, a scenario.Answer) {
	v, exists := n.vmacs[c.Who]
	switch {
	case c.Verb == scenario.Add && a.Errno != "EEXIST" && !exists && (a.OK() || a.Errno == "EADDRINUSE"):
		n.add(s, c.Vmac) // one that can't come up is there all the same
	case c.Link != nil && exists && c.Link.Mode != nil && (a.OK() || c.Link.MacaddrMode != nil):
		// What was done before one part is refused stays (macvlan_changelink).
		if m := classify.Mode(*c.Link.Mode); *c.Link.Mode <= uint32(classify.Source) && m.IsValid() && m != classify.Passthru && v.mode != classify.Passthru {
			v.mode = m
			n.vmacs[c.Who] = v
		}
	case !a.OK():
	case c.Verb == scenario.Delete && exists:
		if v.mode == classify.Passthru {
			n.parent = n.original
		}
		delete(n.vmacs, c.Who)
	case c.Attr == scenario.AttrIngress:
		n.ingress = c.Value
		if mac, err := s.MAC(scenario.Addr(c.Value)); err == nil && c.Value != "drop" && c.Value != "pass" {
			n.ingress = mac.String()
		}
	case c.Attr == scenario.AttrBroadcast && exists:
		if mac, err := s.MAC(scenario.Addr(c.Value)); err == nil {
			v.broadcast = mac
			n.vmacs[c.Who] = v
		}
	case c.Attr == scenario.AttrAddress:
		mac, err := s.Octets(scenario.Addr(c.Value))
		if err != nil || len(mac) < 6 {
			return
		}
		n.setAddress(c.Who, classify.MACFrom(mac))
	}
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
