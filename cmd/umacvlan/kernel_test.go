package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
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
	// One request that says several things, and words in every order and length.
	"link add dev n0 link vb address 02:00:00:00:02:00 mtu 1400 txqueuelen 500 type macvlan mode bridge bcqueuelen 7",
	"link add n1 link vb type macvlan mode private nodst",
	"l a li vb name n2 ty macvlan m source m set 02:00:00:00:0e:01 n",
	"link add link vb n3 type macvlan mode source flag nodst macaddr add 02:00:00:00:0e:01",
	"link add link vb name n4 promisc on allmulticast on alias words type macvlan mode vepa",
	"link add link vb name n5 txqlen 0 type macvlan mode bridge bcqueuelen 0",
	"link add link vb name n6 txqueuelen nonsense type macvlan",
	"link add link vb name n6 mtu 0 type macvlan",
	"link add link vb name n6 mtu -1 type macvlan",
	"link add link vb name n6 mtu 0x500 type macvlan mode bridge bcqueuelen 0x10",
	"link add link vb name n7 type macvlan mode bridge bcqueuelen 4294967295",
	"link add link vb name n8 type macvlan mode bridge bcqueuelen 4294967296",
	"link add link vb name n8 type macvlan mode nonsense",
	"link add link vb name n8 type macvlan mode",
	"link add link vb name n8 type macvlan mode bridge nopromisc",
	"link add link vb name n8 type macvlan flag nonsense",
	"link add link vb name n8 type macvlan nonsense",
	"link add link vb name n8 type macvlan mode source macaddr add",
	"link add link vb name n8 type macvlan mode source macaddr add 02:00:00:00:0e:zz",
	"link add link vb name n8 type macvlan mode source macaddr set 02:00:00:00:0e:01 00:00:00:00:00:00",
	"link add link vb name n8 type macvlan mode source macaddr flush",
	"link add link vb name n8 type macvlan mode source macaddr del 02:00:00:00:0e:01",
	"link add link vb name ..  type macvlan",
	"link add link vb name a:b type macvlan",
	"link add link vb name a/b type macvlan",
	"link add link vb name sixteencharacter type macvlan",
	"link add link vb name n%d type macvlan",
	"link add link vb name q%d type macvlan mode bridge",
	"link add link vb name q%d type macvlan mode bridge",
	"link add link vb name q%dx%d type macvlan",
	"link add link vb name x%y type macvlan",
	"link add link nope name n9 type macvlan",
	"link add link vb name n9 type nonsense",
	"link add link vb name n9",
	"link add link vb name n9 netns nonsense type macvlan",
	"link add link vb name n9 address 02:00:00:00:02:00:07 type macvlan",
	"link add link vb name n9 address ff:ff:ff:ff:ff:ff type macvlan",
	"link add link vb name n9 address 02:00:00:00:02:00 up type macvlan mode bridge",
	"link add link vb name n10 address 02:00:00:00:02:00 up type macvlan mode bridge",
	"link set n0 up",
	"link set n9 up",
	"link set dev n9 address 02:00:00:00:02:09",
	"link set n9 up",
	"link set n9 address 02:00:00:00:02:00",
	"link set n9 address 02:00:00:00:02",
	"link set n9 address ff:ff:ff:ff:ff:ff",
	"link set n9 address 02:00:00:00:02:09",
	"link set n0 type macvlan mode private bcqueuelen 9 nodst",
	"link set n0 type macvlan flag null",
	"link set n0 type macvlan mode source macaddr set 02:00:00:00:0e:01 02:00:00:00:0e:02 02:00:00:00:0e:03",
	"link set n0 type macvlan macaddr del 02:00:00:00:0e:02",
	"link set n0 type macvlan macaddr add 00:00:00:00:00:00",
	"link set n0 type macvlan mode vepa macaddr add 02:00:00:00:0e:02",
	"link set n0 type macvlan macaddr add 02:00:00:00:0e:02",
	"link set n0 type macvlan mode passthru bcqueuelen 11",
	"link set n0 type macvlan mode bridge bcqueuelen nonsense",
	"link set n0 type macvtap mode bridge",
	"link set n0 type veth",
	"link set n0 down mtu 1300 alias other txqueuelen 12",
	"link set n0 alias",
	"link set n0 up address 02:00:00:00:02:10 mtu 1500",
	"link set n0 mtu 1501 alias never",
	"link set n0 name n1",
	"link set n0 down name n11 up",
	"link set n11 promisc maybe",
	"link set n11 mtu",
	"link set n11 mtu 1x",
	"link set n11",
	"link set nope up",
	"link set n11 nonsense",
	"link set n11 promisc on promisc off allmulticast on",
	"link set n11 allmulticast off promisc on up",
	"link set n11 arp off",
	"link set n11 arp on multicast off",
	"link set n11 multicast on group 7",
	"link set n11 group default nonsense",
	"link set n11 carrier off",
	"link change n11 type macvlan mode vepa",
	"link delete dev n1 type macvlan",
	"link del nope",
	"link del",
	"link del n2 n3",
	"link nonsense",
	// Passthru, whose address is its parent's.
	"link add link vc name p0 address 02:00:00:00:03:01 type macvlan mode passthru",
	"link set p0 address 02:00:00:00:03:02",
	"link set p0 up",
	"link set p0 address 01:00:00:00:03:02",
	"link set p0 address 02:00:00:00:03:03 type macvlan mode passthru nopromisc",
	"link set p0 type macvlan nopromisc",
	"link set p0 type macvlan macaddr flush",
	"link set vc mtu 1400",
	"link set p0 mtu 1401",
	"link set p0 down",
	"link set vc down",
	"link set p0 up",
	"link set vc up",
	"link del p0",
	"link set vb mtu 1200",
	"link set vb down",
	"link set vb up",
}

