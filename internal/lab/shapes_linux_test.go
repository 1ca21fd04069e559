package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/classify"
)

// TestShapes runs TCP and UDP both ways between the wire and a vmac on hosts of
// every shape, while each offload of each device on the way is switched off and
// on again. All data has to be right, no stack may reject a checksum, and no
// frame may be seen whose checksum is called finished and isn't.
func TestShapes(t *testing.T) {
	Need(t, NeedNS, NeedTUN)
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			Need(t, s.needs...)
			before := Measure()
			runShape(t, s)
			if err := before.Leaked(); err != nil {
				t.Error(err)
			}
		})
	}
}

// shape is one host.
type shape struct {
	name    string
	options Options
	needs   []Needs
	// every says that all features are tried, not only those that matter most.
	every bool
	build func(s *shaped) error // makes s.vmac and says what is on the way there
}

var shapes = []shape{
	{name: "offloads", options: Options{Offloads: true}, every: true, build: ordinary},
	{name: "offloads off", options: Options{}, build: ordinary},
	{name: "parent without offloads", options: Options{Offloads: true}, build: func(s *shaped) error {
		return errors.Join(s.Parent.SetOffloads(false), ordinary(s))
	}},
	{name: "vmac without offloads", options: Options{Offloads: true}, build: func(s *shaped) error {
		return errors.Join(ordinary(s), s.vmac.SetOffloads(false))
	}},
	{name: "mtu 9000", options: Options{Offloads: true, MTU: 9000}, build: ordinary},
	{name: "mtu 9000, offloads off", options: Options{MTU: 9000}, build: ordinary},
	{name: "mtu 576", options: Options{Offloads: true, MTU: 576}, build: ordinary},
	{name: "passthru", options: Options{Offloads: true}, build: func(s *shaped) error {
		return s.add(s.Emulator, s.Parent, Vmac{Name: "sv", Mode: classify.Passthru})
	}},
	{name: "on a vmac", options: Options{Offloads: true}, build: onVmac},
	{name: "on another daemon's vmac", options: Options{Offloads: true}, build: onForeignVmac},
	{name: "on a macvlan of the kernel", options: Options{Offloads: true}, needs: []Needs{NeedMacvlan}, build: onMacvlan},
	{name: "beside macvlans of the kernel", options: Options{Offloads: true}, needs: []Needs{NeedMacvlan}, build: besideMacvlan},
	{name: "on a bridge", options: Options{Offloads: true}, build: onBridge},
}

// shaped is a shape that has been built.
type shaped struct {
	*Topology
	*Emulator
	wire, vmac *Device   // the ends, each with an address
	way        []*Device // all devices on the way
	others     []*Device // ends of flows that go on beside it
	closers    []func() error
}

var (
	shapeWire = netip.AddrFrom4([4]byte{10, 77, 0, 1})
	shapeVmac = netip.AddrFrom4([4]byte{10, 77, 0, 2})
)

// add makes the vmac in a namespace of its own.
func (s *shaped) add(on Driver, parent *Device, v Vmac) error {
	ns, err := s.NewNS()
	if err != nil {
		return err
	}
	v.NS = ns
	if s.vmac, err = s.make(on, parent, v); err != nil {
		return err
	}
	s.way = append(s.way, s.vmac)
	return nil
}

// make makes a vmac, up.
func (s *shaped) make(on Driver, parent *Device, v Vmac) (*Device, error) {
	if err := on.Add(parent, &v); err != nil {
		return nil, err
	}
	d, err := Find(v.NS, v.Name)
	if err != nil {
		return nil, err
	}
	return d, d.Up()
}

func ordinary(s *shaped) error {
	return s.add(s.Emulator, s.Parent, Vmac{Name: "sv", Mode: classify.Bridge, MAC: net.HardwareAddr{2, 0, 0, 0, 7, 1}})
}

// onVmac names a vmac of the same daemon as the parent, which stands for that
// one's parent (macvlan_common_newlink).
func onVmac(s *shaped) error {
	lower, err := s.make(s.Emulator, s.Parent, Vmac{Name: "lower", Mode: classify.Bridge, NS: s.Parent.NS})
	if err != nil {
		return err
	}
	return s.add(s.Emulator, lower, Vmac{Name: "sv", Mode: classify.Bridge})
}

// onForeignVmac has a daemon work on the TAP of another. That one is passthru,
// as nothing else hears what isn't its own address.
func onForeignVmac(s *shaped) error {
	other := NewEmulator()
	s.closers = append(s.closers, other.Close)
	lower, err := s.make(other, s.Parent, Vmac{Name: "lower", Mode: classify.Passthru, NS: s.Parent.NS})
	if err != nil {
		return err
	}
	s.way = append(s.way, lower)
	return s.add(s.Emulator, lower, Vmac{Name: "sv", Mode: classify.Bridge})
}

func onMacvlan(s *shaped) error {
	lower, err := s.make(Kernel(), s.Parent, Vmac{Name: "lower", Mode: classify.Passthru, NS: s.Parent.NS})
	if err != nil {
		return err
	}
	s.way = append(s.way, lower)
	return s.add(s.Emulator, lower, Vmac{Name: "sv", Mode: classify.Bridge})
}

