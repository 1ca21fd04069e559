package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// articleSession is the session of the article that this project starts from,
// word for word.
const articleSession = `ip link add link eth0 name vmac0 type macvlan mode private
ip link add link eth0 name vmac1 type macvlan mode private
ip link set dev vmac0 up
ip link set dev vmac1 up
ip addr add dev eth0  10.1.1.1/24
ip addr add dev vmac0 10.1.1.2/24
ip addr add dev vmac1 10.1.1.3/24
sysctl -w net.ipv4.conf.all.arp_ignore=1
sysctl -w net.ipv4.conf.vmac0.rp_filter=0
sysctl -w net.ipv4.conf.vmac1.rp_filter=0
sysctl -w net.ipv4.conf.all.rp_filter=0       # CentOS 7.2 sets it to 1, and the larger of the two counts`

// What a reader would look at then, in the namespace of eth0.
var articleLooks = []string{
	"ip link show", "ip -d link show", "ip -s link show vmac0", "ip -s -d -o link show vmac1", "ip addr show", "ip -s addr show vmac0",
	"ip -o addr show", "ip -br link", "ip -br addr", "ip -4 addr show dev vmac1", "ip a", "ip l",
	"ip -j link show", "ip -j -p -d link show type macvlan", "ip -j addr show up", "ip -j -br link", "ip -j -br addr", "ip link show type macvlan",
	"ip link show type veth", "ip link show type tun", "ip route show", "ip link show vmac2", "ip addr show dev vmac0 type macvlan",
}

// node is a machine of the article: a namespace, in which an ip comes first in $PATH.
type node struct {
	ns   ipNamespace
	path string
	env  []string
}

