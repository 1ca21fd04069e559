package lab

import (
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Device is one network device of a topology.
type Device struct {
	Name  string
	Index int
	MAC   net.HardwareAddr
	NS    *NS
}

// Find looks a device up in a namespace.
func Find(ns *NS, name string) (*Device, error) {
	d := &Device{Name: name, NS: ns}
	err := ns.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("device %s: %w", name, err)
		}
		d.Index, d.MAC = l.Attrs().Index, l.Attrs().HardwareAddr
		return nil
	})
	return d, err
}

// link runs fn on the device's current state, inside its namespace.
func (d *Device) link(what string, fn func(l netlink.Link) error) error {
	return d.NS.Do(func() error {
		l, err := netlink.LinkByIndex(d.Index)
		if err == nil {
			err = fn(l)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", what, d.Name, err)
		}
		return nil
	})
}

// Up is "ip link set up".
func (d *Device) Up() error { return d.link("bring up", netlink.LinkSetUp) }

// Down is "ip link set down".
func (d *Device) Down() error { return d.link("bring down", netlink.LinkSetDown) }

// Delete is "ip link del".
func (d *Device) Delete() error { return d.link("delete", netlink.LinkDel) }

// SetMTU is "ip link set mtu", in bytes without the Ethernet header.
func (d *Device) SetMTU(mtu int) error {
	return d.link("set mtu of", func(l netlink.Link) error { return netlink.LinkSetMTU(l, mtu) })
}

// SetMAC is "ip link set address".
func (d *Device) SetMAC(mac net.HardwareAddr) error {
	err := d.link("set address of", func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, mac) })
	if err == nil {
		d.MAC = mac
	}
	return err
}

// SetPromisc is "ip link set promisc on|off".
func (d *Device) SetPromisc(on bool) error {
	return d.link("set promisc of", func(l netlink.Link) error {
		if on {
			return netlink.SetPromiscOn(l)
		}
		return netlink.SetPromiscOff(l)
	})
}

// SetAllmulti is "ip link set allmulticast on|off".
func (d *Device) SetAllmulti(on bool) error {
	return d.link("set allmulticast of", func(l netlink.Link) error {
		if on {
			return netlink.LinkSetAllmulticastOn(l)
		}
		return netlink.LinkSetAllmulticastOff(l)
	})
}

// AddAddr is "ip addr add", for example "10.1.1.1/24".
func (d *Device) AddAddr(cidr string) error {
	return d.link("add "+cidr+" to", func(l netlink.Link) error {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(l, a)
	})
}

// Operational reports whether the device has carrier and is up.
func (d *Device) Operational() (up bool, err error) {
	err = d.link("look at", func(l netlink.Link) error {
		const ready = unix.IFF_UP | unix.IFF_RUNNING
		up = l.Attrs().RawFlags&ready == ready
		return nil
	})
	return up, err
}

// Neighbours returns what "ip neigh" knows: addresses and who has them.
func (d *Device) Neighbours() (map[string]net.HardwareAddr, error) {
	m := map[string]net.HardwareAddr{}
	err := d.NS.Do(func() error {
		list, err := netlink.NeighList(d.Index, netlink.FAMILY_V4)
		for _, n := range list {
			if n.State&(netlink.NUD_FAILED|netlink.NUD_INCOMPLETE|netlink.NUD_NOARP) == 0 {
				m[n.IP.String()] = n.HardwareAddr
			}
		}
		return err
	})
	return m, err
}

// Sysctl writes a network setting inside the namespace, such as
// Sysctl(ns, "ipv4/conf/all/arp_ignore", "1").
func Sysctl(ns *NS, key, value string) error {
	return ns.Do(func() error { return os.WriteFile("/proc/sys/net/"+key, []byte(value), 0) })
}

// Veth makes a pair of devices in two namespaces, both up.
func Veth(a, b *Device, mtu int) error {
	err := a.NS.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr, attrs.MTU = a.Name, a.MAC, mtu
		v := netlink.NewVeth(attrs)
		v.PeerName, v.PeerHardwareAddr, v.PeerMTU = b.Name, b.MAC, uint32(mtu)
		v.PeerNamespace = netlink.NsFd(b.NS.FD())
		return netlink.LinkAdd(v)
	})
	if err != nil {
		return fmt.Errorf("veth %s %s: %w", a.Name, b.Name, err)
	}
	for _, d := range []*Device{a, b} {
		got, err := Find(d.NS, d.Name)
		if err != nil {
			return err
		}
		d.Index = got.Index
		if err := d.Up(); err != nil {
			return err
		}
	}
	return nil
}

// HasMacvlan reports whether this kernel has the macvlan driver, by making one
// in a namespace of its own.
func HasMacvlan() bool {
	ns, err := NewNS()
	if err != nil {
		return false
	}
	defer ns.Close()
	a := &Device{Name: "a", NS: ns, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	b := &Device{Name: "b", NS: ns, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}}
	if Veth(a, b, 1500) != nil {
		return false
	}
	return addMacvlan(a, &Vmac{Name: "m", Mode: 4, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 3}, NS: ns}) == nil
}

// addMacvlan asks the kernel for a macvlan, in one request as "ip link add"
// does. The netlink library knows neither the flags nor the queue limit.
func addMacvlan(parent *Device, v *Vmac) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(parent.Index))))
	req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(v.NS.FD()))))
	if v.MAC != nil {
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, v.MAC))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("macvlan"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(unix.IFLA_MACVLAN_MODE, nl.Uint32Attr(uint32(v.Mode)))
	if v.Flags != 0 {
		data.AddRtAttr(unix.IFLA_MACVLAN_FLAGS, nl.Uint16Attr(uint16(v.Flags)))
	}
	if v.BCQueueLen != nil {
		data.AddRtAttr(unix.IFLA_MACVLAN_BC_QUEUE_LEN, nl.Uint32Attr(*v.BCQueueLen))
	}
	if v.BCLim != nil {
		data.AddRtAttr(unix.IFLA_MACVLAN_BC_CUTOFF, nl.Uint32Attr(uint32(*v.BCLim)))
	}
	if len(v.Sources) > 0 {
		data.AddRtAttr(unix.IFLA_MACVLAN_MACADDR_MODE, nl.Uint32Attr(nl.MACVLAN_MACADDR_SET))
		list := data.AddRtAttr(unix.IFLA_MACVLAN_MACADDR_DATA, nil)
		for _, m := range v.Sources {
			list.AddRtAttr(unix.IFLA_MACVLAN_MACADDR, m)
		}
	}
	req.AddData(info)
	return parent.NS.Do(func() error {
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		if err != nil {
			return fmt.Errorf("macvlan %s on %s: %w", v.Name, parent.Name, err)
		}
		return nil
	})
}
