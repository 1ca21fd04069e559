package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
)

// full says that tests shall run at their full size.
func full() bool { return os.Getenv("UMACVLAN_FULL") != "" }

// TestScale makes many vmacs on one parent through the daemon's API, in
// namespaces of their own or 64 together, lets them idle, pings each, and makes
// and deletes more while TCP runs.
func TestScale(t *testing.T) {
	Need(t, NeedNS, NeedTUN)
	sizes, forms := scaleSizes{vmacs: 96, idle: 300 * time.Millisecond, churn: 8, rated: 300 * time.Millisecond}, []int{1}
	if full() {
		sizes, forms = scaleSizes{vmacs: 4096, idle: 20 * time.Second, churn: 1000, rated: 5 * time.Second}, []int{1, 64}
	}
	for _, per := range forms {
		t.Run(fmt.Sprintf("%d per namespace", per), func(t *testing.T) { testScale(t, per, sizes) })
	}
}

type scaleSizes struct {
	vmacs, churn int
	idle, rated  time.Duration
}

func testScale(t *testing.T, per int, size scaleSizes) {
	before := Measure()
	s, err := newScale(per, size.vmacs)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close(t, before)
	line := func(what, format string, args ...any) { t.Logf("%-34s %s", what, fmt.Sprintf(format, args...)) }

	// What is there for 64 is measured too: a daemon's own size is no vmac's.
	start := time.Now()
	if err := s.add(0, 64); err != nil {
		t.Fatal(err)
	}
	line("64 vmacs come up", "%v", time.Since(start).Round(time.Millisecond))
	few := s.idle(size.idle)
	start = time.Now()
	if err := s.add(64, size.vmacs); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	line(fmt.Sprintf("%d more, one after the other", size.vmacs-64), "%v (%v each)", took.Round(time.Millisecond), (took / time.Duration(size.vmacs-64)).Round(time.Microsecond))
	busy := s.daemonCPU()
	line("daemon's CPU for that", "%v", busy-few.cpuAt)
	if full() && took > 30*time.Second {
		t.Errorf("%d vmacs took %v to come up, more than 30 s", size.vmacs, took)
	}

	time.Sleep(size.idle / 4)
	many := s.idle(size.idle)
	line("idle with 64", "%s", few)
	line(fmt.Sprintf("idle with %d", size.vmacs), "%s", many)
	n := float64(size.vmacs - 64)
	kernel, user := float64(many.kernel-few.kernel)/n, float64(many.user-few.user)/n
	line("memory per idle vmac", "kernel %.1f KiB, user %.1f KiB", kernel, user)
	if full() && (kernel > 150 || user > 50) {
		t.Errorf("an idle vmac costs %.0f KiB of the kernel's and %.0f KiB of the daemon's memory", kernel, user)
	}

	start = time.Now()
	links, err := s.links()
	if err != nil {
		t.Fatal(err)
	}
	line("link show of all", "%d in %v", links, time.Since(start).Round(time.Millisecond))
	if links != size.vmacs {
		t.Errorf("%d vmacs are shown", links)
	}

	start = time.Now()
	if err := s.address(); err != nil {
		t.Fatal(err)
	}
	line("addresses given by the test", "%v", time.Since(start).Round(time.Millisecond))
	start = time.Now()
	silent, err := s.ping()
	if err != nil {
		t.Fatal(err)
	}
	line("ping", "%d of %d answer, in %v", size.vmacs-len(silent), size.vmacs, time.Since(start).Round(time.Millisecond))
	if len(silent) > 0 {
		t.Errorf("%d vmacs don't answer, such as number %d", len(silent), silent[0])
	}

	for _, rate := range []int{125_000_000, 0} { // 1 Gbit/s, and what there is
		what := "TCP as fast as it can"
		if rate > 0 {
			what = fmt.Sprintf("TCP at %d Mbit/s", rate/125_000)
		}
		r, err := s.disturb(rate, size)
		if err != nil {
			t.Fatal(err)
		}
		line(what, "%s", r)
		if full() && rate > 0 && r.during < 0.9*r.before {
			t.Errorf("%s: %s", what, r)
		}
	}
	took, err = s.stop()
	if err != nil {
		t.Error(err)
	}
	line("the daemon ends, with all of them", "%v", took.Round(time.Millisecond))
}

// scale is a parent, the namespaces of its vmacs and the daemon that makes them.
type scale struct {
	*Topology
	per    int
	spaces []*NS
	daemon *scaleProcess
	client *control.Client
}

