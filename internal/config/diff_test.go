package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

// machine knows the namespaces and parents of a file.
func machine(c *Config) Machine {
	ids := map[string]uint64{"": 1}
	id := func(s string) uint64 {
		if ids[s] == 0 {
			ids[s] = uint64(len(ids) + 1)
		}
		return ids[s]
	}
	return Machine{
		Netns: func(ns string) (uint64, bool) { return id(ns), !strings.HasPrefix(ns, "absent") },
		Parent: func(ns, name string) (uint64, bool) {
			return id(ns + " " + name), !strings.HasPrefix(name, "absent")
		},
	}
}

// asRunning is what runs after a file has been applied, seen with the same
// machine.
func asRunning(c *Config) []Running {
	var run []Running
	m := machine(c)
	for i := range c.Parents {
		p := c.Parents[i]
		for _, v := range p.Vmacs {
			r := Running{Parent: p, ParentMTU: 1500, Vmac: v, Managed: true, Given: v.Addresses}
			r.Netns, _ = m.Netns(p.Home(&v))
			r.ParentID, _ = m.Parent(p.Netns, p.Name)
			if v.MTU == 0 {
				r.Vmac.MTU = 1500
			}
			if v.MAC == 0 {
				r.Vmac.MAC = classify.MAC(0x020000000000 + len(run)<<8 | 2)
			}
			r.Parent.Vmacs = nil
			run = append(run, r)
		}
	}
	return run
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, problems := Parse("f", []byte(text))
	if c == nil {
		t.Fatalf("%v\n%s", problems, text)
	}
	return c
}

// vmacs is a file with one parent; each line is a vmac in flow style.
func vmacs(t *testing.T, lines ...string) *Config {
	t.Helper()
	text := "parents:\n  - name: eth0\n    vmacs:"
	if len(lines) == 0 {
		text += " []"
	}
	for _, l := range lines {
		text += "\n      - {" + l + "}"
	}
	return mustParse(t, text+"\n")
}

func TestDiff(t *testing.T) {
	const m1, m2, m3 = `mac: "02:00:00:00:00:01"`, `mac: "02:00:00:00:00:02"`, `mac: "02:00:00:00:00:03"`
	for name, c := range map[string]struct {
		from, to []string
		tweak    func([]Running)
		want     string // the plan, a line each
	}{
		"same":       {from: []string{"name: a, " + m1, "name: b"}, to: []string{"name: a, " + m1, "name: b"}},
		"nothing":    {},
		"add":        {to: []string{"name: a, mode: bridge, addresses: [192.0.2.1/24]"}, want: "+ a on eth0 mode bridge 192.0.2.1/24"},
		"delete":     {from: []string{"name: a"}, want: "- a on eth0"},
		"attributes": {from: []string{"name: a"}, to: []string{"name: a, mtu: 1400, up: false"}, want: "~ a on eth0: mtu 1500 → 1400, up true → false"},
		"back to default": {from: []string{"name: a, mtu: 1400, alias: x, bcqueuelen: 5"}, to: []string{"name: a"},
			want: `~ a on eth0: mtu 1400 → 1500, bcqueuelen 5 → 1000, alias x → ""`},
		"mac not named":    {from: []string{"name: a, " + m1}, to: []string{"name: a"}},
		"passthru anew":    {from: []string{"name: a"}, to: []string{"name: a, mode: passthru"}, want: "- a on eth0\n+ a on eth0 mode passthru"},
		"deletes first":    {from: []string{"name: a, " + m1}, to: []string{"name: b, " + m1}, want: "- a on eth0\n+ b on eth0 mode vepa"},
		"namespace":        {from: []string{"name: a"}, to: []string{"name: a, netns: blue"}, want: "- a on eth0\n+ a on eth0 in blue mode vepa"},
		"absent namespace": {to: []string{"name: a, netns: absent1"}, want: "? a namespace absent1"},
		"addresses": {from: []string{"name: a, addresses: [192.0.2.1/24, 192.0.2.2/24]"}, to: []string{"name: a, addresses: [192.0.2.2/24, 192.0.2.3/24]"},
			want: "~ a on eth0: address +192.0.2.3/24, address -192.0.2.1/24"},
		"others' addresses stay": {from: []string{"name: a"}, to: []string{"name: a"},
			tweak: func(r []Running) { r[0].Vmac.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24")} }},
		"by hand, left": {from: []string{"name: a"}, tweak: func(r []Running) { r[0].Managed = false }, want: "note a on eth0 was made by hand and is left alone"},
		"by hand, named": {from: []string{"name: a"}, to: []string{"name: a"}, tweak: func(r []Running) { r[0].Managed = false },
			want: "  a on eth0 was made by hand and is the file's from now on"},
		"by hand, other": {from: []string{"name: a"}, to: []string{"name: a, mode: passthru"}, tweak: func(r []Running) { r[0].Managed = false },
			want: "! a was made by hand on eth0, mode vepa, and would have to be made anew; delete it first"},
		"mac chain": {from: []string{"name: a, " + m1, "name: b, " + m2}, to: []string{"name: a, " + m2, "name: b, " + m3},
			want: "~ b on eth0: mac 02:00:00:00:00:02 → 02:00:00:00:00:03\n~ a on eth0: mac 02:00:00:00:00:01 → 02:00:00:00:00:02"},
		"mac exchange": {from: []string{"name: a, " + m1, "name: b, " + m2}, to: []string{"name: a, " + m2, "name: b, " + m1},
			want: "~ a on eth0: down up → down\n~ b on eth0: mac 02:00:00:00:00:02 → 02:00:00:00:00:01\n~ a on eth0: mac 02:00:00:00:00:01 → 02:00:00:00:00:02, again down → up"},
		"down before up": {from: []string{"name: a, up: false, " + m1, "name: b, " + m1}, to: []string{"name: a, " + m1, "name: b, up: false, " + m1},
			want: "~ b on eth0: up true → false\n~ a on eth0: up false → true"},
	} {
		from, to := vmacs(t, c.from...), vmacs(t, c.to...)
		run := asRunning(from)
		if c.tweak != nil {
			c.tweak(run)
		}
		plan := Diff(run, to, machine(from))
		var got []string
		for _, s := range plan.Steps {
			got = append(got, s.String())
		}
		for _, w := range plan.Waiting {
			got = append(got, "? "+w.Vmac.Name+" "+w.For)
		}
		for _, n := range plan.Notes {
			got = append(got, "note "+n)
		}
		for _, r := range plan.Refused {
			got = append(got, "! "+r.Text)
		}
		if s := strings.Join(got, "\n"); s != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, s, c.want)
		}
	}
}

func TestParentChanges(t *testing.T) {
	from := mustParse(t, "parents:\n  - {name: eth0, vmacs: [{name: a}, {name: d}, {name: b}]}\n")
	to := mustParse(t, "parents:\n  - {name: eth0, bclim: 7, vmacs: [{name: a}, {name: d}]}\n  - {name: eth1, vmacs: [{name: b}]}\n  - {name: absent, vmacs: [{name: c}]}\n")
	plan := Diff(asRunning(from), to, machine(from))
	var got []string
	for _, s := range plan.Steps {
		got = append(got, s.String())
	}
	if s := strings.Join(got, "; "); s != "- b on eth0; ~ a on eth0: bclim 1 → 7; + b on eth1 mode vepa" {
		t.Error(s)
	}
	if len(plan.Waiting) != 1 || plan.Waiting[0].For != "parent absent" {
		t.Errorf("%+v", plan.Waiting)
	}
}
