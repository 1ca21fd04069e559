package bench

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCases(t *testing.T) {
	keys, names := map[string]bool{}, map[string]string{}
	quick := 0
	for _, c := range Cases() {
		if keys[c.Key] || !regexp.MustCompile(`^[a-zA-Z0-9-]+$`).MatchString(c.Key) {
			t.Errorf("key %q", c.Key)
		}
		keys[c.Key] = true
		name := c.Name()
		for _, s := range c.Sides {
			if _, err := ParseContender(s.Contender); err != nil {
				t.Error(err)
			}
			name += s.Label
		}
		if other := names[name]; other != "" {
			t.Errorf("%s and %s are both %s", c.Key, other, name)
		}
		names[name] = c.Key
		if !regexp.MustCompile(`^(\w+=[\w-]+/?)+$`).MatchString(c.Name()) {
			t.Errorf("%s: %q is no name of a benchmark", c.Key, c.Name())
		}
		if c.Title == "" || c.Unit == "" {
			t.Errorf("%s has no title or no unit", c.Key)
		}
		if c.Quick {
			quick++
		}
	}
	if quick < 10 || len(keys) < 60 {
		t.Errorf("%d cases, %d of them quick", len(keys), quick)
	}
}

func TestSelect(t *testing.T) {
	for _, test := range []struct {
		full     bool
		patterns string
		want     string // keys, or an error
	}{
		{false, "frames-out,tcp-in", "tcp-in frames-out"},
		{false, "checked-*", "checked-in checked-out checked-sibling"},
		{true, "loss-in-?00k,loss-in-100k", "loss-in-100k loss-in-200k loss-in-300k loss-in-400k loss-in-500k loss-in-600k loss-in-700k"},
		{false, "tcp-inn", `there is no case "tcp-inn"`},
		{false, "tcp-in,", `there is no case ""`},
		{false, "[", `"[" is no pattern`},
	} {
		cases, err := Select(test.full, strings.Split(test.patterns, ","))
		var keys []string
		for _, c := range cases {
			keys = append(keys, c.Key)
		}
		got := strings.Join(keys, " ")
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.patterns, got, test.want)
		}
	}
	all, _ := Select(true, nil)
	quick, _ := Select(false, nil)
	if len(all) != len(Cases()) || slices.ContainsFunc(quick, func(c Case) bool { return !c.Quick }) || len(quick) == 0 {
		t.Errorf("%d of %d cases in full, %d quick ones", len(all), len(Cases()), len(quick))
	}
}

func TestParseContender(t *testing.T) {
	for spec, want := range map[string]string{
		"kernel":                            "kernel macvlan",
		"umacvlan":                          "umacvlan",
		"umacvlan:wire=mmsg":                "umacvlan wire=mmsg",
		"umacvlan:wire=ring:offload=off":    "umacvlan wire=ring offload=off",
		"umacvlan:without=uso:without=tcx":  "umacvlan without=uso without=tcx",
		"umacvlan:waking=sleep:steal=none":  "umacvlan waking=sleep steal=none",
		"umacvlan:exe=/tmp/old":             "umacvlan exe=/tmp/old",
		"naive":                             "naive TAP loop",
		"linux":                             `there is no contender "linux"; there are kernel, umacvlan, naive, ovs, vde, none`,
		"":                                  `there is no contender ""; there are kernel, umacvlan, naive, ovs, vde, none`,
		"ovs:wire=mmsg":                     "ovs has no options",
		"umacvlan:":                         `umacvlan has no option ""`,
		"umacvlan:wire=pcap":                "umacvlan:wire=pcap: not one of ring, mmsg",
		"umacvlan:exe=":                     `umacvlan has no option "exe"`,
		"umacvlan:without=everything-there": "umacvlan:without=everything-there: there is no such feature",
	} {
		c, err := ParseContender(spec)
		got := c.Name
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", spec, got, want)
		}
	}
	t.Setenv("PATH", t.TempDir())
	c, _ := ParseContender("ovs")
	if err := c.Missing(); err == nil || err.Error() != "Open vSwitch netdev is not installed (no ovs-vswitchd in the PATH)" {
		t.Error(err)
	}
	if c, _ := ParseContender("kernel"); c.Missing() != nil {
		t.Error(c.Missing())
	}
}
