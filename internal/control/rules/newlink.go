package rules

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/umacvlan/umacvlan/classify"
)

// MinMTU and MaxMTU bound what macvlan_common_setup allows a device.
const (
	MinMTU = 68
	MaxMTU = 65535
)

// Kind is the kind of link that the rules emulate.
const Kind = "macvlan"

// apply is rtnl_newlink, macvlan_validate and macvlan_common_newlink.
func (r NewLink) apply(s *State) (Answer, []Action) {
	if a := checkKind(r.Kind); !a.OK() {
		return a, nil
	}
	if a := validate(r.Address, r.Data); !a.OK() {
		return a, nil
	}
	if s.taken(r.Netns, r.Name, r.Taken) {
		return refuse(syscall.EEXIST, "a device named %s exists already; choose another name", r.Name), nil
	}
	if r.MTU != nil {
		if a := checkMTU(*r.MTU, MaxMTU); !a.OK() {
			return a, nil
		}
	}

	lower := r.Link
	if r.Upper != 0 {
		_, p := s.Vmac(r.Upper)
		lower = &p.Parent
	}
	switch {
	case r.Missing:
		return refuse(syscall.ENODEV, "the parent named by \"link\" doesn't exist in this namespace"), nil
	case lower == nil:
		return refuse(syscall.EINVAL, "a vmac needs a parent: add \"link DEV\""), nil
	}

	v := &Vmac{
		ID: s.last + 1, Netns: r.Netns, Mode: classify.Vepa, MTU: lower.MTU, MAC: r.Random,
		MaxMTU: MaxMTU, BCQueueLen: classify.DefaultBCQueueLen,
	}
	if lower.MaxMTU > 0 {
		v.MaxMTU = lower.MaxMTU
	}
	if r.MTU != nil {
		v.MTU = int(*r.MTU)
		if v.MTU > lower.MTU {
			return refuse(syscall.EINVAL, "mtu %d is more than the %d of the parent %s; raise that one first", v.MTU, lower.MTU, lower.Name), nil
		}
	}
	if r.Address != nil {
		v.MAC = classify.MACFrom(r.Address)
	}

	p := s.Port(lower.ID)
	if p == nil {
		if a := checkParent(lower); !a.OK() {
			return a, nil
		}
		p = &Port{Parent: *lower, PermMAC: lower.MAC, BCLim: classify.DefaultBCLim}
	}
	if p.Passthru {
		return refuse(syscall.EINVAL, "%s is passthru, which shares its parent with no other vmac", p.Vmacs[0].Name), nil
	}

	d := data(r.Data)
	if d.Mode != nil {
		v.Mode = classify.Mode(*d.Mode)
	}
	if d.Flags != nil {
		v.Flags = classify.Flags(*d.Flags)
	}
	passthru := v.Mode == classify.Passthru
	if passthru {
		if len(p.Vmacs) > 0 {
			return refuse(syscall.EINVAL, "passthru shares its parent with no other vmac, and %s has %s", lower.Name, p.Vmacs[0].Name), nil
		}
		v.MAC = lower.MAC // eth_hw_addr_inherit; an address given is overridden
	}
	var list []Source
	if d.MacaddrMode != nil {
		if v.Mode != classify.Source {
			return notSource(), nil
		}
		if a := changeSources(&list, v.ID, d); !a.OK() {
			return a, nil
		}
	}
	if d.BCQueueLen != nil {
		v.BCQueueLen = *d.BCQueueLen
	}

	// register_netdevice comes last, and with it the name.
	if a := s.pickName(v, r); !a.OK() {
		return a, nil
	}
	v.Carrier = p.running()

	s.last++
	if s.Port(lower.ID) == nil {
		s.ports = append(s.ports[:len(s.ports):len(s.ports)], p)
	}
	p = s.edit(lower.ID)
	p.Passthru = passthru
	p.Vmacs = append(p.Vmacs, v)
	p.Sources = append(p.Sources, list...)
	if d.BCLim != nil && *d.BCLim != p.BCLim { // update_port_bc_cutoff
		p.BCLim = *d.BCLim
		p.stale = true
	}
	return Answer{Vmac: v.ID}, []Action{{Kind: SetCarrier, Vmac: v.ID, On: v.Carrier}}
}

