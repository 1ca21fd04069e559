package main

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/internal/control"
)

// whatIPHasMore are keys of ip's about which the API says nothing, and
// carrier changes, which nobody here counts.
var whatIPHasMore = regexp.MustCompile(`tso_max_size \d+ |tso_max_segs \d+ |gro_max_size \d+ |g[sr]o_ipv4_max_size \d+ `)

func ptr[T any](v T) *T { return &v }

// sample is a vmac with everything that can be printed.
func sample() control.Link {
	return control.Link{
		IfIndex: 3, Parent: "va", IfName: "mv0", Flags: []string{"BROADCAST", "MULTICAST", "UP", "LOWER_UP"},
		MTU: 1500, Qdisc: "noqueue", OperState: "UP", LinkMode: "DEFAULT", Group: "default", TxQLen: 1000,
		LinkType: "ether", Address: "02:00:00:00:01:01", Broadcast: "ff:ff:ff:ff:ff:ff", MinMTU: 68, MaxMTU: 65535,
		LinkInfo:    control.LinkInfo{Kind: "macvlan", Data: control.InfoData{Mode: "bridge", BCQueueLen: 1000, UsedBCQueueLen: 1000}},
		AddrGenMode: "eui64", NumTxQueues: 1, NumRxQueues: 1, GSOMaxSize: 65536, GSOMaxSegs: 65535,
		Umacvlan: control.Extra{
			Child: "tap", Netns: "blue", ParentIn: "net:[4026531840]", Wire: "ring", Waking: "yield",
			Offloads: []string{"csum", "tso4"}, WireGSO: true, Filtering: "unicast filter", Steal: "tcx",
			Reasons: map[string]uint64{"direct": 12, "vmac-down": 1},
		},
	}
}

const bridgeDetails = `3: mv0@va: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether 02:00:00:00:01:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 allmulti 0 minmtu 68 maxmtu 65535 
    macvlan mode bridge bcqueuelen 1000 usedbcqueuelen 1000 addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 
    umacvlan child tap netns blue parent-netns net:[4026531840] wire ring waking yield wire-offload on offloads csum,tso4 filter unicast filter steal tcx 
`

func TestPrintText(t *testing.T) {
	with := func(f func(*control.Link)) control.Link { l := sample(); f(&l); return l }
	for _, tt := range []struct {
		name string
		link control.Link
		o    options
		want string
	}{
		{"details", sample(), options{details: 1}, bridgeDetails},
		{"plain", sample(), options{}, strings.Split(bridgeDetails, " promiscuity")[0] + "\n"},
		{"oneline", sample(), options{oneline: true}, strings.Replace(strings.Split(bridgeDetails, " promiscuity")[0], "\n", "\\", 1) + "\n"},
		{"brief", sample(), options{brief: true},
			"mv0@va           UP             02:00:00:00:01:01 <BROADCAST,MULTICAST,UP,LOWER_UP> \n"},
		{"elsewhere", with(func(l *control.Link) {
			l.Parent, l.LinkIndex, l.LinkNetnsID, l.TxQLen, l.Alias = "", 2, ptr(0), 0, "hello world"
		}), options{}, `3: mv0@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default 
    link/ether 02:00:00:00:01:01 brd ff:ff:ff:ff:ff:ff link-netnsid 0
    alias hello world
`},
		{"elsewhere, named", with(func(l *control.Link) {
			l.Parent, l.LinkIndex, l.LinkNetnsID, l.LinkNetns, l.TxQLen = "", 2, ptr(0), "red", 0
		}), options{}, `3: mv0@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default 
    link/ether 02:00:00:00:01:01 brd ff:ff:ff:ff:ff:ff link-netns red
`},
	} {
		var b strings.Builder
		if err := printText(&b, []control.Link{tt.link}, tt.o, palette{}); err != nil {
			t.Fatal(err)
		}
		if b.String() != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.name, b.String(), tt.want)
		}
	}
}

