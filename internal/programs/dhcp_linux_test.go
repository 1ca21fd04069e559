package programs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A DHCPv4 client gets its address through a vmac, is known to the server by
// the vmac's MAC, and gives the lease back.
func TestDHCP(t *testing.T) {
	need(t, "dnsmasq:dnsmasq-base", "udhcpc:udhcpc", "unshare:util-linux", "ping:iputils-ping")
	b := newBed(t)
	host, other := b.machine("host"), b.machine("other")
	b.join(host, "eth0", hostMAC, other, "eth0", otherMAC)
	other.sh("ip addr add 10.0.0.9/24 dev eth0")
	for _, s := range []string{"arp_ignore", "rp_filter"} {
		value := map[string]string{"arp_ignore": "1", "rp_filter": "0"}[s]
		host.sysctl("ipv4/conf/all/"+s, value)
		host.sysctl("ipv4/conf/default/"+s, value)
	}
	leases := filepath.Join(b.dir, "leases")
	server := other.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0", "--no-ping", "--pid-file",
		"--interface=eth0", "--bind-interfaces", "--dhcp-range=10.0.0.50,10.0.0.50,1h", "--dhcp-leasefile="+leases, "--log-dhcp", "--log-facility=-")
	server.waitFor("sockets bound")

	lines := strings.Split(strings.TrimSpace(snippet(t, "dhcp")), "\n")
	host.sh(lines[0])
	// The package's script writes the machine's resolv.conf: it gets another.
	resolv := filepath.Join(b.dir, "resolv.conf")
	if err := os.WriteFile(resolv, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	client := host.start("unshare", "--mount", "sh", "-ec", "mount --bind "+resolv+" /etc/resolv.conf\nexec "+lines[1]+" -R")
	client.waitFor("lease of 10.0.0.50 obtained")
	b.within("10.0.0.50 on vmac0", func() bool {
		return strings.Contains(host.run("ip", "-4", "addr", "show", "dev", "vmac0"), "inet 10.0.0.50/24")
	})
	other.pings("10.0.0.50")
	if out := other.run("ip", "neigh", "show", "10.0.0.50"); !strings.Contains(out, "lladdr "+vmacMAC) {
		t.Errorf("the server's neighbour: %s", out)
	}
	text, err := os.ReadFile(leases)
	if err != nil || !strings.Contains(string(text), " "+vmacMAC+" 10.0.0.50 ") {
		t.Errorf("leases: %v %q", err, text)
	}
	if !regexp.MustCompile(`DHCPACK\(eth0\) 10.0.0.50 ` + vmacMAC).MatchString(server.text()) {
		t.Errorf("the server said\n%s", server.text())
	}
	client.stop(syscall.SIGTERM) // -R: release
	server.waitFor("DHCPRELEASE(eth0) 10.0.0.50 " + vmacMAC)
	b.carried(host, "vmac0", 2*300, 2*300)
}
