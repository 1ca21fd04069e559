package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// place is one end of the traffic: a device, with an address unless it is one
// of a crowd.
type place struct {
	*lab.Device
	addr netip.Addr
}

// bed is what every contender gets: a parent and its wire with MTU 1500, and
// the vmacs of a scene.
type bed struct {
	driver lab.Driver
	scene  Scene
	topo   *lab.Topology
	host   place // the parent
	wire   place // nil device if the parent is the caller's and its other end isn't
	vmacs  []place
	crowd  []place

	spent, rested time.Duration // CPU time of an emulator that had nothing to do, and for how long
}

// newBed owns driver, also when it fails. site is nil unless the parent is the
// caller's.
func newBed(driver lab.Driver, scene Scene, site *site) (_ *bed, err error) {
	b := &bed{driver: driver, scene: scene}
	if site != nil {
		b.topo = &lab.Topology{Driver: driver, Parent: site.parent, Wire: site.wire, Vmacs: map[string]*lab.Device{}}
	} else if b.topo, err = lab.NewTopology(driver, lab.Options{Offloads: !scene.Software}); err != nil {
		return nil, errors.Join(err, driver.Close())
	}
	if err := b.furnish(site == nil); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *bed) furnish(own bool) error {
	b.host = place{b.topo.Parent, netip.AddrFrom4([4]byte{10, 1, 1, 2})}
	b.wire = place{b.topo.Wire, netip.AddrFrom4([4]byte{10, 1, 1, 1})}
	if own {
		for _, p := range []place{b.host, b.wire} {
			if err := p.AddAddr(p.addr.String() + "/24"); err != nil {
				return err
			}
		}
		// Else the host answers for addresses that its vmacs have.
		if err := lab.Sysctl(b.host.NS, "ipv4/conf/all/arp_ignore", "1"); err != nil {
			return err
		}
	}
	for i := range b.scene.Vmacs {
		ns, err := b.topo.NewNS()
		if err != nil {
			return err
		}
		p, err := b.add(fmt.Sprintf("m%d", i), [6]byte{2, 0, 0, 1, 0, byte(i)}, ns)
		if err != nil {
			return err
		}
		p.addr = netip.AddrFrom4([4]byte{10, 1, 1, byte(10 + i)})
		if err := p.AddAddr(p.addr.String() + "/24"); err != nil {
			return err
		}
		b.vmacs = append(b.vmacs, p)
	}
	if b.scene.Crowd > 0 {
		ns, err := b.topo.NewNS()
		if err != nil {
			return err
		}
		if err := b.gather(ns); err != nil {
			return err
		}
	}
	return b.await()
}

// several is a driver that makes many vmacs faster at once than one by one.
type several interface {
	addAll(parent *lab.Device, list []*lab.Vmac) error
}

// gather makes the crowd.
func (b *bed) gather(ns *lab.NS) error {
	const atOnce = 64
	var list []*lab.Vmac
	for i := range b.scene.Crowd {
		list = append(list, b.vmac(fmt.Sprintf("c%d", i), [6]byte{2, 0, 0, 2, byte(i >> 8), byte(i)}, ns))
	}
	for part := range slices.Chunk(list, atOnce) {
		s, ok := b.driver.(several)
		if ok {
			if err := s.addAll(b.topo.Parent, part); err != nil {
				return err
			}
		}
		for _, v := range part {
			var d *lab.Device
			var err error
			if ok {
				d, err = lab.Find(v.NS, v.Name)
			} else {
				d, err = b.topo.Add(*v)
			}
			if err != nil {
				return err
			}
			if err := b.raise(d); err != nil {
				return err
			}
			b.crowd = append(b.crowd, place{Device: d})
		}
	}
	return nil
}

func (b *bed) vmac(name string, mac [6]byte, ns *lab.NS) *lab.Vmac {
	v := &lab.Vmac{Name: name, Mode: b.scene.Mode, NS: ns, MAC: net.HardwareAddr(mac[:])}
	if b.scene.Mode == classify.Source {
		v.Sources = []net.HardwareAddr{b.wire.MAC}
	}
	return v
}