// TestKindText holds the lines of KERNEL.md 3.3.
func TestKindText(t *testing.T) {
	for want, d := range map[string]control.InfoData{
		"mode private bcqueuelen 1000 usedbcqueuelen 1000 ":                                                      {Mode: "private"},
		"mode passthru nopromisc bcqueuelen 1000 usedbcqueuelen 1000 ":                                           {Mode: "passthru", NoPromisc: true},
		"mode source bcqueuelen 1000 usedbcqueuelen 1000 remotes (0) ":                                           {Mode: "source", MacaddrCount: ptr(0)},
		"mode bridge bcqueuelen 1000 usedbcqueuelen 1000 bclim -1 ":                                              {Mode: "bridge", BCLim: ptr(int32(-1))},
		"mode bridge nopromisc nodst bcqueuelen 1000 usedbcqueuelen 1000 ":                                       {Mode: "bridge", NoPromisc: true, NoDst: true},
		"mode source nodst bcqueuelen 1000 usedbcqueuelen 1000 remotes (2) 02:00:00:00:0e:02 02:00:00:00:0e:01 ": {Mode: "source", NoDst: true, MacaddrCount: ptr(2), MacaddrData: []string{"02:00:00:00:0e:02", "02:00:00:00:0e:01"}},
	} {
		l := sample()
		d.BCQueueLen, d.UsedBCQueueLen = 1000, 1000
		l.LinkInfo.Data = d
		var b strings.Builder
		if err := printText(&b, []control.Link{l}, options{details: 1}, palette{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "\n    macvlan "+want+"addrgenmode") {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestJSONSaysEverything: with -d -s nothing of the API is lost, but for the
// name of the parent's namespace, which ip's JSON doesn't have at that place.
func TestJSONSaysEverything(t *testing.T) {
	l := sample()
	l.LinkNetnsID, l.Alias, l.LinkInfo.Data.BCLim = ptr(1), "a<b", ptr(int32(7))
	l.LinkInfo.Data.MacaddrCount, l.LinkInfo.Data.MacaddrData = ptr(1), []string{"02:00:00:00:0e:01"}
	l.Stats64.Rx.Bytes = 1<<63 + 1
	l.Umacvlan.Owner = map[string]string{"cni": "x"}
	for _, pretty := range []bool{false, true} {
		var b strings.Builder
		if err := printJSON(&b, []control.Link{l}, options{details: 1, stats: 1, pretty: pretty}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "a<b") {
			t.Error("< was escaped, which ip doesn't do")
		}
		var got []control.Link
		if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || !reflect.DeepEqual(got[0], l) {
			t.Errorf("pretty %v:\n%+v, want\n%+v", pretty, got, l)
		}
	}
}

// TestPrintLikeIP reads kernel macvlans with ip -j, prints them, and compares
// with what ip prints.
func TestPrintLikeIP(t *testing.T) {
	ns := newIPNamespace(t)
	ns.addKernelMacvlan(t)
	setup := [][]string{
		{"link", "set", "mv0", "address", "02:00:00:00:01:01", "alias", "hello world"},
		{"link", "add", "link", "va", "name", "mvsource", "type", "macvlan", "mode", "source", "macaddr", "set", "02:00:00:00:0e:01", "02:00:00:00:0e:02"},
		{"link", "set", "mvsource", "type", "macvlan", "nodst"},
		{"link", "set", "vb", "up"}, {"link", "set", "va", "up"}, {"link", "set", "mv0", "up"},
		{"link", "add", "link", "vb", "name", "mvpass", "type", "macvlan", "mode", "passthru", "nopromisc"},
		{"link", "set", "va", "down"},
	}
	for _, s := range setup {
		if _, stderr, code := ns.ip(s...); code != 0 {
			t.Fatalf("ip %v: %s", s, stderr)
		}
	}
	read := func() []control.Link {
		stdout, _, _ := ns.ip("-d", "-s", "-j", "link", "show", "type", "macvlan")
		var all, links []control.Link
		if err := json.Unmarshal([]byte(stdout), &all); err != nil {
			t.Fatal(err)
		}
		for _, l := range all { // ip prints {} for what its filter leaves out
			if l.IfIndex != 0 {
				links = append(links, l)
			}
		}
		if len(links) != 3 {
			t.Fatalf("%d links in %s", len(links), stdout)
		}
		return links
	}
	ownLine := regexp.MustCompile(`(\n|\\)    umacvlan [^\n\\]*`)
	for _, tt := range []string{
		"", "-d", "-s", "-s -s", "-d -s", "-o", "-o -d -s", "-br", "-br -d", "-h -s", "-c=always", "-c=always -br",
		"-j", "-j -d", "-j -s", "-j -s -s", "-j -br", "-j -p -d -s", "-j -p -br",
	} {
		opts, rest, err := parseOptions(strings.Fields(tt))
		if err != nil || len(rest) != 0 {
			t.Fatalf("%q: %v", tt, err)
		}
		// Neighbour discovery moves counters at first: read until they stand.
		var want string
		links := read()
		for range 50 {
			want, _, _ = ns.ip(append(strings.Fields(tt), "link", "show", "type", "macvlan")...)
			again := read()
			if reflect.DeepEqual(links, again) {
				break
			}
			links = again
		}
		var b strings.Builder
		if opts.json {
			err = printJSON(&b, links, opts)
		} else {
			p := choosePalette(opts.color, false, func(k string) string { return map[string]string{"COLORFGBG": "0;15"}[k] })
			err = printText(&b, links, opts, p)
		}
		if err != nil {
			t.Fatal(err)
		}
		got := b.String()
		if opts.json {
			if !reflect.DeepEqual(comparableJSON(t, got), comparableJSON(t, want)) {
				t.Errorf("%q:\n%s, ip has\n%s", tt, got, want)
			}
			continue
		}
		// 6.1 had two blanks where 7.1 has one.
		want = strings.ReplaceAll(want, "  allmulti", " allmulti")
		want = whatIPHasMore.ReplaceAllString(want, "")
		got = ownLine.ReplaceAllString(got, "")
		if opts.stats > 1 {
			want, got = trimTransns(want), trimTransns(got)
		}
		if got != want {
			t.Errorf("%q:\n%s, ip has\n%s", tt, got, want)
		}
	}
}

// trimTransns takes the column of carrier changes away.
func trimTransns(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		if strings.Contains(lines[i], "TX errors:") && i+1 < len(lines) {
			lines[i] = strings.TrimRight(strings.TrimSuffix(lines[i], "transns"), " ")
			if f := strings.Fields(lines[i+1]); len(f) == 5 {
				lines[i+1] = lines[i+1][:strings.LastIndex(strings.TrimRight(lines[i+1], " "), " ")]
			}
			lines[i+1] = strings.TrimRight(lines[i+1], " ")
		}
	}
	return strings.Join(lines, "\n")
}

// comparableJSON is what both sides print about macvlans.
func comparableJSON(t *testing.T, s string) []map[string]any {
	t.Helper()
	var all, out []map[string]any
	if err := json.Unmarshal([]byte(s), &all); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	for _, l := range all {
		if len(l) == 0 {
			continue
		}
		for k := range l {
			if k == "umacvlan" || whatIPHasMore.MatchString(k+" 0 ") {
				delete(l, k)
			}
		}
		if st, ok := l["stats64"].(map[string]any); ok {
			delete(st["tx"].(map[string]any), "carrier_changes")
		}
		out = append(out, l)
	}
	return out
}

// TestPrettyIsIPs compares the layout of -p, keys and values aside.
func TestPrettyIsIPs(t *testing.T) {
	want := `[ {
        "link": "va",
        "ifname": "mv0",
        "operstate": "UP",
        "address": "02:00:00:00:01:01",
        "flags": [ "BROADCAST","MULTICAST","UP","LOWER_UP" ]
    },{
        "link": "va",
        "ifname": "mv0",
        "operstate": "UP",
        "address": "02:00:00:00:01:01",
        "flags": [ "BROADCAST","MULTICAST","UP","LOWER_UP" ]
    } ]
`
	var b strings.Builder
	if err := printJSON(&b, []control.Link{sample(), sample()}, options{brief: true, pretty: true}); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("%s, want\n%s", b.String(), want)
	}
}

func TestNumber(t *testing.T) {
	for _, tt := range []struct {
		v    uint64
		iec  bool
		want string
	}{
		{0, false, "0"}, {999, false, "999"}, {1000, false, "1.00k"}, {12345, false, "12.3k"}, {123456, false, "123k"},
		{1 << 20, true, "1.00Mi"}, {1023, true, "1023"}, {1<<64 - 1, false, "18.4E"},
	} {
		p := textPrinter{o: options{human: true, iec: tt.iec}}
		if got := p.number(tt.v); got != tt.want {
			t.Errorf("number(%d, iec %v) = %q, want %q", tt.v, tt.iec, got, tt.want)
		}
	}
}
