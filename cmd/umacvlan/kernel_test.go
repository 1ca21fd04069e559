package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kernelSession is what an administrator may type, one command after the other;
// the kernel's macvlan and ours are to answer alike.
var kernelSession = []string{
	"link add link vb name m0 type macvlan",
	"link add link vb name m1 address 02:00:00:00:01:01 type macvlan mode bridge",
	"link add link vb name m2 mtu 1400 type macvlan mode private bcqueuelen 5",
	"link add link vb name m3 type macvlan mode source macaddr set 02:00:00:00:0e:01 02:00:00:00:0e:02",
	"link add link vb type macvlan mode vepa",
	"link add link m1 name m4 type macvlan mode bridge",
	"link add link vb name m1 type macvlan mode bridge",
	"link add link vb name x type macvlan mode passthru",
	"link add link vb name x mtu 67 type macvlan",
	"link add link vb name x mtu 1501 type macvlan",
	"link add link vb name x address 01:00:00:00:00:01 type macvlan",
	"link add link vb name x address 00:00:00:00:00:00 type macvlan",
	"link add link vb name x address 02:00 type macvlan",
	"link add link vb name x address 1.2.3.4 type macvlan",
	"link add link vb name . type macvlan",
	"link add link lo name x type macvlan",
	"link add name x type macvlan",
	"link add link vb name x type macvlan macaddr add 02:00:00:00:0e:01",
	"link add link vb name x type macvlan mode source macaddr add 01:00:00:00:0e:01",
	"link set m1 up",
	"link set m0 address 02:00:00:00:01:01",
	"link set m0 address 02:00:00:00:01:02",
	"link set m2 address 01:00:00:00:01:02",
	"link set m2 mtu 1501",
	"link set m2 mtu 1500",
	"link set m2 mtu 67",
	"link set m2 mtu 70000",
	"link set m3 type macvlan macaddr del 02:00:00:00:0e:01",
	"link set m3 type macvlan nodst",
	"link set m3 type macvlan macaddr add 02:00:00:00:0e:03",
	"link set m3 type macvlan macaddr add 02:00:00:00:0e:03",
	"link set m3 type macvlan macaddr set",
	"link set m3 type macvlan flag null",
	"link set m3 type macvlan mode bridge",
	"link set m3 type macvlan macaddr flush",
	"link set m3 type macvlan mode passthru",
	"link set m0 type macvlan bcqueuelen 2000",
	"link set m0 type macvlan mode private flag nodst",
	"link set m0 type macvlan mode bridge macaddr flush",
	"link set m0 type macvlan",
	"link set m0 alias hello",
	"link set m0 name m1",
	"link set m0 name m9",
	"link set m9 name m9",
	"link set m9 promisc on allmulticast on",
	"link set m9 promisc off",
	"link set m9 txqueuelen 77",
	"link add link vb name m5 address 02:00:00:00:01:01 type macvlan mode bridge",
	"link set m5 up",
	"link set m5 address 02:00:00:00:01:05 up",
	"link replace link vb name m5 type macvlan mode private",
	"link replace link vb name m6 type macvlan mode private",
	"link set m5 down",
	"link del m5",
	"link del m5",
	"link del m6 type macvlan",
	"link add link vb name m7 up type macvlan mode bridge",
	"link add link vc name p0 type macvlan mode passthru nopromisc",
	"link set p0 type macvlan mode passthru flag null",
	"link set p0 type macvlan mode bridge",
	"link add link vc name p1 type macvlan mode bridge",
	"link add link vc name p1 type macvlan mode passthru",
	"link add link p0 name p1 type macvlan mode bridge",
	"link del p0",
}

// TestSessionAsWithTheKernel types the session twice and compares exit codes,
// the first line of what is said, and what -d -j shows afterwards.
func TestSessionAsWithTheKernel(t *testing.T) {
	theirs, ours := newIPNamespace(t), newIPNamespace(t)
	theirs.addKernelMacvlan(t)
	mustRun(t, "ip", "-n", string(theirs), "link", "del", "mv0")
	for _, ns := range []ipNamespace{theirs, ours} {
		mustRun(t, "ip", "-n", string(ns), "link", "add", "vc", "type", "veth", "peer", "name", "vd")
		for _, dev := range []string{"va", "vb", "vc", "vd"} {
			mustRun(t, "ip", "-n", string(ns), "link", "set", dev, "up")
		}
	}
	socket := filepath.Join(t.TempDir(), "s")
	d := ours.start(t, "msg=ready", "daemon", "--socket", socket)
	for _, line := range kernelSession {
		_, stderr, code := theirs.ip(strings.Fields(line)...)
		want, _, _ := strings.Cut(stderr, "\n")
		_, stderr, got := ours.do(t, append([]string{"--socket", socket}, strings.Fields(line)...)...)
		said, _, _ := strings.Cut(stderr, "\n")
		if strings.HasPrefix(said, "umacvlan: warning: ") {
			said = ""
		}
		if got != code || said != want {
			t.Errorf("%s:\n%d %q, and the kernel\n%d %q", line, got, said, code, want)
		}
		var differences []string
		// The operational state follows the flags a moment later.
		for end := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			kernel, _, _ := theirs.ip("-d", "-j", "link", "show", "type", "macvlan")
			emulated, _, _ := ours.do(t, "--socket", socket, "-d", "-j", "link")
			differences = compareStates(linkState(t, emulated), linkState(t, kernel))
			if len(differences) == 0 || time.Now().After(end) {
				break
			}
		}
		for _, s := range differences {
			t.Errorf("after %s: %s", line, s)
		}
	}
	d.end(t, syscall.SIGTERM)
}

func compareStates(ours, kernel map[string]string) (differences []string) {
	names := slices.Sorted(maps.Keys(kernel))
	for name := range ours {
		if _, ok := kernel[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if ours[name] != kernel[name] {
			differences = append(differences, name+" is\n"+ours[name]+", and with the kernel\n"+kernel[name])
		}
	}
	return differences
}

// linkState is, by name, what has to be alike: not the index, nor a MAC that was
// drawn, nor the alias by which plain ip recognises ours.
func linkState(t *testing.T, s string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, l := range comparableJSON(t, s) {
		info := l["linkinfo"].(map[string]any)["info_data"].(map[string]any)
		if list, ok := info["macaddr_data"].([]any); ok { // in the order of the buckets
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		}
		if mac := l["address"].(string); !strings.HasPrefix(mac, "02:00:00:00:") {
			l["address"] = "drawn"
		}
		if alias, _ := l["ifalias"].(string); strings.HasPrefix(alias, "umacvlan mode ") {
			delete(l, "ifalias")
		}
		// A kernel macvlan that was born up may stay UNKNOWN; a TAP is UP then.
		if l["operstate"] == "UNKNOWN" {
			l["operstate"] = "UP"
		}
		for _, k := range []string{"ifindex", "qdisc", "max_mtu", "gso_max_size", "gso_max_segs"} {
			delete(l, k)
		}
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		out[l["ifname"].(string)] = string(b)
	}
	return out
}
