package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/internal/control"
)

// Every word of a request goes to somebody, once; and no words make the readers
// fail.
func FuzzIPWords(f *testing.F) {
	for _, line := range []string{
		"link va name v0 group 5 type macvlan mode bridge", "dev v0 up master br0 mtu 1400", "v0 vf 1 mac x", "v0 protodown_reason 3", "name", "dev",
		"-d -s -c=always -b - -force link", "--force -n", "01:00:5e:00:00:01 dev v0 vlan 5 master self", "to help", "dev v0 state perm",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Fields(line)
		l := readLinkWords(args)
		if !l.opaque {
			all := slices.Concat(l.ours, l.others)
			slices.Sort(all)
			if want := slices.Sorted(slices.Values(args)); !slices.Equal(all, want) {
				t.Errorf("%q became %q and %q", args, l.ours, l.others)
			}
		}
		o, rest, _ := readIPOptions(args)
		if len(rest) > len(args) || len(o.pass) > len(args) {
			t.Errorf("%q became %q and %q", args, o.pass, rest)
		}
		takeKind(args)
		if q, err := parseFdb("add", args, testResolver); err == nil && (q.Dev == "" || len(q.MAC) != len("00:00:00:00:00:00")) {
			t.Errorf("%q became %+v", args, q)
		}
		parseFdbShow(args, testResolver)
	})
}

// Whatever an ip prints, what is said of other devices than ours stays as it is.
func FuzzIPListing(f *testing.F) {
	link := sample()
	f.Add("1: lo: <LOOPBACK> mtu 65536 qdisc noop state DOWN\n2: mv0: <UP> mtu 1 qdisc x state UP \n    link/ether 02:00:00:00:01:01 brd ff:ff:ff:ff:ff:ff maxmtu 3 \n    tun type tap pi off addrgenmode\n    RX: 1\n", false, false)
	f.Add("mv0              UP             10.1.1.1/24 \nlo DOWN\n", true, false)
	f.Add(`[{"ifindex":2,"ifname":"mv0","flags":[],"linkinfo":{"info_kind":"tun","info_data":{}},"stats64":{}},{},{"ifname":"lo","x":1.50}]`, false, true)
	f.Fuzz(func(t *testing.T, out string, brief, asJSON bool) {
		var b strings.Builder
		a := &app{stdout: &b, getenv: func(string) string { return "" }, opts: options{brief: brief, json: asJSON, stats: 1, details: 1}}
		v := &ipView{wrapper: &wrapper{session: &session{app: a}}, ours: map[string]*control.Link{"mv0": &link}, link: true}
		v.write(out, nil)
		if !asJSON && !slices.Contains(v.names(out), "mv0") && b.String() != out {
			t.Errorf("%q became %q", out, b.String())
		}
		v.write(out, func(string) bool { return false })
	})
}
