package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fdbSession goes to bridge and to us; mv0 is a bridge vmac, pt passthru.
var fdbSession = []string{
	"fdb add 02:00:00:00:01:99 dev mv0", "fdb del 02:00:00:00:01:99 dev mv0", "fdb add 00:00:00:00:00:00 dev mv0",
	"fdb add 01:00:5e:11:22:33 dev mv0", "fdb add 01:00:5e:11:22:33 dev mv0", "fdb append 01:00:5e:11:22:33 dev mv0",
	"fdb append 01:00:5e:11:22:34 dev mv0", "fdb replace 01:00:5e:11:22:33 dev mv0", "fdb replace 01:00:5e:11:22:35 dev mv0",
	"fdb replace 02:00:00:00:01:99 dev pt", "fdb show dev mv0", "-j fdb show dev mv0", "-j -p fdb show dev mv0", "-s -d fdb show dev mv0",
	"-o fdb sh brport mv0", "fdb lst dev mv0 state perm", "fdb list dev mv0 state static", "-j fdb show dev mv0 dynamic", "fdb show dev mv0 vlan 5",
	"fdb show dev mv0 self", "fdb show dev mv0 state all", "fdb show dev mv0 state bogus", "fdb show dev mv0 state",
	"fdb d 01:00:5e:11:22:33 dev mv0", "fdb del 01:00:5e:11:22:33 dev mv0", "fdb del 01:00:5e:11:22:34 dev mv0",
	"fdb add 02:00:00:00:01:99 dev pt", "fdb add 02:00:00:00:01:99 dev pt", "fdb add 00:00:00:00:00:00 dev pt",
	"fdb a 02:00:00:00:01:9a dev pt self static", "fdb add 02:00:00:00:01:9b dev pt dyn", "fdb add 02:00:00:00:01:9c dev pt use",
	"fdb add 02:00:00:00:01:9d dev pt sticky", "fdb add to 02:00:00:00:01:9e dev pt vlan 5", "fdb add 02:00:00:00:01:9f dev pt vlan 0",
	"fdb add 02:00:00:00:01:9f dev pt vlan 4095", "fdb add 02:00:00:00:01:9f dev pt vlan x", "fdb add 02:00:00:00:01:9f dev pt vlan 70000",
	"fdb add 02:00:00:00:01:9f dev pt vlan 3 vlan 4", "fdb add 02:00:00:00:01:9f dev pt vlan", "fdb add 02:00:00:00:01:9f dev pt master",
	"fdb add 02:00:00:00:01:9f dev pt master self", "fdb add 2:0:0:0:1:a0 dev pt", "fdb add 02:00:00:00:01:a1:77 dev pt",
	"fdb add 01:80:c2:00:00:00 dev pt", "fdb show dev pt", "-j fdb show dev pt",
	"fdb del 02:00:00:00:01:99 dev pt", "fdb del 02:00:00:00:01:99 dev pt", "fdb del 02:00:00:00:01:9a dev pt master",
	"fdb add", "fdb add dev pt", "fdb add 02:00:00:00:01:99", "fdb add dev", "fdb add to", "fdb add 02:00 dev pt", "fdb add junk dev pt",
	"fdb add 02:00:00:00:01:zz dev pt", "fdb add 02:00:00:00:01:99 dev nope", "fdb show dev nope",
	"fdb add 02:00:00:00:01:99 02:00:00:00:01:98 dev pt", "fdb foo",
}

// TestFdbAsWithTheKernel compares exit codes, output and the first line of what
// is said.
func TestFdbAsWithTheKernel(t *testing.T) {
	theirs, ours := newIPNamespace(t), newIPNamespace(t)
	theirs.addKernelMacvlan(t)
	mustRun(t, "ip", "-n", string(theirs), "link", "add", "link", "vb", "name", "pt", "type", "macvlan", "mode", "passthru")
	socket := filepath.Join(t.TempDir(), "s")
	d := ours.start(t, "msg=ready", "daemon", "--socket", socket)
	ours.mustDo(t, "--socket", socket, "link", "add", "link", "va", "name", "mv0", "type", "macvlan", "mode", "bridge")
	ours.mustDo(t, "--socket", socket, "link", "add", "link", "vb", "name", "pt", "type", "macvlan", "mode", "passthru")
	for _, line := range fdbSession {
		wantOut, stderr, wantCode := theirs.run("bridge", strings.Fields(line)...)
		want, _, _ := strings.Cut(stderr, "\n")
		want = strings.ReplaceAll(want, "bridge fdb help", "umacvlan fdb help")
		out, stderr, code := ours.do(t, append([]string{"--socket", socket}, strings.Fields(line)...)...)
		said, _, _ := strings.Cut(stderr, "\n")
		if code != wantCode || said != want || out != wantOut {
			t.Errorf("%s:\n%d %q %q, and the kernel\n%d %q %q", line, code, said, out, wantCode, want, wantOut)
		}
	}
	// Without a device all vmacs are listed, and nothing else.
	want, _, _ := theirs.run("bridge", "fdb")
	var lines []string
	for line := range strings.Lines(want) {
		if strings.Contains(line, " dev mv0 ") || strings.Contains(line, " dev pt ") {
			lines = append(lines, line)
		}
	}
	if out := ours.mustDo(t, "--socket", socket, "fdb"); out != strings.Join(lines, "") {
		t.Errorf("fdb:\n%sand bridge\n%s", out, strings.Join(lines, ""))
	}
	_, stderr, code := ours.do(t, "--socket", socket, "fdb", "add", "01:00:5e:00:00:05", "dev", "va")
	if code != 255 || !strings.HasPrefix(stderr, "RTNETLINK answers: Operation not supported\numacvlan: va is no vmac") {
		t.Errorf("on the parent: %d %q", code, stderr)
	}
	d.end(t, syscall.SIGTERM)
}

// What bridge does otherwise, or ip only knows.
func TestFdbOfOurOwn(t *testing.T) {
	for _, tt := range []struct {
		line   string
		code   int
		stderr string
	}{
		{"fdb show mv0", 255, `umacvlan: "mv0" selects nothing; did you mean: fdb show dev mv0`},
		{"fdb show br br0", 255, `umacvlan: a vmac is no bridge; try: bridge fdb show br ...`},
		{"fdb add 02:00:00:00:00:01 dev lo dst 1.2.3.4", 255, `umacvlan: "dst" is about tunnels, which a vmac has none of`},
		{"-br fdb show", 1, `umacvlan: option -br goes with "link", not with "fdb"`},
		{"fdb help", 255, ""},
	} {
		_, stderr, code := runLine(t, "", tt.line)
		if said, _, _ := strings.Cut(stderr, "\n"); code != tt.code || said != tt.stderr && tt.stderr != "" {
			t.Errorf("%s: %d %q", tt.line, code, said)
		}
	}
}