// checkKind refuses what rtnl_link_ops_get would not find.
func checkKind(kind string) Answer {
	switch kind {
	case Kind:
		return Answer{}
	case "macvtap":
		return Answer{Errno: syscall.EOPNOTSUPP, Text: "Unknown device type",
			Hint: "macvtap is not emulated; add a vmac of type macvlan: the device is a TAP already, or give the virtual machine a bridge on top of it"}
	}
	return Answer{Errno: syscall.EOPNOTSUPP, Text: "Unknown device type",
		Hint: fmt.Sprintf("only type macvlan is emulated, not %q", kind)}
}

// checkParent is macvlan_port_create.
func checkParent(d *Parent) Answer {
	switch {
	case d.Loopback:
		return refuse(syscall.EINVAL, "%s is a loopback device, which carries no Ethernet frames", d.Name)
	case d.NotEthernet:
		return refuse(syscall.EINVAL, "%s is no Ethernet device", d.Name)
	case d.Busy != "":
		return refuse(syscall.EBUSY, "the frames of %s go to %s already; take it out of there, or use that as the parent", d.Name, d.Busy)
	}
	return Answer{}
}

func checkMTU(mtu uint32, most int) Answer {
	if int32(mtu) < MinMTU { // dev_validate_mtu has an int
		a := refuse(syscall.EINVAL, "the smallest mtu is %d", MinMTU)
		a.Text = "mtu less than device minimum"
		return a
	}
	if int64(mtu) > int64(most) {
		a := refuse(syscall.EINVAL, "the largest mtu is %d", most)
		a.Text = "mtu greater than device maximum"
		return a
	}
	return Answer{}
}

// taken reports whether a device of that name lives in netns.
func (s *State) taken(netns uint64, name string, others func(string) bool) bool {
	for _, p := range s.ports {
		for _, v := range p.Vmacs {
			if v.Netns == netns && v.Name == name {
				return true
			}
		}
	}
	return others != nil && others(name)
}

// pickName is dev_get_valid_name for v, with the kind's default.
func (s *State) pickName(v *Vmac, r NewLink) Answer {
	name := r.Name
	if name == "" {
		name = Kind + "%d"
	}
	if !validName(name) {
		return refuse(syscall.EINVAL, "%q is no valid device name: 1 to 15 characters, no space, slash or colon", name)
	}
	before, after, template := strings.Cut(name, "%")
	if !template {
		v.Name = name
		return Answer{}
	}
	if !strings.HasPrefix(after, "d") || strings.Contains(after, "%") {
		return refuse(syscall.EINVAL, "a name may hold one %%d, and no other %%")
	}
	// One walk over the vmacs; only the number that is left is looked up.
	used := map[string]bool{}
	for _, p := range s.ports {
		for _, other := range p.Vmacs {
			if other.Netns == r.Netns {
				used[other.Name] = true
			}
		}
	}
	for n := 0; n < 32768; n++ {
		name := before + strconv.Itoa(n) + after[1:]
		if len(name) >= ifNameSize {
			break
		}
		if !used[name] && (r.Taken == nil || !r.Taken(name)) {
			v.Name = name
			return Answer{}
		}
	}
	return refuse(syscall.ENFILE, "every name of the form %s is taken", r.Name)
}

const ifNameSize = 16 // IFNAMSIZ, with the final zero

// validName is dev_valid_name for a name that isn't empty.
func validName(name string) bool {
	if len(name) >= ifNameSize || name == "." || name == ".." {
		return false
	}
	return !strings.ContainsAny(name, "/: \t\n\v\f\r")
}

// refuse makes a refusal without a text, as nearly all of macvlan's are.
func refuse(errno syscall.Errno, hint string, args ...any) Answer {
	return Answer{Errno: errno, Hint: fmt.Sprintf(hint, args...)}
}
