package programs

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// A container gets a vmac as its card, by what LXC does with a device: moved
// into the namespace of the container's init by its process id, renamed, given
// a MAC and an address, set up. It goes with the container.
func TestContainer(t *testing.T) {
	need(t, "unshare:util-linux", "nsenter:util-linux", "ping:iputils-ping")
	b := newBed(t)
	host, other := b.machine("host"), b.machine("other")
	b.join(host, "eth0", hostMAC, other, "eth0", otherMAC)
	other.sh("ip addr add 10.0.0.9/24 dev eth0")
	container := host.start("unshare", "--net", "sh", "-c", "echo inside; exec sleep 1000")
	container.waitFor("inside")
	pid := container.cmd.Process.Pid

	host.sh(fmt.Sprintf("pid=%d\n%s", pid, snippet(t, "container")))
	other.pings("10.0.0.3")
	if out := other.run("ip", "neigh", "show", "10.0.0.3"); !strings.Contains(out, "lladdr 02:00:00:00:01:02") {
		t.Errorf("the other machine's neighbour: %s", out)
	}
	inside := func(args ...string) string {
		t.Helper()
		return host.run(append([]string{"nsenter", "-t", fmt.Sprint(pid), "-n"}, args...)...)
	}
	inside("ping", "-n", "-c", "1", "-W", "20", "10.0.0.9")
	for _, args := range [][]string{{"ip", "-d", "link"}, {"ip", "link", "show", "type", "macvlan"}} {
		if out := inside(args...); strings.Contains(out, " macvlan mode") && !strings.Contains(out, "alias umacvlan mode") || len(args) == 5 && out != "" {
			t.Errorf("a macvlan of the kernel's in the container:\n%s", out)
		}
	}
	if out := inside("umacvlan", "link", "show", "eth0"); !strings.Contains(out, "eth0@") || !strings.Contains(out, "link/ether 02:00:00:00:01:02") {
		t.Errorf("umacvlan link show in the container:\n%s", out)
	}
	var links []struct {
		Stats64 struct{ Rx, Tx struct{ Bytes int } }
	}
	b.checked = true
	if err := unmarshal(inside("umacvlan", "-s", "-j", "link", "show", "eth0"), &links); err != nil || len(links) != 1 ||
		links[0].Stats64.Rx.Bytes < 2*84 || links[0].Stats64.Tx.Bytes < 2*84 {
		t.Errorf("counters in the container: %v %+v", err, links)
	}

	container.stop(syscall.SIGKILL)
	b.within("the vmac gone with the container", func() bool {
		return strings.Contains(host.run("umacvlan", "status"), "vmacs    0")
	})
	if out := host.run("ip", "link"); strings.Contains(out, "vmac0") || strings.Contains(out, "dev") && strings.Contains(out, "tun") {
		t.Errorf("a device came back:\n%s", out)
	}
	b.within("the parent as before", func() bool {
		return strings.Contains(host.run("ip", "-d", "link", "show", "eth0"), "promiscuity 0")
	})
}
