package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// withoutDriver is an ip whose kernel has no macvlan.
const withoutDriver = `#!/bin/sh
case "$*" in
*"type macvlan"*|*"type macvtap"*)
	case "$*" in *" add "*) echo "Error: Unknown device type." >&2; exit 2;; esac;;
esac
exec REAL "$@"
`

// ipDirectory is a directory to stand first in $PATH: with a link named ip to this
// command, and behind it, if wanted, an ip without macvlan.
func ipDirectory(t *testing.T, driver bool) (path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	first, second := t.TempDir(), t.TempDir()
	if err := os.Symlink(self, filepath.Join(first, "ip")); err != nil {
		t.Fatal(err)
	}
	if !driver {
		script := strings.Replace(withoutDriver, "REAL", findIP(os.Getenv("PATH")), 1)
		if err := os.WriteFile(filepath.Join(second, "ip"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join([]string{first, second, os.Getenv("PATH")}, ":")
}

// Everything that a script may do with ip and macvlan, on a kernel that has none.
func TestWrapperWithoutTheDriver(t *testing.T) {
	ns, other := newIPNamespace(t), newIPNamespace(t)
	for _, dev := range []string{"va", "vb"} {
		mustRun(t, "ip", "-n", string(ns), "link", "set", dev, "up")
	}
	socket := filepath.Join(t.TempDir(), "s")
	n := &node{ns, ipDirectory(t, false), []string{asCommand + "=1", "UMACVLAN_FORCE=", "UMACVLAN_SOCKET=" + socket, "GORACE=atexit_sleep_ms=0"}}
	expect := func(line string, code int, want ...string) {
		t.Helper()
		out, got := n.sh(line)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", line, w, out)
			}
		}
		if got != code || len(want) == 0 && out != "" {
			t.Errorf("%s: %d\n%s", line, got, out)
		}
	}
	// Without a daemon: what the kernel said, and the next step.
	expect("ip link add link va name v0 type macvlan", 2, "Error: Unknown device type.\numacvlan: no daemon answers at "+socket+"; start one with: umacvlan daemon")
	expect("ip --force link add link va name v0 type macvlan", 1, "umacvlan: no daemon answers at "+socket)
	expect("ip link show va", 0, "va@vb")

	d := ns.start(t, "msg=ready", "daemon", "--socket", socket)
	expect("ip link add link va name v0 group 5 type macvlan mode bridge", 0)
	expect("ip -d link show v0", 0, "v0@va: ", " group 5 ", "    macvlan mode bridge bcqueuelen 1000")
	expect("ip link set dev v0 type macvlan mode private", 0)
	expect("ip link set v0 multicast off up arp off", 0)
	expect("ip link show v0", 0, "NOARP", "UP")
	expect("ip link set v0 multicast on arp on", 0)
	expect("ip link add link v0 name v1 type macvlan", 0) // a vmac on a vmac: the kernel would not know whose sibling
	expect("ip -d link show v1", 0, "v1@va: ", "macvlan mode vepa")
	expect("ip link add link va name v2 type macvlan mode passthru", 2, "RTNETLINK answers: Invalid argument\numacvlan: ")
	expect("ip link add link va name t0 type macvtap", 2, "Error: Unknown device type.\numacvlan: macvtap is not emulated")
	expect("ip --force link add link va name t0 type macvtap", 2, "Error: Unknown device type.\numacvlan: macvtap is not emulated")
	expect("ip link set v1 carrier off", 2, "RTNETLINK answers: Operation not supported")
	expect("ip link show type macvlan group 5", 0, "v0@va")
	expect("ip link show group default type macvlan", 0, "v1@va")
	expect("ip addr add 10.1.1.5/24 dev v0", 0)
	expect("ip -4 -br addr show type macvlan", 0, "v0@va            UP             10.1.1.5/24 \n")
	expect("ip -c=always link show v0", 0, "\x1b[36mv0@va: \x1b[0m<")
	expect("ip route show", 0, "10.1.1.0/24 dev v0 ")
	expect("ip netns exec "+string(other)+" ip link show v0", 1, `Device "v0" does not exist.`)
	expect("ip link set v1 netns "+string(other)+" name w1", 0)
	expect("ip netns exec "+string(other)+" ip -o link show type macvlan", 0, "w1@if", "link-netns "+string(ns))
	expect("ip -n "+string(other)+" link del w1", 0)
	expect("ip link add br0 type bridge", 0)
	expect("ip link set v0 mtu 1400 master br0", 0)
	expect("ip link set v0 type bridge_slave hairpin on", 0)
	expect("ip -d link show master br0", 0, "v0@va: ", "mtu 1400", "macvlan mode private", "bridge_slave", "hairpin on")
	expect("ip link set v0 nomaster", 0)
	expect("ip link del br0", 0)
	expect("ip link replace link va name v0 type macvlan mode vepa", 2, "RTNETLINK answers: Operation not supported")
	expect("ip -d link show v0", 0, "macvlan mode private")
	expect("ip link show type macvlan up nonsense", 1, `Device "nonsense" does not exist.`)
	expect("ip -z link", 255, `Option "-z" is unknown, try "ip -help".`)
	expect("ip nonsense", 1, `Object "nonsense" is unknown, try "ip help".`)

	const batch = "link add link va name b1 type macvlan mode bridge\\naddr add 10.2.2.2/24 dev b1 # comment\\nlink set b1 up\\nlink show dev b1\\nlink del b1\\n"
	expect("printf '"+batch+"' | ip -b -", 0, "b1@va: ")
	expect("printf 'link set nope up\\nlink del v0\\n' | ip -b -", 1, "Cannot find device \"nope\"\nCommand failed -:1\n")
	expect("printf -- '-x\\nlink del nope\\nlink set v0 type macvlan mode passthru\\nlink del v0\\n' | ip -force -batch -", 1,
		"Object \"-x\" is unknown", "Command failed -:1\n", "Command failed -:2\n", "Command failed -:3\n")
	expect("ip link show v0", 1, `Device "v0" does not exist.`)
	d.end(t, syscall.SIGTERM)
}

// Where the kernel has the driver it is used, and ours stays out of it.
func TestWrapperPrefersTheKernel(t *testing.T) {
	ns := newIPNamespace(t)
	ns.addKernelMacvlan(t)
	socket := filepath.Join(t.TempDir(), "s")
	d := ns.start(t, "msg=ready", "daemon", "--socket", socket)
	n := &node{ns, ipDirectory(t, true), []string{asCommand + "=1", "UMACVLAN_FORCE=0", "UMACVLAN_SOCKET=" + socket, "GORACE=atexit_sleep_ms=0"}}
	for _, line := range []string{
		"ip link add link va name k1 type macvlan mode bridge", "ip --force link add link vb name u1 type macvlan mode bridge",
		"ip link set k1 up", "ip link set u1 type macvlan mode private",
	} {
		if out, code := n.sh(line); code != 0 || out != "" {
			t.Fatalf("%s: %d %s", line, code, out)
		}
	}
	if out, _, _ := ns.ip("-br", "link", "show", "type", "macvlan"); !strings.Contains(out, "k1@va") || strings.Contains(out, "u1") {
		t.Errorf("the kernel has\n%s", out)
	}
	out, _ := n.sh("ip -br link show type macvlan")
	var names []string
	for line := range strings.Lines(out) {
		names = append(names, strings.Fields(line)[0])
	}
	if want := []string{"mv0@va", "k1@va", "u1@vb"}; !slices.Equal(names, want) {
		t.Errorf("macvlans are %q, want %q", names, want)
	}
	if out, code := n.sh("ip link add link va name k1 type macvlan"); code != 2 || out != "RTNETLINK answers: File exists\n" {
		t.Errorf("again: %d %q", code, out)
	}
	d.end(t, syscall.SIGTERM)
}

func TestFindIP(t *testing.T) {
	real := findIP(os.Getenv("PATH"))
	if real == "" {
		skipOrFail(t, "iproute2 is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link, script, plain, empty := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.Symlink(self, filepath.Join(link, "ip")); err != nil {
		t.Fatal(err)
	}
	for dir, mode := range map[string]os.FileMode{script: 0o755, plain: 0o644} {
		if err := os.WriteFile(filepath.Join(dir, "ip"), []byte("#!/bin/sh\nexec umacvlan ip \"$@\"\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{link, script, plain, empty, link + ":" + script + ":" + plain} {
		if got := findIP(path + ":" + os.Getenv("PATH")); got != real {
			t.Errorf("behind %s: %q, want %q", path, got, real)
		}
		if got := findIP(path); got != "" {
			t.Errorf("in %s: %q", path, got)
		}
	}
}

// What is said without asking anybody.
func TestWrapperOptions(t *testing.T) {
	for _, tt := range []struct {
		line, pass, rest string
		want             options
		always, known    bool
	}{
		{"link", "", "link", options{}, false, true},
		{"--force -d link show", "-d", "link show", options{details: 1}, true, true},
		{"-force -b f", "", "", options{force: true, batch: "f"}, false, true},
		{"-br -f inet -s -s a", "-br -f inet -s -s", "a", options{brief: true, stats: 2}, false, true},
		{"--socket /s -n x -4 -c=never l", "-n x -4 -c=never", "l", options{socket: "/s", netns: "x", color: colorNever, linkOnly: "-c=never"}, false, true},
		{"-j -p -o -iec -h -- link", "-j -p -o -iec -h", "link", options{json: true, pretty: true, oneline: true, iec: true, human: true}, false, true},
		{"-V", "-V", "", options{version: true}, false, true},
		{"-z link", "", "", options{}, false, false},
		{"-help", "", "", options{}, false, false},
		{"-n", "", "", options{}, false, false},
	} {
		o, rest, known := readIPOptions(strings.Fields(tt.line))
		if known != tt.known || known && (o.options != tt.want || o.always != tt.always || strings.Join(o.pass, " ") != tt.pass || strings.Join(rest, " ") != tt.rest) {
			t.Errorf("%s: %+v, %q, %v", tt.line, o, rest, known)
		}
	}
	if _, stderr, code := runLine(t, "", "-d ip link"); code != 1 || stderr != "umacvlan: options of ip stand behind it: umacvlan ip -d ...\n" {
		t.Errorf("%d %q", code, stderr)
	}
	if out, _, code := runLine(t, "", "ip --help"); code != 0 || !strings.Contains(out, "alias ip=") {
		t.Errorf("%d %q", code, out)
	}
	// Nothing to hand it to.
	if _, stderr, code := runLine(t, "", "ip route show"); code != 1 || stderr != "umacvlan: no other ip in $PATH to hand this to: ip route show; install iproute2\n" {
		t.Errorf("%d %q", code, stderr)
	}
}

func TestReadLinkWords(t *testing.T) {
	for _, tt := range []struct{ line, dev, parent, kind, ours, others string }{
		{"link va name v0 type macvlan mode bridge", "v0", "va", "macvlan", "link va name v0 type macvlan mode bridge", ""},
		{"v0 li va ty macvlan", "v0", "va", "macvlan", "v0 li va ty macvlan", ""},
		{"dev v0 group 5 up master br0 mtu 1400", "v0", "", "", "dev v0 up mtu 1400", "group 5 master br0"},
		{"v0 name v1 nomaster", "v0", "", "", "v0 name v1", "nomaster"},
		{"name v1 dev v0", "v0", "", "", "name v1 dev v0", ""},
		{"v0 protodown_reason 3 on arp off", "v0", "", "", "v0", "protodown_reason 3 on arp off"},
		{"dev", "", "", "", "dev", ""},
		{"v0 mtu", "v0", "", "", "v0 mtu", ""},
	} {
		l := readLinkWords(strings.Fields(tt.line))
		if l.dev != tt.dev || l.parent != tt.parent || l.kind != tt.kind || strings.Join(l.ours, " ") != tt.ours || strings.Join(l.others, " ") != tt.others {
			t.Errorf("%s: %+v", tt.line, l)
		}
	}
	if !readLinkWords([]string{"eth0", "vf", "1", "mac", "x"}).opaque {
		t.Error("vf is understood")
	}
}
