package programs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// view is a place at which tcpdump looks.
type view struct {
	name    string
	capture *process
}

var ifindex = regexp.MustCompile(`ifindex \d+ `)

// lines are the frames that were seen there, in an order that says nothing.
func (v view) lines() []string {
	var list []string
	for _, l := range strings.Split(v.capture.text(), "\n") {
		if strings.Contains(l, "ethertype") {
			list = append(list, ifindex.ReplaceAllString(strings.TrimSpace(l), ""))
		}
	}
	slices.Sort(list)
	return list
}

// talk is traffic that can't differ from run to run: who is where is known,
// numbers that programs draw are given.
func (p *pair) talk() []view {
	p.Helper()
	p.other.sh("ip neigh replace 10.0.0.2 lladdr " + vmacMAC + " nud permanent dev eth0\n" +
		"ip neigh replace 10.0.0.66 lladdr 02:00:00:00:00:66 nud permanent dev eth0")
	p.guest.sh("ip neigh replace 10.0.0.9 lladdr " + otherMAC + " nud permanent dev vmac0")
	views := []view{
		{"the vmac", p.guest.tcpdump("vmac0")},
		{"the parent", p.host.tcpdump("eth0")},
		{"the wire", p.other.tcpdump("eth0")},
		// With directions and packet types.
		{"any, beside the vmac", p.guest.tcpdump("any")},
		{"any, beside the parent", p.host.tcpdump("any")},
	}
	p.guest.sh("ping -n -q -c 3 -i 0.2 -e 77 10.0.0.9; ping -n -q -c 1 -s 4000 -e 78 10.0.0.9; arping -c 1 -I vmac0 10.0.0.9")
	p.other.sh("ping -n -q -c 3 -i 0.2 -e 79 10.0.0.2; ping -n -q -c 1 -s 4000 -e 80 10.0.0.2; arping -c 1 -I eth0 10.0.0.2")
	// Unanswered: to everybody, to a group, to somebody who is not here.
	for i, line := range []string{"-b 10.0.0.255", "-I %s 224.0.0.1", "10.0.0.66"} {
		if i < 2 {
			p.guest.try("sh", "-c", strings.ReplaceAll(fmt.Sprintf("ping -n -q -c 1 -W 0.1 -e %d ", 81+i)+line, "%s", "vmac0"))
		}
		p.other.try("sh", "-c", strings.ReplaceAll(fmt.Sprintf("ping -n -q -c 1 -W 0.1 -e %d ", 91+i)+line, "%s", "eth0"))
	}
	for _, err := range []error{
		p.guest.inject("vmac0").Send(taggedUDP(otherMAC, vmacMAC, 10, [4]byte{10, 0, 10, 2}, [4]byte{10, 0, 10, 9}, 1000)),
		p.other.inject("eth0").Send(taggedUDP(vmacMAC, otherMAC, 10, [4]byte{10, 0, 10, 9}, [4]byte{10, 0, 10, 2}, 2000)),
	} {
		if err != nil {
			p.Fatal(err)
		}
	}
	return views
}

// tcpdump shows on a vmac, on its parent and on the wire what it shows with the
// kernel's macvlan. Siblings, of which the parent hears nothing here, are left
// out; see docs/semantics.md, 7.
func TestTcpdump(t *testing.T) {
	need(t, "tcpdump:tcpdump", "ping:iputils-ping", "arping:iputils-arping")
	lab.Need(t, lab.NeedMacvlan)
	ours := newPair(t)
	theirs := &pair{ours.bed, ours.machine("host of the kernel's"), ours.machine("other of the kernel's"), ours.machine("guest of the kernel's")}
	theirs.host.reference, theirs.guest.reference = true, true
	theirs.join(theirs.host, "eth0", hostMAC, theirs.other, "eth0", otherMAC)
	theirs.other.sh("ip addr add 10.0.0.9/24 dev eth0")
	theirs.host.sh("ip link add link eth0 name vmac0 address " + vmacMAC + " netns " + theirs.guest.Path() + " type macvlan mode bridge")
	theirs.guest.sh("ip link set vmac0 up && ip addr add 10.0.0.2/24 dev vmac0")
	theirs.guest.pings("10.0.0.9")

	got, want := ours.talk(), theirs.talk()
	for i, v := range got {
		ours.within(v.name+" shows what it shows with the kernel's macvlan", func() bool {
			w := want[i].lines()
			return len(w) >= 15 && slices.Equal(v.lines(), w)
		}, func() string {
			return strings.Join(v.lines(), "\n") + "\nand with the kernel's\n" + strings.Join(want[i].lines(), "\n")
		})
		t.Logf("%s: %d frames, the same", v.name, len(v.lines()))
	}
	ours.carried(ours.guest, "vmac0", 2*4000, 2*4000)
	for i, v := range got { // nothing came late
		if !slices.Equal(v.lines(), want[i].lines()) {
			t.Errorf("%s: no longer the same", v.name)
		}
	}
}
