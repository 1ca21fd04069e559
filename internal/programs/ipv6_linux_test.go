package programs

import (
	"strings"
	"testing"
)

// IPv6 on a vmac: a router's advertisement, the address that follows from it
// and from the vmac's MAC, neighbour discovery both ways, and duplicate address
// detection, which finds a free address free and a used one used.
func TestIPv6(t *testing.T) {
	need(t, "dnsmasq:dnsmasq-base", "ping:iputils-ping")
	b := newBed(t)
	host, router := b.machine("host"), b.machine("router")
	for _, m := range []*machine{host, router} {
		for _, which := range []string{"all", "default"} {
			m.sysctl("ipv6/conf/"+which+"/disable_ipv6", "0")
		}
	}
	router.sysctl("ipv6/conf/all/forwarding", "1")
	host.sysctl("ipv6/conf/default/addr_gen_mode", "0")
	b.join(host, "eth0", hostMAC, router, "eth0", otherMAC)
	host.sysctl("ipv6/conf/eth0/disable_ipv6", "1") // the card has no part in this
	router.sh("ip addr add 2001:db8:51::1/64 dev eth0 nodad")
	b.within("the router's addresses", func() bool {
		return !strings.Contains(router.run("ip", "-6", "addr", "show", "dev", "eth0"), "tentative")
	})
	router.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0", "--pid-file", "--interface=eth0",
		"--enable-ra", "--dhcp-range=2001:db8:51::,ra-only", "--ra-param=eth0,5", "--dhcp-leasefile="+b.dir+"/leases", "--log-facility=-").
		waitFor("router advertisement on")

	host.sh(snippet(t, "ipv6"))
	const global, local = "2001:db8:51::ff:fe00:101", "fe80::ff:fe00:101"
	b.within("an address from the router's prefix, found free", func() bool {
		out := host.run("ip", "-6", "addr", "show", "dev", "vmac0")
		return strings.Contains(out, global+"/64") && strings.Contains(out, local+"/64") &&
			!strings.Contains(out, "tentative") && !strings.Contains(out, "dadfailed")
	}, func() string { return host.run("ip", "-6", "addr") })
	if out := host.run("ip", "-6", "route", "show", "default"); !strings.Contains(out, "dev vmac0 proto ra") {
		t.Errorf("default route: %q", out)
	}
	router.pings(global)
	host.pings("2001:db8:51::1")
	if out := router.run("ip", "-6", "neigh", "show", global); !strings.Contains(out, "lladdr "+vmacMAC) {
		t.Errorf("the router's neighbour: %q", out)
	}
	if out := host.run("ip", "-6", "neigh", "show", "2001:db8:51::1"); !strings.Contains(out, "dev vmac0 lladdr "+otherMAC) {
		t.Errorf("the vmac's neighbour: %q", out)
	}
	if out := host.run("ip", "maddr", "show", "dev", "vmac0"); !strings.Contains(out, "33:33:ff:00:01:01") {
		t.Errorf("the solicited-node group is missing: %s", out)
	}

	host.sh("ip addr add 2001:db8:51::1/64 dev vmac0") // the router's own
	b.within("an address in use found in use", func() bool {
		return strings.Contains(host.run("ip", "-6", "addr", "show", "dev", "vmac0", "dadfailed"), "2001:db8:51::1/64")
	})
	b.carried(host, "vmac0", 400, 400)
}
