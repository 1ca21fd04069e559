package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// place is one end of the traffic: a device with an address.
type place struct {
	*lab.Device
	addr netip.Addr
}

// bed is what every contender gets: a parent and its wire with the devices'
// default offloads and MTU 1500, and two bridge-mode vmacs in namespaces of
// their own.
type bed struct {
	driver lab.Driver
	topo   *lab.Topology
	wire   place
	vmacs  [2]place
}

// newBed owns driver, also when it fails.
func newBed(driver lab.Driver) (*bed, error) {
	topo, err := lab.NewTopology(driver, lab.Options{Offloads: true})
	if err != nil {
		return nil, errors.Join(err, driver.Close())
	}
	b := &bed{driver: driver, topo: topo}
	if err := b.furnish(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *bed) furnish() error {
	b.wire = place{b.topo.Wire, netip.AddrFrom4([4]byte{10, 1, 1, 1})}
	if err := b.wire.AddAddr(b.wire.addr.String() + "/24"); err != nil {
		return err
	}
	for i := range b.vmacs {
		ns, err := b.topo.NewNS()
		if err != nil {
			return err
		}
		d, err := b.topo.Add(lab.Vmac{
			Name: fmt.Sprintf("m%d", i), Mode: classify.Bridge, NS: ns,
			MAC: net.HardwareAddr{2, 0, 0, 0, 1, byte(i)},
		})
		if err != nil {
			return err
		}
		v := place{d, netip.AddrFrom4([4]byte{10, 1, 1, byte(10 + i)})}
		if err := errors.Join(v.Up(), v.AddAddr(v.addr.String()+"/24")); err != nil {
			return err
		}
		if err := operational(d); err != nil {
			return err
		}
		b.vmacs[i] = v
	}
	return nil
}

// operational waits until a device has carrier.
func operational(d *lab.Device) error {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		up, err := d.Operational()
		if up || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s has no carrier", d.Name)
		}
	}
}

// isVmac reports whether p is behind the driver rather than on the wire.
func (b *bed) isVmac(p place) bool { return p.Device != b.wire.Device }

// counters returns what the driver counts for p, if p is a vmac.
func (b *bed) counters(p place) (lab.Counters, error) {
	if !b.isVmac(p) {
		return lab.Counters{}, nil
	}
	return b.driver.Counters(p.Device)
}

// shape puts a token bucket on the parent's way out, as "tc qdisc replace dev
// PARENT root tbf rate R burst 128kb latency 50ms" does; 0 takes it away.
func (b *bed) shape(bitsPerSecond uint64) error {
	p := b.topo.Parent
	return p.NS.Do(func() error {
		attrs := netlink.QdiscAttrs{LinkIndex: p.Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
		if bitsPerSecond == 0 {
			return netlink.QdiscDel(&netlink.Tbf{QdiscAttrs: attrs})
		}
		const burst = 128 << 10
		rate := bitsPerSecond / 8
		err := netlink.QdiscReplace(&netlink.Tbf{
			QdiscAttrs: attrs, Rate: rate,
			Buffer: netlink.Xmittime(rate, burst), Limit: uint32(rate/20) + burst,
		})
		if err != nil {
			return fmt.Errorf("tbf on %s: %w", p.Name, err)
		}
		return nil
	})
}

// Close takes everything away.
func (b *bed) Close() error { return errors.Join(b.driver.Close(), b.topo.Close()) }
