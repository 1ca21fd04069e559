package lab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Names of a rig's own devices; no vmac can have them, as they mean something
// in the language.
const (
	rigParent = scenario.Port
	rigWire   = scenario.Wire
	rigBusy   = scenario.OnBusy // a bridge's port beside the parent
)

// Indices of a rig's devices. Link watch takes a device whose peer has another
// index for a stacked one, and is quick about it.
const (
	parentIndex = 2
	wireIndex   = 4711
)

// rig is a parent and its wire, with what drives vmacs on it, for one scenario
// after the other.
type rig struct {
	under  under
	parent scenario.Parent
	host   *space
	wire   *space
	spare  []*space // namespaces for vmacs, empty

	wireAt int // index
	busy   bool
	spoilt bool // can't be used again
}

func newRig(u under, p scenario.Parent) (_ *rig, err error) {
	r := &rig{under: u, parent: p}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("parent and wire: %w", err), r.close())
		}
	}()
	if r.host, err = newSpace(); err != nil {
		return nil, err
	}
	if r.wire, err = newSpace(); err != nil {
		return nil, err
	}
	return r, r.connect()
}

// connect makes the veth pair.
func (r *rig) connect() error {
	mtu := nl.Uint32Attr(uint32(r.parent.MTU))
	mac := r.parent.Address.Bytes()
	peer := scenario.WireMAC.Bytes()
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	other := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	other.AddChild(linkMsg(wireIndex, 0, 0))
	other.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(rigWire))
	other.AddRtAttr(unix.IFLA_ADDRESS, peer[:])
	other.AddRtAttr(unix.IFLA_MTU, mtu)
	other.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(r.wire.ns.FD())))
	_, err := r.host.rt.execute(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, 0,
		linkMsg(parentIndex, 0, 0), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(rigParent)),
		nl.NewRtAttr(unix.IFLA_ADDRESS, mac[:]), nl.NewRtAttr(unix.IFLA_MTU, mtu), info)
	if err != nil {
		return fmt.Errorf("make veth: %w", err)
	}
	r.wireAt = wireIndex
	if !r.parent.Offloads {
		for _, d := range []*Device{{Name: rigParent, NS: r.host.ns}, {Name: rigWire, NS: r.wire.ns}} {
			if err := d.SetOffloads(false); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(r.wire.rt.set(wireIndex, unix.IFF_UP, unix.IFF_UP), r.host.rt.set(parentIndex, unix.IFF_UP, unix.IFF_UP)); err != nil {
		return fmt.Errorf("bring veth up: %w", err)
	}
	return poll(patience, func() (bool, error) {
		parent, err := r.host.rt.find(rigParent)
		if err != nil {
			return false, err
		}
		wire, err := r.wire.rt.find(rigWire)
		return err == nil && parent.running() && wire.running(), err
	})
}

// makeBusy makes a device that is a bridge's port.
func (r *rig) makeBusy() error {
	if r.busy {
		return nil
	}
	create := func(name, kind string) (int, error) {
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
		_, err := r.host.rt.execute(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, 0,
			linkMsg(0, 0, 0), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)), info)
		if err != nil {
			return 0, fmt.Errorf("make %s %s: %w", kind, name, err)
		}
		l, err := r.host.rt.find(name)
		if err != nil {
			return 0, err
		}
		return l.index, nil
	}
	port, err := create(rigBusy, "veth")
	if err != nil {
		return err
	}
	bridge, err := create("in", "bridge")
	if err != nil {
		return err
	}
	if err := r.host.rt.set(port, 0, 0, nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge)))); err != nil {
		return fmt.Errorf("make %s a bridge's port: %w", rigBusy, err)
	}
	r.busy = true
	return nil
}

// space returns an empty namespace.
func (r *rig) space() (*space, error) {
	if n := len(r.spare); n > 0 {
		s := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return s, nil
	}
	return newSpace()
}

// clean takes all vmacs off the rig, and reports whether it is as good as new.
// A driver that left something on the parent has spoilt it.
func (r *rig) clean(places map[string]*space) error {
	spaces := []*space{r.host}
	for _, s := range places {
		spaces = append(spaces, s)
	}
	for _, s := range spaces {
		vmacs, err := r.under.vmacs(s)
		if err != nil {
			return err
		}
		if err := r.remove(s, vmacs); err != nil {
			return err
		}
	}
	for _, s := range places {
		s.reset()
		r.spare = append(r.spare, s)
	}
	return r.asNew()
}

// remove deletes vmacs together: one costs as much as all.
func (r *rig) remove(s *space, vmacs map[string]*link) error {
	if len(vmacs) == 0 {
		return nil
	}
	if r.under.way() == scenario.Kernel {
		group := nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(7))
		for _, l := range vmacs {
			if err := s.rt.set(l.index, 0, 0, group); err != nil {
				return err
			}
		}
		_, err := s.rt.execute(unix.RTM_DELLINK, unix.NLM_F_ACK, 0, linkMsg(0, 0, 0), group)
		return err
	}
	done := make(chan error, len(vmacs))
	for name := range vmacs {
		go func() {
			if a := r.under.do(s, request{op: "delete", name: name}); !a.OK() && a.Errno != "ENODEV" {
				done <- fmt.Errorf("delete %s: %s", name, a.Errno)
				return
			}
			done <- nil
		}()
	}
	var errs []error
	for range vmacs {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// asNew spoils a rig whose parent isn't as it was made.
func (r *rig) asNew() error {
	l, err := r.host.rt.find(rigParent)
	if err != nil {
		return err
	}
	unicast, groups, err := r.host.rt.secondary(l.index)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g != scenario.AllHosts && g != allNodes {
			r.spoilt = true
		}
	}
	if !l.up() || !l.carrier() || l.promiscuity != 0 || l.allmulti != 0 || len(unicast) != 0 ||
		l.mac != r.parent.Address || l.mtu != r.parent.MTU {
		r.spoilt = true
	}
	return nil
}

// close deletes everything.
func (r *rig) close() error {
	var errs []error
	if r.under != nil {
		errs = append(errs, r.under.close())
	}
	for _, s := range append(r.spare, r.host, r.wire) {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// stackTypesOf are the ethertypes by which protocol handlers may get a frame:
// tags come off from the outside, and a length in place of a type is a protocol
// of its own (eth_type_trans).
func stackTypesOf(frame []byte) (types []uint16) {
	for at := 12; at+2 <= len(frame); at += 4 {
		t := binary.BigEndian.Uint16(frame[at:])
		switch {
		case t >= 0x0600:
			types = append(types, t)
		case at+4 <= len(frame) && frame[at+2] == 0xff && frame[at+3] == 0xff:
			types = append(types, unix.ETH_P_802_3)
		default:
			types = append(types, unix.ETH_P_802_2)
		}
		if t != 0x8100 && t != 0x88a8 {
			break
		}
	}
	return types
}