// leastRequests is how many requests are compared at least; this ip takes them all.
const leastRequests = 120

// TestSessionAsWithTheKernel types the session twice, to ip for the kernel's macvlan
// and to "umacvlan ip --force" for ours, and compares exit codes, the first line of
// what is said, and what -d -s -s -j shows after each that succeeded (UMACVLAN_FULL=1:
// after each): by the wrapper and by "umacvlan
// link", in all keys that both print. What they don't show alike:
//
//   - ifindex, and addresses that were drawn;
//   - the segmentation and aggregation limits (gso_*, tso_*, gro_*), which are the
//     TAP's; the kernel's macvlan has its parent's;
//   - for "umacvlan link" the qdisc and the alias, by which the TAP is known.
func TestSessionAsWithTheKernel(t *testing.T) {
	theirs, ours := newIPNamespace(t), newIPNamespace(t)
	theirs.addKernelMacvlan(t)
	mustRun(t, "ip", "-n", string(theirs), "link", "del", "mv0")
	for _, ns := range []ipNamespace{theirs, ours} {
		// No frame of the host's own is to be counted.
		for _, which := range []string{"all", "default"} {
			mustRun(t, "ip", "netns", "exec", string(ns), "sysctl", "-qw", "net.ipv6.conf."+which+".disable_ipv6=1")
		}
		mustRun(t, "ip", "-n", string(ns), "link", "add", "vc", "address", "02:00:00:00:03:00", "type", "veth", "peer", "name", "vd")
		for _, dev := range []string{"va", "vb", "vc", "vd"} {
			mustRun(t, "ip", "-n", string(ns), "link", "set", dev, "up")
		}
	}
	if len(kernelSession) < leastRequests {
		t.Errorf("%d requests, want %d", len(kernelSession), leastRequests)
	}
	socket := filepath.Join(t.TempDir(), "s")
	d := ours.start(t, "msg=ready", "daemon", "--socket", socket)
	us := func(line string) (stdout, stderr string, code int) {
		t.Helper()
		var out, errs strings.Builder
		a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: os.Getenv}
		code = a.run(fields("--socket " + socket + " " + strings.ReplaceAll(line, "NS", string(ours))))
		return out.String(), errs.String(), code
	}
	told := map[string]bool{} // differences, each of which is told once
	full := os.Getenv("UMACVLAN_FULL") != ""
	for i, line := range kernelSession {
		_, stderr, code := run("ip", append([]string{"-n", string(theirs)}, fields(line)...)...)
		want, _, _ := strings.Cut(stderr, "\n")
		_, stderr, got := us("ip --force -n NS " + line)
		said, _, _ := strings.Cut(stderr, "\n")
		// The command that is recommended is the only word that differs.
		said = strings.ReplaceAll(said, "umacvlan link help", "ip link help")
		if got != code || said != want {
			t.Errorf("%s:\n%d %q, and the kernel\n%d %q", line, got, said, code, want)
		}
		// What a refusal has changed all the same is seen after the next success.
		if code != 0 && !full && i < len(kernelSession)-1 {
			continue
		}
		var differences []string
		// The operational state follows the flags a moment later.
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			kernel, _, _ := run("ip", "-n", string(theirs), "-d", "-s", "-s", "-j", "link", "show", "type", "macvlan")
			wrapped, _, _ := us("ip --force -n NS -d -s -s -j link")
			emulated, _, _ := us("-n NS -d -s -s -j link")
			differences = append(compareLinks(t, wrapped, kernel), compareLinks(t, emulated, kernel, "qdisc", "ifalias")...)
			differences = slices.DeleteFunc(differences, func(s string) bool { return told[s] })
			if len(differences) == 0 || time.Now().After(end) {
				break
			}
		}
		for _, s := range differences {
			told[s] = true
			t.Errorf("after %s: %s", line, s)
		}
	}
	t.Logf("%d requests", len(kernelSession))
	d.end(t, syscall.SIGTERM)
}