// sh runs a line as a shell there would. Both outputs come as one.
func (n *node) sh(line string) (string, int) {
	cmd := exec.Command("ip", "netns", "exec", string(n.ns), "sh", "-c", line)
	cmd.Env = append(os.Environ(), append(n.env, "PATH="+n.path)...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// articleBed is eth0's machine and another on its wire.
type articleBed struct{ server, client node }

func newArticleBed(t *testing.T, path string, env ...string) *articleBed {
	t.Helper()
	b := &articleBed{node{newIPNamespace(t), path, env}, node{newIPNamespace(t), path, env}}
	for _, n := range []node{b.server, b.client} {
		mustRun(t, "ip", "-n", string(n.ns), "link", "del", "va")
		mustRun(t, "ip", "netns", "exec", string(n.ns), "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	}
	mustRun(t, "ip", "-n", string(b.server.ns), "link", "add", "eth0", "address", "02:00:00:00:00:0a", "type", "veth",
		"peer", "name", "wire", "address", "02:00:00:00:00:0b", "netns", string(b.client.ns))
	mustRun(t, "ip", "-n", string(b.server.ns), "link", "set", "eth0", "up")
	mustRun(t, "ip", "-n", string(b.client.ns), "link", "set", "wire", "up")
	mustRun(t, "ip", "-n", string(b.client.ns), "addr", "add", "10.1.1.9/24", "dev", "wire")
	return b
}

var (
	articleIndex  = regexp.MustCompile(`(?m)^[0-9]+: |@if[0-9]+|"(?:ifindex|link_index)": ?[0-9]+`)
	articleLimits = regexp.MustCompile(`"?[gt][sr]o_[a-z0-9_]+"?:? ?[0-9]+,?\s*`)
	articleNUD    = regexp.MustCompile(`REACHABLE|STALE|DELAY|PROBE`)
)

// plain takes out of an output what differs from run to run: indexes, names of
// namespaces, and addresses that were drawn, for which the device's name stands.
// The limits of segmentation are the TAP's.
func (b *articleBed) plain(t *testing.T, out string) string {
	t.Helper()
	list, _, _ := run("ip", "-n", string(b.server.ns), "-j", "link")
	var links []struct{ IfName, Address string }
	if err := json.Unmarshal([]byte(list), &links); err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		out = strings.ReplaceAll(out, l.Address, "<"+l.IfName+">")
	}
	out = strings.ReplaceAll(out, string(b.client.ns), "<client>")
	out = articleIndex.ReplaceAllString(out, "<index>")
	out = articleLimits.ReplaceAllString(out, "")
	return articleNUD.ReplaceAllString(out, "<state>")
}

// The article's session, by its ip and by ours, says the same.
func TestArticleThroughTheWrapper(t *testing.T) {
	probe := newIPNamespace(t)
	probe.addKernelMacvlan(t)
	for _, v := range []struct{ name, address string }{
		{"addresses of its own", ""}, {"address 00:00:5e:00:01:01", "name vmac0 address 00:00:5e:00:01:01"},
	} {
		t.Run(v.name, func(t *testing.T) {
			session := articleSession
			if v.address != "" {
				session = strings.Replace(session, "name vmac0", v.address, 1)
			}
			looks := articleLooks
			if v.address != "" {
				looks = looks[:2]
			}
			articleTwice(t, strings.Split(session, "\n"), looks)
		})
	}
}

func articleTwice(t *testing.T, session, looks []string) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "ip")); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	theirs := newArticleBed(t, os.Getenv("PATH"))
	ours := newArticleBed(t, dir+":"+os.Getenv("PATH"), asCommand+"=1", "UMACVLAN_FORCE=1", "UMACVLAN_SOCKET="+socket, "GORACE=atexit_sleep_ms=0")
	d := ours.server.ns.start(t, "msg=ready", "daemon", "--socket", socket)
	same := func(line string, a, b *node) {
		t.Helper()
		var got, want string
		var code, wantCode int
		// The operational state follows the flags a moment later.
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			want, wantCode = a.sh(line)
			got, code = b.sh(line)
			want, got = theirs.plain(t, want), ours.plain(t, got)
			if got == want && code == wantCode {
				return
			}
			if time.Now().After(end) || !slices.Contains(looks, line) {
				break
			}
		}
		t.Errorf("%s\n%d %s\nand with the kernel\n%d %s", line, code, got, wantCode, want)
	}
	for _, line := range session {
		same(line, &theirs.server, &ours.server)
	}
	for _, line := range looks {
		same(line, &theirs.server, &ours.server)
	}
	for i := 1; i <= 3; i++ {
		for _, b := range []*articleBed{theirs, ours} {
			within(t, func() bool { _, code := b.client.sh(fmt.Sprintf("ping -c 1 -W 5 10.1.1.%d", i)); return code == 0 }, "an answer")
		}
	}
	const neighbours = "ip neigh show | grep ^10 | sort"
	same(neighbours, &theirs.client, &ours.client)
	out, _ := ours.client.sh(neighbours)
	if out = ours.plain(t, out); out != "10.1.1.1 dev wire lladdr <eth0> <state> \n10.1.1.2 dev wire lladdr <vmac0> <state> \n10.1.1.3 dev wire lladdr <vmac1> <state> \n" {
		t.Errorf("the other node sees\n%s", out)
	}
	// It was us who carried that.
	if out, _, _ := run("ip", "-n", string(ours.server.ns), "link", "show", "type", "macvlan"); out != "" {
		t.Errorf("a macvlan of the kernel's:\n%s", out)
	}
	stats := ours.server.ns.mustDo(t, "--socket", socket, "-s", "-j", "link", "show")
	var links []struct {
		Stats64 struct{ Rx, Tx struct{ Bytes int } }
	}
	if err := json.Unmarshal([]byte(stats), &links); err != nil || len(links) != 2 {
		t.Fatalf("%v %s", err, stats)
	}
	for _, l := range links {
		if l.Stats64.Rx.Bytes == 0 || l.Stats64.Tx.Bytes == 0 {
			t.Errorf("counted nothing: %s", stats)
		}
	}
	for _, line := range []string{"ip link del vmac0", "ip link del vmac0", "ip link del vmac1", "ip link show"} {
		same(line, &theirs.server, &ours.server)
	}
	d.end(t, syscall.SIGTERM)
}
