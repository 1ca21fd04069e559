package programs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Two routers with keepalived, a client, and a switch between them. The virtual
// address lives on vmacs with the VRRP MAC; when the master is stopped the
// backup goes on under the same MAC, and the other way round.
func TestKeepalived(t *testing.T) {
	need(t, "keepalived:keepalived", "ping:iputils-ping", "tcpdump:tcpdump", "bridge:iproute2")
	const virtual, virtualMAC = "10.0.0.100", "00:00:5e:00:01:33"
	b := newBed(t)
	sw, client := b.machine("switch"), b.machine("client")
	sw.sh("ip link add br0 type bridge stp_state 0 mcast_snooping 0 && ip link set br0 up")
	routers := []*machine{b.machine("router1"), b.machine("router2")}
	ports := map[*machine]string{routers[0]: "p1", routers[1]: "p2", client: "p9"}
	for i, m := range append(routers, client) {
		b.join(m, "eth0", fmt.Sprintf("02:00:00:00:00:0%d", i+1), sw, ports[m], fmt.Sprintf("02:00:00:00:02:0%d", i+1))
		sw.sh("ip link set " + ports[m] + " master br0")
		m.sh(fmt.Sprintf("ip addr add 10.0.0.%d/24 dev eth0", i+1))
	}
	wire := client.tcpdump("eth0")

	var daemons [2]*process
	for i, r := range routers {
		r.sh(snippet(t, "vrrp-device"))
		config := snippet(t, "vrrp-config")
		if i == 1 {
			config = strings.Replace(config, "priority 200", "priority 100", 1)
		}
		if err := os.WriteFile(filepath.Join(b.dir, r.name+".conf"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		daemons[i] = r.keepalived()
	}
	has := func(r *machine) bool {
		return strings.Contains(r.run("ip", "-4", "addr", "show", "dev", "vrrp51"), "inet "+virtual+"/24")
	}
	// serves waits until a router has the address, the other not, and the switch
	// has learnt at which port the VRRP MAC is.
	serves := func(r, other *machine) {
		t.Helper()
		b.within(r.name+" alone has "+virtual, func() bool { return has(r) && !has(other) }, func() string {
			return r.run("ip", "addr") + other.run("ip", "addr")
		})
		b.within("the switch finds "+virtualMAC+" at "+r.name, func() bool {
			client.try("ping", "-n", "-c", "1", "-W", "1", virtual)
			return regexp.MustCompile("(?m)^" + virtualMAC + " .*dev " + ports[r] + " ").MatchString(sw.run("bridge", "fdb", "show", "br", "br0") + " ")
		})
		client.pings(virtual)
		if out := client.run("ip", "neigh", "show", virtual); !strings.Contains(out, "lladdr "+virtualMAC) {
			t.Errorf("%s serves, and the client has learnt: %s", r.name, out)
		}
	}
	// move takes the address from one router to the other under a ping.
	move := func(how string, from, to *machine, act func()) {
		t.Helper()
		ping := client.start("ping", "-n", "-i", "0.2", virtual)
		ping.waitFor("64 bytes from")
		act()
		serves(to, from)
		before := strings.Count(ping.text(), "64 bytes from")
		b.within("the ping goes on", func() bool { return strings.Count(ping.text(), "64 bytes from") > before })
		ping.stop(syscall.SIGINT)
		var sent, received int
		for _, line := range strings.Split(ping.text(), "\n") {
			fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received)
		}
		if sent == 0 {
			t.Errorf("no summary from ping: %s", ping.text())
		}
		t.Logf("%s: %d of %d packets lost, one each 0.2 s", how, sent-received, sent)
	}

	serves(routers[0], routers[1])
	move("the master is stopped", routers[0], routers[1], func() { daemons[0].stop(syscall.SIGTERM) })
	move("the master returns", routers[1], routers[0], func() { routers[0].keepalived() })

	wire.stop(syscall.SIGINT)
	announced, answers := false, 0
	for _, line := range strings.Split(wire.text(), "\n") {
		own := strings.HasPrefix(line, virtualMAC+" > ")
		announced = announced || own && strings.Contains(line, "> ff:ff:ff:ff:ff:ff") && strings.Contains(line, "who-has "+virtual)
		if strings.Contains(line, ": "+virtual+" > ") {
			answers++
			if !own {
				t.Errorf("%s speaks under another MAC: %s", virtual, line)
			}
		}
		if strings.Contains(line, "Reply "+virtual+" is-at") && (!own || !strings.Contains(line, "is-at "+virtualMAC)) {
			t.Errorf("an ARP answer by another MAC: %s", line)
		}
	}
	if !announced || answers == 0 {
		t.Errorf("gratuitous ARP seen: %v, %d frames from %s", announced, answers, virtual)
	}
	for _, r := range routers {
		b.carried(r, "vrrp51", 84, 84)
	}
}

func (m *machine) keepalived() *process {
	m.bed.Helper()
	file := func(ending string) string { return filepath.Join(m.bed.dir, m.name+ending) }
	p := m.start("keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", file(".conf"), "--pid", file(".pid"), "--vrrp_pid", file("-vrrp.pid"))
	p.waitFor("Entering BACKUP STATE")
	return p
}
