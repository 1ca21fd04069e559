package programs

import (
	"net"
	"strings"
	"testing"
	"time"
)

// Programs join groups through their sockets, as for mDNS: the vmac has the
// group, its parent takes frames for it, IGMP says so on the wire, and what is
// sent to the group arrives until it is left.
func TestGroups(t *testing.T) {
	need(t, "tcpdump:tcpdump", "ping:iputils-ping")
	p := newPair(t)
	reports := p.other.tcpdump("eth0", "-v", "igmp")
	for _, g := range []struct{ name, group, mac string }{
		{"mDNS", "224.0.0.251", "01:00:5e:00:00:fb"},
		{"a group of one's own", "239.1.2.3", "01:00:5e:01:02:03"},
	} {
		to := &net.UDPAddr{IP: net.ParseIP(g.group), Port: 5353}
		var member, sender *net.UDPConn
		err := p.guest.Do(func() (err error) {
			vmac, err := net.InterfaceByName("vmac0")
			if err != nil {
				return err
			}
			member, err = net.ListenMulticastUDP("udp4", vmac, to)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer member.Close()
		err = p.other.Do(func() (err error) {
			sender, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 0, 0, 9)}, to)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer sender.Close()

		if out := p.guest.run("ip", "maddr", "show", "dev", "vmac0"); !strings.Contains(out, g.group) || !strings.Contains(out, g.mac) {
			t.Errorf("%s: the vmac's groups:\n%s", g.name, out)
		}
		parent := func() string { return p.host.run("ip", "maddr", "show", "dev", "eth0") }
		p.within("the parent takes "+g.group, func() bool { return strings.Contains(parent(), g.mac) })
		reports.waitFor(g.group + " to_ex") // IGMPv3: from now on everything to this group
		question := []byte("who is " + g.name)
		got := make([]byte, 100)
		p.within("a datagram to "+g.group, func() bool {
			if _, err := sender.Write(question); err != nil {
				t.Fatal(err)
			}
			member.SetReadDeadline(time.Now().Add(time.Second))
			n, err := member.Read(got)
			return err == nil && string(got[:n]) == string(question)
		})
		member.Close()
		reports.waitFor(g.group + " to_in, 0 source") // left
		p.within("the parent has left "+g.group, func() bool { return !strings.Contains(parent(), g.mac) })
		if out := p.guest.run("ip", "maddr", "show", "dev", "vmac0"); strings.Contains(out, g.mac) {
			t.Errorf("%s: left, and still there:\n%s", g.name, out)
		}
	}
	for _, line := range strings.Split(reports.text(), "\n") {
		if strings.Contains(line, " > 01:00:5e:00:00:16,") && !strings.HasPrefix(line, vmacMAC+" > ") {
			t.Errorf("a report from another MAC: %s", line)
		}
	}
	p.carried(p.guest, "vmac0", 2*40, 4*40)
}