// besideMacvlan gives the parent vmacs of the kernel's driver, one of which was
// there before ours and carries TCP too, and one that comes later.
func besideMacvlan(s *shaped) error {
	kernels := func(name string, mac byte, addr string) error {
		ns, err := s.NewNS()
		if err != nil {
			return err
		}
		d, err := s.make(Kernel(), s.Parent, Vmac{Name: name, Mode: classify.Bridge, NS: ns, MAC: net.HardwareAddr{2, 0, 0, 0, 7, mac}})
		if err != nil {
			return err
		}
		s.others = append(s.others, d)
		return d.AddAddr(addr + "/24")
	}
	return errors.Join(kernels("k1", 0x11, "10.77.0.11"), ordinary(s), kernels("k2", 0x12, "10.77.0.12"))
}

func onBridge(s *shaped) error {
	br := &Device{Name: "br", NS: s.Parent.NS}
	err := br.NS.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = br.Name
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return err
		}
		master, err := netlink.LinkByName(br.Name)
		if err != nil {
			return err
		}
		port, err := netlink.LinkByName(s.Parent.Name)
		if err != nil {
			return err
		}
		br.Index = master.Attrs().Index
		return errors.Join(netlink.LinkSetMaster(port, master), netlink.LinkSetUp(master))
	})
	if err != nil {
		return err
	}
	s.way = append(s.way, br)
	return s.add(s.Emulator, br, Vmac{Name: "sv", Mode: classify.Bridge})
}

func runShape(t *testing.T, form shape) {
	top, err := NewTopology(nil, form.options)
	if err != nil {
		t.Fatal(err)
	}
	s := &shaped{Topology: top, Emulator: NewEmulator(), wire: top.Wire, way: []*Device{top.Wire, top.Parent}}
	s.closers = append(s.closers, s.Emulator.Close, s.Topology.Close)
	defer func() {
		for _, c := range s.closers {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := form.build(s); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.wire.AddAddr(shapeWire.String()+"/24"), s.vmac.AddAddr(shapeVmac.String()+"/24")); err != nil {
		t.Fatal(err)
	}
	if err := s.exercise(t, form.every || full()); err != nil {
		t.Error(err)
	}
}

// matter are the features that a default run switches on most shapes.
const matter = " tx tso gro "

// exercise runs the flows while features go and come back.
func (s *shaped) exercise(t *testing.T, every bool) (err error) {
	rejected := func() (n int) {
		for _, d := range append([]*Device{s.wire, s.vmac, s.Parent}, s.others...) {
			more, e := checksumErrors(d.NS)
			n, err = n+more, errors.Join(err, e)
		}
		return n
	}
	before := rejected()
	for _, d := range []*Device{s.wire, s.vmac} {
		w, e := watch(d)
		if e != nil {
			return e
		}
		defer func() {
			err = errors.Join(err, w.close())
			t.Logf("%s: %d finished checksums looked at", d.Name, w.checked.Load())
		}()
	}
	var flows []*flow
	ways := []struct {
		from, to *NS
		addr     netip.Addr
	}{{s.wire.NS, s.vmac.NS, shapeVmac}, {s.vmac.NS, s.wire.NS, shapeWire}}
	for i, d := range s.others {
		addr := netip.AddrFrom4([4]byte{10, 77, 0, byte(11 + i)})
		ways = append(ways, struct {
			from, to *NS
			addr     netip.Addr
		}{s.wire.NS, d.NS, addr})
	}
	for _, w := range ways {
		f, e := startFlow(w.from, w.to, w.addr, 50_000_000)
		if e != nil {
			return errors.Join(err, e)
		}
		flows = append(flows, f)
		defer func() { err = errors.Join(err, f.close()) }()
	}
	moves := func(when string) error {
		for i, f := range flows {
			if e := f.moves(256 << 10); e != nil {
				return fmt.Errorf("flow %d %s: %w", i, when, e)
			}
		}
		const size = 500
		if e := errors.Join(datagrams(s.wire, s.vmac, shapeVmac.As4(), size), datagrams(s.vmac, s.wire, shapeWire.As4(), size)); e != nil {
			return fmt.Errorf("%s: %w", when, e)
		}
		return nil
	}
	if err := moves("before anything is switched"); err != nil {
		return err
	}
	for _, d := range s.others {
		if _, err := Ping(d.NS, shapeVmac, 200*time.Millisecond); !errors.Is(err, ErrTimeout) {
			return fmt.Errorf("%s, of another port, reaches ours: %w", d.Name, err)
		}
	}
	switched := 0
	for _, d := range s.way {
		for _, f := range features {
			if !every && !strings.Contains(matter, " "+f.name+" ") {
				continue
			}
			changed, err := d.flip(f.of)
			if err != nil {
				return err
			}
			if !changed {
				continue
			}
			switched++
			if err := moves(fmt.Sprintf("with %s of %s switched", f.name, d.Name)); err != nil {
				return err
			}
			if _, err := d.flip(f.of); err != nil {
				return err
			}
		}
	}
	t.Logf("%d switches", switched)
	if n := rejected() - before; n > 0 {
		return fmt.Errorf("%d checksums were rejected", n)
	}
	return err
}
