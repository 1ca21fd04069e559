package programs

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// taggedUDP is a UDP datagram over IPv4 in a frame with an 802.1Q tag.
func taggedUDP(dst, src string, vlan uint16, from, to [4]byte, port uint16) []byte {
	d, _ := net.ParseMAC(dst)
	s, _ := net.ParseMAC(src)
	f := append(append([]byte(nil), d...), s...)
	f = append(f, 0x81, 0)
	f = binary.BigEndian.AppendUint16(f, vlan)
	f = append(f, 8, 0)
	const payload = 18
	ip := append([]byte{0x45, 0, 0, 28 + payload, 0, 0, 0x40, 0, 64, 17, 0, 0}, append(from[:], to[:]...)...)
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	udp := make([]byte, 8+payload)
	binary.BigEndian.PutUint16(udp, port)
	binary.BigEndian.PutUint16(udp[2:], 9)
	binary.BigEndian.PutUint16(udp[4:], 8+payload)
	return append(append(f, ip...), udp...)
}

// A flow with an 802.1Q tag passes a vmac both ways, each frame once and with
// its tag, and doesn't reach a sibling.
func TestTaggedFlow(t *testing.T) {
	need(t, "tcpdump:tcpdump", "ping:iputils-ping")
	p := newPair(t)
	p.host.sh("umacvlan link add link eth0 name vmac1 address 02:00:00:00:01:02 type macvlan mode bridge && ip link set vmac1 up")
	tcpdump := func(m *machine, device string) *process {
		return m.tcpdump(device, "vlan", "10", "and", "udp")
	}
	vmac, wire, sibling := tcpdump(p.guest, "vmac0"), tcpdump(p.other, "eth0"), tcpdump(p.host, "vmac1")
	const frames = 100
	a, b := [4]byte{10, 0, 10, 2}, [4]byte{10, 0, 10, 9}
	for _, way := range []struct {
		from     *machine
		device   string
		dst, src string
		fromIP   [4]byte
		toIP     [4]byte
		base     int
	}{
		{p.guest, "vmac0", otherMAC, vmacMAC, a, b, 1000},
		{p.other, "eth0", vmacMAC, otherMAC, b, a, 2000},
	} {
		in := way.from.inject(way.device)
		for n := range frames {
			if err := in.Send(taggedUDP(way.dst, way.src, 10, way.fromIP, way.toIP, uint16(way.base+n))); err != nil {
				t.Fatal(err)
			}
		}
		for n := range frames {
			line := fmt.Sprintf("%s > %s, ethertype 802.1Q (0x8100), length 64: vlan 10, p 0, ethertype IPv4 (0x0800), %s.%d > ", way.src, way.dst, net.IP(way.fromIP[:]), way.base+n)
			for _, d := range []*process{vmac, wire} {
				d.waitFor(line)
				if got := strings.Count(d.text(), line); got != 1 {
					t.Errorf("%d times: %s", got, line)
				}
			}
		}
	}
	sibling.stop(syscall.SIGINT)
	if text := sibling.text(); strings.Contains(text, "vlan 10") {
		t.Errorf("the sibling saw\n%s", text)
	}
	p.carried(p.guest, "vmac0", frames*60, frames*60)
}

// inject opens an injector on a device until the test ends.
func (m *machine) inject(device string) *lab.Injector {
	m.bed.Helper()
	d := &lab.Device{NS: m.NS, Name: device}
	err := m.Do(func() error {
		i, err := net.InterfaceByName(device)
		if err == nil {
			d.Index = i.Index
		}
		return err
	})
	if err != nil {
		m.bed.Fatal(err)
	}
	in, err := d.Inject()
	if err != nil {
		m.bed.Fatal(err)
	}
	m.bed.Cleanup(func() { in.Close() })
	return in
}
