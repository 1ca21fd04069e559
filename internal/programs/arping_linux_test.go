package programs

import (
	"strings"
	"testing"
)

// arping asks for a vmac and from one, finds duplicates, and announces an
// address that has moved to another MAC.
func TestArping(t *testing.T) {
	need(t, "arping:iputils-arping", "ping:iputils-ping")
	p := newPair(t)
	answered := func(m *machine, mac string, args ...string) {
		t.Helper()
		p.within("an answer to arping "+strings.Join(args, " "), func() bool {
			out, _, _ := m.try(append([]string{"arping", "-f", "-c", "3", "-w", "5"}, args...)...)
			return strings.Contains(strings.ToLower(out), "["+mac+"]")
		})
	}
	answered(p.other, vmacMAC, "-I", "eth0", "10.0.0.2")
	answered(p.guest, otherMAC, "-I", "vmac0", "10.0.0.9")
	for _, c := range []struct {
		address string
		taken   bool
	}{{"10.0.0.9", true}, {"10.0.0.77", false}} {
		out, errs, err := p.guest.try("arping", "-D", "-c", "2", "-w", "2", "-I", "vmac0", c.address)
		if (err != nil) != c.taken {
			t.Errorf("arping -D %s: %v %s%s", c.address, err, out, errs)
		}
	}

	neighbour := func(mac string) func() bool {
		return func() bool {
			return strings.Contains(p.other.run("ip", "neigh", "show", "10.0.0.2"), "lladdr "+mac)
		}
	}
	p.other.pings("10.0.0.2")
	p.within("the vmac's address in the other's table", neighbour(vmacMAC))
	const moved = "02:00:00:00:01:77"
	p.guest.sh("umacvlan link set vmac0 address " + moved)
	for i, kind := range []string{"-U", "-A"} { // gratuitous: as a request, as a reply
		if i > 0 {
			p.other.sh("ip neigh replace 10.0.0.2 lladdr " + vmacMAC + " dev eth0 nud stale")
		}
		p.within("the new address learnt from arping "+kind, func() bool {
			p.guest.run("arping", kind, "-c", "1", "-I", "vmac0", "10.0.0.2")
			return neighbour(moved)()
		})
	}
	p.other.pings("10.0.0.2")
	p.carried(p.guest, "vmac0", 4*28, 4*28)
}
