package classify

import (
	"slices"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	mac := func(i int) MAC { return unicasts[i] }
	two := func(a, b Vmac) *Spec {
		a.Name, b.Name = "left", "right"
		return &Spec{Parent: named("parent"), Vmacs: []Vmac{a, b}}
	}
	up := Vmac{Mode: Bridge, MAC: mac(0), Up: true}
	for _, c := range []struct {
		name string
		spec *Spec
		want string // empty: valid
	}{
		{"empty", &Spec{}, ""},
		{"two", two(up, Vmac{Mode: Private, MAC: mac(1), Up: true}), ""},
		{"same address, one down", two(up, Vmac{Mode: Vepa, MAC: mac(0)}), ""},
		{"same address, both up", two(up, up), "vmac right: address 02:00:00:00:01:01 is in use by left, which is up"},
		{"no mode", two(up, Vmac{MAC: mac(1)}), "vmac right: mode 0 is not exactly one"},
		{"two modes", two(up, Vmac{Mode: 5, MAC: mac(1)}), "vmac right: mode 5"},
		{"mode 32", two(up, Vmac{Mode: 32, MAC: mac(1)}), "vmac right: mode 32"},
		{"flags", two(up, Vmac{Mode: Bridge, Flags: 7, MAC: mac(1)}), "vmac right: flags 0x4"},
		{"both flags", two(up, Vmac{Mode: Bridge, Flags: 3, MAC: mac(1)}), ""},
		{"zero address", two(up, Vmac{Mode: Bridge}), "vmac right: address 00:00:00:00:00:00"},
		{"group address", two(up, Vmac{Mode: Bridge, MAC: groups[1]}), "vmac right: address 01:00:5e:11:22:33"},
		{"long address", two(up, Vmac{Mode: Bridge, MAC: mac(1) | 1<<50}), "vmac right: address"},
		{"long group", two(up, Vmac{Mode: Bridge, MAC: mac(1), Groups: []MAC{1 << 48}}), "vmac right: group"},
		{"MTU", two(up, Vmac{Mode: Bridge, MAC: mac(1), MTU: -1}), "vmac right: MTU -1"},
		{"passthru and another", two(up, Vmac{Mode: Passthru, MAC: mac(1)}), "vmac right: a passthru vmac is alone"},
		{"passthru with the parent's address", &Spec{Parent: mac(0), Vmacs: []Vmac{{Mode: Passthru, MAC: mac(0), Up: true}}}, ""},
		{"the parent took an up vmac's address", &Spec{Parent: mac(0), Vmacs: []Vmac{up}}, ""},
		{"long parent's address", &Spec{Parent: mac(0) | 1<<48}, "spec: the parent's address or broadcast address"},
		{"long parent's broadcast address", &Spec{Broadcast: 1 << 48}, "spec: the parent's address or broadcast address"},
		{"broadcast addresses given", &Spec{Broadcast: Broadcast, Vmacs: []Vmac{{Mode: Bridge, MAC: mac(0), Broadcast: Broadcast}}}, ""},
		{"long broadcast address", two(up, Vmac{Mode: Bridge, MAC: mac(1), Broadcast: 1 << 48}), "vmac right: broadcast address"},
		{"nameless", &Spec{Vmacs: []Vmac{up, {}}}, "vmac 1: mode 0"},
		{"list of a bridge vmac", &Spec{Vmacs: []Vmac{up}, Sources: []SourceEntry{{0, mac(1)}}}, "vmac 0: has a source list but mode bridge"},
		{"list of nobody", &Spec{Vmacs: []Vmac{up}, Sources: []SourceEntry{{1, mac(1)}}}, "no vmac 1 among 1"},
		{"list of nobody", &Spec{Sources: []SourceEntry{{-1, mac(1)}}}, "no vmac -1 among 0"},
		{"group in a list", &Spec{Vmacs: []Vmac{{Mode: Source, MAC: mac(0)}}, Sources: []SourceEntry{{0, Broadcast}}}, "no unicast address"},
		{"twice in a list", &Spec{Vmacs: []Vmac{{Mode: Source, MAC: mac(0)}}, Sources: []SourceEntry{{0, mac(1)}, {0, mac(1)}}}, "twice"},
		{"as many as can be", &Spec{Vmacs: slices.Repeat([]Vmac{{Mode: Bridge, MAC: mac(0)}}, 65536)}, ""},
		{"too many", &Spec{Vmacs: make([]Vmac, 65537)}, "more than 65536"},
	} {
		err := c.spec.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if table, err2 := NewTable(c.spec); (err2 == nil) != (err == nil) || (table == nil) != (err2 != nil) {
			t.Errorf("%s: Validate says %v, NewTable %v, %v", c.name, err, table, err2)
		}
	}
}

