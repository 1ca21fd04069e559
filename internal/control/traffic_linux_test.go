package control_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// times is how often something is done: few times, or with UMACVLAN_FULL in the
// environment as often as it takes to believe it.
func times(few, full int) int {
	if os.Getenv("UMACVLAN_FULL") != "" {
		return full
	}
	return few
}

// traffic goes on while devices change: from the wire to every vmac, from each
// vmac to the next, and to the wire. Every frame says for whom it is.
type traffic struct {
	t    *testing.T
	wire *lab.Injector
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	members []*member
	sent    int
	heard   int
}

type member struct {
	number int
	dev    *lab.Device
	tap    *lab.Probe
	from   *lab.Injector
}

// trafficMark tells these frames from others.
const trafficMark = 0x7aff << 16

// numbered is the address of a vmac that traffic knows.
func numbered(n int) net.HardwareAddr {
	return net.HardwareAddr{2, 0, 0, 9, byte(n >> 8), byte(n)}
}

func frameFor(n int) []byte {
	f := frameTo(numbered(n))
	binary.BigEndian.PutUint32(f[14:], trafficMark|uint32(n))
	return f
}

// newTraffic starts it; nobody is in it yet.
func newTraffic(t *testing.T, wire *lab.Device) *traffic {
	t.Helper()
	i, err := wire.Inject()
	if err != nil {
		t.Fatal(err)
	}
	tr := &traffic{t: t, wire: i, stop: make(chan struct{}), done: make(chan struct{})}
	go tr.send()
	return tr
}

// send sends what can be sent: devices are down, or gone, now and then.
func (tr *traffic) send() {
	defer close(tr.done)
	for {
		select {
		case <-tr.stop:
			return
		case <-time.After(200 * time.Microsecond):
		}
		tr.mu.Lock()
		for i, m := range tr.members {
			next := tr.members[(i+1)%len(tr.members)]
			for _, err := range []error{
				tr.wire.Send(frameFor(m.number)), m.from.Send(frameFor(next.number)), m.from.Send(frameTo(hw("02:00:00:00:0e:01"))),
			} {
				if err == nil {
					tr.sent++
				}
			}
		}
		tr.mu.Unlock()
	}
}

// add lets a vmac take part that has the address numbered(n).
func (tr *traffic) add(n int, d *lab.Device) {
	tr.t.Helper()
	tap, err := d.Tap()
	if err != nil {
		tr.t.Fatal(err)
	}
	from, err := d.Inject()
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.members = append(tr.members, &member{n, d, tap, from})
}

// remove takes it out.
func (tr *traffic) remove(n int) {
	tr.check()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	i := slices.IndexFunc(tr.members, func(m *member) bool { return m.number == n })
	tr.members[i].tap.Close()
	tr.members[i].from.Close()
	tr.members = slices.Delete(tr.members, i, i+1)
}

// check reads what has come, and finds what has come to somebody else.
func (tr *traffic) check() {
	tr.t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, m := range tr.members {
		if err := lab.Wait([]*lab.Probe{m.tap}, 0, func() bool { return true }); err != nil {
			tr.t.Error(err)
		}
		for _, s := range m.tap.Seen {
			if s.Type == classify.TypeOutgoing || len(s.Bytes) < 18 || s.Bytes[0] != 2 || binary.BigEndian.Uint16(s.Bytes[12:]) != lab.EtherType {
				continue
			}
			mark := binary.BigEndian.Uint32(s.Bytes[14:])
			if mark&0xffff0000 != trafficMark {
				continue
			}
			tr.heard++
			if mark != trafficMark|uint32(m.number) {
				tr.t.Errorf("vmac %d got a frame for %d: %x", m.number, mark&0xffff, s.Bytes[:18])
			}
		}
		m.tap.Reset()
	}
}

// end stops the traffic.
func (tr *traffic) end() {
	close(tr.stop)
	<-tr.done
	for len(tr.members) > 0 {
		tr.remove(tr.members[0].number)
	}
	tr.wire.Close()
	tr.t.Logf("%d frames sent, %d heard by whom they were for", tr.sent, tr.heard)
	if tr.heard == 0 {
		tr.t.Error("nobody heard anything")
	}
}

// secondary lists the secondary unicast addresses of a device.
func secondary(t *testing.T, d *lab.Device) (list []string) {
	t.Helper()
	err := d.NS.Do(func() error {
		l, err := netlink.LinkByName(d.Name)
		if err != nil {
			return err
		}
		entries, err := netlink.NeighListExecute(netlink.Ndmsg{Family: unix.AF_BRIDGE, Index: uint32(l.Attrs().Index)})
		for _, n := range entries {
			if n.LinkIndex == l.Attrs().Index && len(n.HardwareAddr) == 6 && n.HardwareAddr[0]&1 == 0 {
				list = append(list, n.HardwareAddr.String())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// steady says that the parent has these vmacs' addresses and no other, is
// promiscuous for that, and that each hears.
func (b *bed) steady(members map[int]*lab.Device) {
	b.t.Helper()
	var want []string
	for n := range members {
		want = append(want, numbered(n).String())
	}
	slices.Sort(want)
	b.soon("the parent has the addresses of all", func() bool { return slices.Equal(secondary(b.t, b.Parent), want) })
	b.soon("the parent's promiscuity is right", func() bool { return attrs(b.Parent.NS, b.Parent.Name).Promisc == min(1, len(want)) })
	for n, d := range members {
		b.soon(fmt.Sprintf("vmac %d hears", n), func() bool { return b.hears(d, numbered(n), 10*time.Millisecond) })
	}
}