const scaleSocket = "umacvlan.sock"

func newScale(per, vmacs int) (_ *scale, err error) {
	top, err := NewTopology(nil, Options{Offloads: true, IPv6: true})
	if err != nil {
		return nil, err
	}
	s := &scale{Topology: top, per: per}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.end())
		}
	}()
	for range (vmacs + per - 1) / per {
		ns, err := s.NewNS()
		if err != nil {
			return s, err
		}
		s.spaces = append(s.spaces, ns)
		// Of several vmacs in one namespace only the one that is asked shall answer.
		if err := Sysctl(ns, "ipv4/conf/all/arp_ignore", "1"); err != nil {
			return s, err
		}
	}
	if s.daemon, err = startScaleDaemon(s.Parent.NS); err != nil {
		return s, err
	}
	// As "ip netns add" and container networks name them.
	for i, ns := range s.spaces {
		if said := s.daemon.ask(fmt.Sprintf("name ns%d %s", i, ns.Path())); said != "<nil>" {
			return s, fmt.Errorf("name namespace %d: %s", i, said)
		}
	}
	s.client, err = control.Dial(s.daemon.socket)
	return s, err
}

func (s *scale) end() error {
	_, err := s.stop()
	return errors.Join(err, s.Topology.Close())
}

func (s *scale) close(t *testing.T, before Usage) {
	if err := s.end(); err != nil {
		t.Error(err)
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
}

func (s *scale) stop() (took time.Duration, err error) {
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
	if s.daemon != nil {
		took, err = s.daemon.stop()
		s.daemon = nil
	}
	return took, err
}

func (s *scale) name(i int) string { return fmt.Sprintf("sc%d", i) }

func (s *scale) space(i int) *NS { return s.spaces[i/s.per%len(s.spaces)] }

func (s *scale) mac(i int) net.HardwareAddr {
	return net.HardwareAddr{2, 0x5c, 0, byte(i >> 16), byte(i >> 8), byte(i)}
}

func (s *scale) addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 99, byte(1 + i>>8), byte(i)})
}

var scaleWire = netip.AddrFrom4([4]byte{10, 99, 0, 1})

// add makes the vmacs from a to b, up, with one request at a time, as
// "umacvlan -batch" does.
func (s *scale) add(a, b int) error {
	for i := a; i < b; i++ {
		mode, up, mac, to := uint32(classify.Bridge), true, s.mac(i).String(), s.space(i).Path()
		if err := s.request(control.LinkRequest{
			Op: "add", Name: s.name(i), Parent: s.Parent.Name, Kind: "macvlan", Address: &mac, Up: &up,
			ToNetns: &to, NetnsPath: s.Parent.NS.Path(), Data: &control.MacvlanData{Mode: &mode},
		}); err != nil {
			return fmt.Errorf("add %d: %w", i, err)
		}
	}
	return nil
}

// remove deletes the vmacs from a to b in the same way.
func (s *scale) remove(a, b int) error {
	for i := a; i < b; i++ {
		if err := s.request(control.LinkRequest{Op: "delete", Name: s.name(i), NetnsPath: s.space(i).Path()}); err != nil {
			return fmt.Errorf("delete %d: %w", i, err)
		}
	}
	return nil
}

func (s *scale) request(r control.LinkRequest) error {
	_, refusal, err := s.client.Link(context.Background(), r)
	if refusal != nil {
		return refusal
	}
	return err
}

func (s *scale) links() (n int, err error) {
	for _, ns := range s.spaces {
		links, err := s.client.Links(context.Background(), ns.Path())
		if err != nil {
			return n, err
		}
		n += len(links)
	}
	return n, nil
}