func TestAddresses(t *testing.T) {
	equal := func(name string, got, want []MAC) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	sorted := func(list ...string) []MAC {
		m := macs(list...)
		slices.Sort(m)
		return m
	}
	spec := parseTopology(`p1:private:01:+SUB,+STP b1:bridge:05:+SUB bd:bridge:06:down,promisc,allmulti,+lldp
		s1:source:07:<listed s2:source:08:<listed,<ext,down`)
	a := spec.Addresses()
	equal("Unicast", a.Unicast, sorted("02:00:00:00:01:01", "02:00:00:00:01:05", "02:00:00:00:01:07"))
	equal("Multicast", a.Multicast, sorted("01:00:5e:00:00:01", "01:00:5e:11:22:33", "01:80:c2:00:00:00"))
	equal("Dst", a.Dst, sorted("02:00:00:00:01:01", "02:00:00:00:01:05", "02:00:00:00:01:06", "02:00:00:00:01:07", "02:00:00:00:01:08"))
	equal("Src", a.Src, sorted("02:00:00:00:0e:01", "02:00:00:00:0e:02"))
	if a.Promisc != 0 || a.Allmulti != 0 || a.All {
		t.Errorf("a down vmac asks for promisc %d, allmulti %d, all %v", a.Promisc, a.Allmulti, a.All)
	}
	for text, want := range map[string]struct {
		promisc, allmulti int
		all               bool
	}{
		"b:bridge:01:promisc":                                  {1, 0, false},
		"b:bridge:01:allmulti":                                 {0, 1, false},
		"b:bridge:01:promisc c:bridge:02":                      {1, 0, false},
		"b:bridge:01:allmulti c:bridge:02":                     {0, 1, false},
		"b:bridge:01:promisc c:source:02:promisc,allmulti":     {2, 1, false},
		"b:bridge:01:allmulti c:vepa:02:allmulti d:private:03": {0, 2, false},
		"pt:passthru:0a":                                       {1, 0, true},
		"pt:passthru:0a:promisc":                               {1, 0, true},
		"pt:passthru:0a:down":                                  {0, 0, true},
		"pt:passthru:0a:nopromisc":                             {0, 0, true},
		"pt:passthru:0a:nopromisc,promisc":                     {0, 0, true},
		"pt:passthru:0a:nopromisc,allmulti":                    {0, 1, true},
	} {
		a := parseTopology(text).Addresses()
		if a.Promisc != want.promisc || a.Allmulti != want.allmulti || a.All != want.all {
			t.Errorf("%s: promisc, allmulti, all are %d, %d, %v, want %v", text, a.Promisc, a.Allmulti, a.All, want)
		}
		if a.All && len(a.Unicast) != 0 {
			t.Errorf("%s: asks for %v", text, a.Unicast)
		}
	}
}

// NewTable keeps nothing of the Spec.
func TestTableIsOwn(t *testing.T) {
	spec := topology("MIX")
	table, err := NewTable(spec)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 60)
	named("SUB").Put(frame)
	named("listed").Put(frame[6:])
	before, _ := table.Ingress(frame, Meta{Type: TypeMulticast}, nil)
	for i := range spec.Vmacs {
		clear(spec.Vmacs[i].Groups)
		spec.Vmacs[i] = Vmac{}
	}
	clear(spec.Sources)
	after, _ := table.Ingress(frame, Meta{Type: TypeMulticast}, nil)
	if !slices.Equal(before, after) || table.Len() != len(spec.Vmacs) {
		t.Errorf("the table changed with the spec: %v, %v", before, after)
	}
}
