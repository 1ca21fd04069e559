package config

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// check asks the rules whether all of it can be there at once, on parents of
// which nothing but the name is known.
func (d *decoder) check(c *Config) {
	k := &checker{
		d: d, netns: map[string]uint64{}, state: rules.NewState(0), used: map[classify.MAC]bool{},
		parents: map[device]pos{}, vmacs: map[device]pos{}, ips: map[address]string{},
	}
	for _, p := range c.Parents {
		for _, v := range p.Vmacs {
			k.used[v.MAC] = true
		}
	}
	for i := range c.Parents {
		p := &c.Parents[i]
		at := device{p.Netns, p.Name}
		if before, twice := k.parents[at]; twice {
			d.fail(p.at.of("name"), "parent %s is in line %d already; put its vmacs together", p.Name, before.line)
		}
		k.parents[at] = p.at.of("name")
	}
	for i := range c.Parents {
		p := &c.Parents[i]
		lower := rules.Parent{ID: rules.ParentID(i + 1), Name: p.Name, MTU: rules.MaxMTU, Up: true, Carrier: true}
		if bad := badName(p.Name); bad != "" {
			d.fail(p.at.of("name"), "%s", bad)
			continue
		}
		for j := range p.Vmacs {
			k.vmac(lower, p, &p.Vmacs[j])
		}
	}
	for at, here := range k.vmacs {
		if where, ok := k.parents[at]; ok {
			d.fail(where, "%s is a vmac of this file (line %d); name the parent of that", at.name, here.line)
		}
	}
}

type device struct{ netns, name string }

type address struct {
	netns string
	ip    netip.Addr
}

type checker struct {
	d       *decoder
	netns   map[string]uint64 // number of a namespace
	state   rules.State
	used    map[classify.MAC]bool
	random  uint64
	parents map[device]pos
	vmacs   map[device]pos
	ips     map[address]string
}

func (k *checker) vmac(lower rules.Parent, p *Parent, v *Vmac) {
	home := p.Home(v)
	if k.netns[home] == 0 {
		k.netns[home] = uint64(len(k.netns) + 1)
	}
	at := v.at.of("name")
	if bad := badName(v.Name); bad != "" {
		k.d.fail(at, "%s", bad)
		return
	}
	if before, twice := k.vmacs[device{home, v.Name}]; twice {
		k.d.fail(at, "%s is in line %d already", v.Name, before.line)
		return
	}
	k.vmacs[device{home, v.Name}] = at
	k.odd(v, home)

	// One attribute after the other on a parent of its own: the first that makes
	// the rules refuse is what the answer is about.
	mode := func(r *rules.Data) { m := uint32(v.Mode); r.Mode = &m }
	steps := []struct {
		key  string
		with func(*rules.NewLink)
	}{
		{"name", func(*rules.NewLink) {}},
		{"mac", func(r *rules.NewLink) { r.Address = octets(v.MAC) }},
		{"mtu", func(r *rules.NewLink) {
			if v.MTU > 0 {
				m := uint32(v.MTU)
				r.MTU = &m
			}
		}},
		{"mode", func(r *rules.NewLink) { r.Data = &rules.Data{}; mode(r.Data) }},
		{"flags", func(r *rules.NewLink) { f := uint16(v.Flags); r.Data.Flags = &f }},
		{"macaddr", func(r *rules.NewLink) {
			if len(v.Sources) > 0 {
				set := rules.MacaddrSet
				r.Data.MacaddrMode = &set
				for _, m := range v.Sources {
					r.Data.MacaddrData = append(r.Data.MacaddrData, octets(m))
				}
			}
		}},
	}
	in := rules.NewLink{Name: v.Name, Netns: k.netns[home], Kind: rules.Kind, Link: &lower, Random: k.draw()}
	for _, s := range steps {
		s.with(&in)
		if _, a, _ := rules.Apply(rules.State{}, in); !a.OK() {
			k.d.fail(v.at.of(s.key), "%s", a.Hint)
			return
		}
	}
	state, a, _ := rules.Apply(k.state, in)
	if !a.OK() {
		k.d.fail(v.at.of("mode"), "%s", a.Hint)
		return
	}
	k.state = state
	if !v.Up {
		return
	}
	if state, a, _ = rules.Apply(k.state, rules.SetUp{Vmac: a.Vmac, Up: true}); !a.OK() {
		k.d.fail(v.at.of("mac"), "%s", a.Hint)
		return
	}
	k.state = state
}

// odd warns of what the kernel allows and nobody means.
func (k *checker) odd(v *Vmac, home string) {
	if v.Flags&classify.NoPromisc != 0 && v.Mode != classify.Passthru {
		k.d.warn(v.at.of("flags"), "nopromisc does nothing in mode %s", v.Mode)
	}
	if v.Flags&classify.NoDst != 0 && v.Mode != classify.Source {
		k.d.warn(v.at.of("flags"), "nodst does nothing in mode %s", v.Mode)
	}
	if v.Mode == classify.Source && len(v.Sources) == 0 {
		k.d.warn(v.at.of("mode"), "a vmac of mode source hears nobody without macaddr")
	}
	for _, p := range v.Addresses {
		at := address{home, p.Addr()}
		if other := k.ips[at]; other != "" {
			k.d.warn(v.at.of("addresses"), "%v is an address of %s too, in the same namespace", p.Addr(), other)
		}
		k.ips[at] = v.Name
	}
}

// draw makes an address that nothing in the file has.
func (k *checker) draw() classify.MAC {
	for {
		k.random++
		m := classify.MAC(2 | k.random<<16)
		if !k.used[m] {
			return m
		}
	}
}

func octets(m classify.MAC) []byte {
	if m == 0 {
		return nil
	}
	b := m.Bytes()
	return b[:]
}

// badName says what is wrong with a device's name. A template has no place here:
// the name is what a vmac is known by.
func badName(name string) string {
	for _, r := range name {
		if r == '%' {
			return fmt.Sprintf("%q has a %%; a name in the file is a name in full", name)
		}
	}
	scratch := rules.Parent{ID: math.MaxUint64, MTU: 1500}
	_, a, _ := rules.Apply(rules.State{}, rules.NewLink{Name: name, Kind: rules.Kind, Link: &scratch, Random: 2})
	return a.Hint
}