// address gives the vmacs their addresses. Everybody knows everybody's MAC from
// the start: a kernel's neighbour table has 1,024 places by default, for all of
// its namespaces together.
func (s *scale) address() error {
	if err := s.Wire.AddAddr(scaleWire.String() + "/16"); err != nil {
		return err
	}
	total, err := s.links()
	if err != nil {
		return err
	}
	known := func(index int, ip netip.Addr, mac net.HardwareAddr) error {
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: index, State: netlink.NUD_PERMANENT, IP: ip.AsSlice(), HardwareAddr: mac})
	}
	for g, ns := range s.spaces {
		err := ns.Do(func() error {
			for i := g * s.per; i < min((g+1)*s.per, total); i++ {
				l, err := netlink.LinkByName(s.name(i))
				if err != nil {
					return err
				}
				a, err := netlink.ParseAddr(s.addr(i).String() + "/16")
				if err != nil {
					return err
				}
				if err := errors.Join(netlink.AddrAdd(l, a), known(l.Attrs().Index, scaleWire, WireMAC)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.Wire.NS.Do(func() error {
		for i := range total {
			if err := known(s.Wire.Index, s.addr(i), s.mac(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ping asks each vmac from the wire, one after the other, and returns who didn't
// answer.
func (s *scale) ping() (silent []int, err error) {
	total, err := s.links()
	if err != nil {
		return nil, err
	}
	for i := range total {
		if _, err := Ping(s.Wire.NS, s.addr(i), 5*time.Second); errors.Is(err, ErrTimeout) {
			silent = append(silent, i)
		} else if err != nil {
			return silent, err
		}
	}
	return silent, nil
}

// disturbed is a stream before others came and went, and meanwhile.
type disturbed struct {
	before, during float64 // bits a second
	added, removed time.Duration
	n              int
}

func (d disturbed) String() string {
	return fmt.Sprintf("%.2f Gbit/s alone, %.2f (%.0f %%) while %d come (%v) and go (%v)",
		d.before/1e9, d.during/1e9, 100*d.during/d.before, d.n, d.added.Round(time.Millisecond), d.removed.Round(time.Millisecond))
}

// disturb has TCP run on one vmac while others are made and deleted.
func (s *scale) disturb(rate int, size scaleSizes) (d disturbed, err error) {
	f, err := startFlow(s.Wire.NS, s.space(0), s.addr(0), rate)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.moves(1 << 20); err != nil {
		return d, err
	}
	measure := func(work func() error) (float64, error) {
		start, from := time.Now(), f.got.Load()
		err := work()
		return float64(f.got.Load()-from) * 8 / time.Since(start).Seconds(), errors.Join(err, f.err())
	}
	if d.before, err = measure(func() error { time.Sleep(size.rated); return nil }); err != nil {
		return d, err
	}
	d.n = size.churn
	d.during, err = measure(func() error {
		start := time.Now()
		if err := s.add(size.vmacs, size.vmacs+size.churn); err != nil {
			return err
		}
		d.added = time.Since(start)
		start = time.Now()
		defer func() { d.removed = time.Since(start) }()
		return s.remove(size.vmacs, size.vmacs+size.churn)
	})
	return d, err
}

// TestNamedNamespaceDeleted: a TAP that was made in a namespace holds it, so the
// daemon has to let go when nobody else does any more.
func TestNamedNamespaceDeleted(t *testing.T) {
	Need(t, NeedNS, NeedTUN)
	before := Measure()
	s, err := newScale(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close(t, before)
	for i, lastName := range []bool{false, true} {
		ns, err := NewNS()
		if err != nil {
			t.Fatal(err)
		}
		s.spaces = append(s.spaces[:1], ns)
		if said := s.daemon.ask("name other " + ns.Path()); said != "<nil>" {
			t.Fatal(said)
		}
		if err := s.add(0, 2); err != nil {
			t.Fatal(err)
		}
		canary := &Device{Name: fmt.Sprintf("canary%d", i), NS: s.Wire.NS, MAC: net.HardwareAddr{2, 0, 0, 0, 6, 1}}
		if err := Veth(canary, &Device{Name: "c", NS: ns, MAC: net.HardwareAddr{2, 0, 0, 0, 6, 2}}, 1500); err != nil {
			t.Fatal(err)
		}
		vmacs := func() int {
			st, err := s.client.Status(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return st.Vmacs
		}
		if lastName {
			err = ns.Close()
		} else if said := s.daemon.ask("unname other"); said != "<nil>" {
			t.Fatal(said)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		if vmacs() != 2 || canary.link("look at", func(netlink.Link) error { return nil }) != nil {
			t.Errorf("%d vmacs while the namespace is held (by its name: %v)", vmacs(), lastName)
		}
		start := time.Now()
		if !lastName {
			err = ns.Close()
		} else if said := s.daemon.ask("unname other"); said != "<nil>" {
			t.Fatal(said)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := poll(20*time.Second, func() (bool, error) {
			_, err := Find(canary.NS, canary.Name)
			return vmacs() == 1 && err != nil, nil
		}); err != nil {
			t.Errorf("the namespace is still there, with %d vmacs: %v", vmacs(), err)
		}
		t.Logf("gone after %v", time.Since(start).Round(time.Millisecond))
		if err := s.remove(0, 1); err != nil {
			t.Fatal(err)
		}
	}
}