// raise brings a vmac up, with offloads as the scene wants them.
func (b *bed) raise(d *lab.Device) error {
	if b.scene.Software {
		if err := d.SetOffloads(false); err != nil {
			return err
		}
	}
	return d.Up()
}

// add makes a vmac and brings it up.
func (b *bed) add(name string, mac [6]byte, ns *lab.NS) (place, error) {
	d, err := b.topo.Add(*b.vmac(name, mac, ns))
	if err != nil {
		return place{}, err
	}
	if b.scene.Mode == classify.Passthru {
		d.MAC = b.topo.Parent.MAC
	}
	return place{Device: d}, b.raise(d)
}

// await waits until frames reach the vmacs that were made last: until then some
// switches are still learning of them.
func (b *bed) await() error {
	var last []place
	for _, list := range [][]place{b.vmacs, b.crowd} {
		if n := len(list); n > 0 {
			last = append(last, list[0], list[n-1])
		}
	}
	for _, p := range last {
		if err := b.reach(p); err != nil {
			return err
		}
	}
	return nil
}

func (b *bed) reach(p place) error {
	end := time.Now().Add(time.Minute)
	for ; ; time.Sleep(time.Millisecond) {
		up, err := p.Operational()
		if err != nil {
			return err
		}
		if up {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s has no carrier", p.Name)
		}
	}
	if b.wire.Device == nil {
		return nil
	}
	in, err := b.wire.Inject()
	if err != nil {
		return err
	}
	defer in.Close()
	frame := blank([6]byte(p.MAC), [6]byte(b.wire.MAC), Smallest)
	before, err := p.Counters()
	for ; err == nil; time.Sleep(5 * time.Millisecond) {
		if err := in.Send(frame); err != nil {
			return err
		}
		var now lab.Counters
		if now, err = p.Counters(); now.RxPackets > before.RxPackets {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("no frame reaches %s", p.Name)
		}
	}
	return err
}

// isVmac reports whether p is behind the driver.
func (b *bed) isVmac(p place) bool { return p.Device != b.wire.Device && p.Device != b.host.Device }

// counters returns what the driver counts for p, if p is a vmac.
func (b *bed) counters(p place) (lab.Counters, error) {
	if !b.isVmac(p) {
		return lab.Counters{}, nil
	}
	return b.driver.Counters(p.Device)
}

// path says which way the driver's frames go, if it knows.
func (b *bed) path() (string, error) {
	for _, list := range [][]place{b.vmacs, b.crowd} {
		if d, ok := b.driver.(interface {
			path(d *lab.Device) (string, error)
		}); ok && len(list) > 0 {
			return d.path(list[0].Device)
		}
	}
	return "", nil
}

// shape puts a token bucket on both ends of the link, as "tc qdisc replace dev
// DEV root tbf rate R burst 128kb latency 50ms" does; 0 takes it away.
func (b *bed) shape(bitsPerSecond uint64) error {
	for _, p := range []place{b.host, b.wire} {
		err := p.NS.Do(func() error {
			attrs := netlink.QdiscAttrs{LinkIndex: p.Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
			if bitsPerSecond == 0 {
				return netlink.QdiscDel(&netlink.Tbf{QdiscAttrs: attrs})
			}
			const burst = 128 << 10
			rate := bitsPerSecond / 8
			return netlink.QdiscReplace(&netlink.Tbf{
				QdiscAttrs: attrs, Rate: rate,
				Buffer: netlink.Xmittime(rate, burst), Limit: uint32(rate/20) + burst,
			})
		})
		if err != nil {
			return fmt.Errorf("tbf on %s: %w", p.Name, err)
		}
	}
	return nil
}

// Close takes everything away.
func (b *bed) Close() error { return errors.Join(b.driver.Close(), b.topo.Close()) }