// notAlike are keys in which a TAP differs from the kernel's macvlan.
var notAlike = regexp.MustCompile(`^(ifindex|gso_.*|tso_.*|gro_.*)$`)

// compareLinks compares two lists of macvlans in the keys that both have.
func compareLinks(t *testing.T, ours, kernel string, but ...string) (differences []string) {
	t.Helper()
	a, b := linksByName(t, ours), linksByName(t, kernel)
	names := slices.Sorted(maps.Keys(b))
	for name := range a {
		if b[name] == nil {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if a[name] == nil || b[name] == nil {
			differences = append(differences, fmt.Sprintf("%s is there: here %v, with the kernel %v", name, a[name] != nil, b[name] != nil))
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(b[name])) {
			x, both := a[name][key]
			if y := b[name][key]; both && !notAlike.MatchString(key) && !slices.Contains(but, key) && !reflect.DeepEqual(x, y) {
				differences = append(differences, fmt.Sprintf("%s has %s %v, and with the kernel %v", name, key, x, y))
			}
		}
		// What only one prints is no key of a macvlan's.
		for key := range b[name] {
			if _, both := a[name][key]; !both && !notAlike.MatchString(key) && !slices.Contains(but, key) {
				differences = append(differences, fmt.Sprintf("%s has no %s", name, key))
			}
		}
	}
	return differences
}

func linksByName(t *testing.T, s string) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for _, l := range comparableJSON(t, s) {
		kind, _ := l["linkinfo"].(map[string]any)
		if kind["info_kind"] != "macvlan" {
			continue
		}
		info := kind["info_data"].(map[string]any)
		if list, ok := info["macaddr_data"].([]any); ok { // in the order of the buckets
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		}
		if mac := l["address"].(string); !strings.HasPrefix(mac, "02:00:00:00:") {
			l["address"] = "drawn"
		}
		// A kernel macvlan that was born up may stay UNKNOWN; a TAP is UP then.
		if l["operstate"] == "UNKNOWN" {
			l["operstate"] = "UP"
		}
		out[l["ifname"].(string)] = l
	}
	return out
}
