package lab

import (
	"fmt"
	"os/exec"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// setParent changes one attribute of the parent, a device of the kernel's in
// both ways, and waits until the vmacs have followed.
func (t *take) setParent(attr scenario.Attr, value string) (a scenario.Answer, err error) {
	if t.parentAt == 0 {
		return scenario.Answer{Errno: "ENODEV"}, nil
	}
	on := value == "on" || attr == scenario.AttrUp
	flag := func(bit uint32) error {
		if on {
			return t.parentIn.rt.set(t.parentAt, bit, bit)
		}
		return t.parentIn.rt.set(t.parentAt, 0, bit)
	}
	switch attr {
	case scenario.AttrUp, scenario.AttrDown:
		err = flag(unix.IFF_UP)
	case scenario.AttrPromisc:
		err = flag(unix.IFF_PROMISC)
	case scenario.AttrAllmulti:
		err = flag(unix.IFF_ALLMULTI)
	case scenario.AttrAddress:
		b, e := t.s.Octets(scenario.Addr(value))
		if e != nil {
			return a, e
		}
		err = t.parentIn.rt.set(t.parentAt, 0, 0, nl.NewRtAttr(unix.IFLA_ADDRESS, b))
	case scenario.AttrMTU:
		n, e := number(value)
		if e != nil {
			return a, e
		}
		err = t.parentIn.rt.set(t.parentAt, 0, 0, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(*n)))
	case scenario.AttrCarrier:
		up := uint32(0)
		if on {
			up = unix.IFF_UP
		}
		err = t.rig.wire.rt.set(t.rig.wireAt, up, unix.IFF_UP)
	case scenario.AttrNetns:
		return t.moveParent(value)
	case scenario.AttrIngress, scenario.AttrEgress:
		t.rig.spoilt = true
		return a, t.filterParent(attr, value)
	default:
		return a, fmt.Errorf("the parent has no %s", attr)
	}
	if err != nil {
		return answerOf(err), nil
	}
	return a, t.follow()
}

// follow waits until link watch has told the vmacs of their parent's state.
func (t *take) follow() error {
	if err := t.syncAll(); err != nil {
		return err
	}
	return poll(patience, func() (bool, error) {
		if err := t.look(); err != nil {
			return false, err
		}
		parent := t.links[scenario.Port]
		if parent == nil {
			return true, nil
		}
		wire, err := t.rig.wire.rt.find(rigWire)
		if err != nil || wire.up() && wire.running() != wire.carrier() {
			return false, err
		}
		carrier := parent.up() && parent.carrier()
		if parent.running() != carrier {
			return false, nil
		}
		for name, l := range t.links {
			if name != scenario.Port && l.up() && l.running() != carrier {
				return false, nil
			}
		}
		return true, nil
	})
}

// moveParent takes the parent to another namespace; it is down afterwards.
func (t *take) moveParent(name string) (a scenario.Answer, err error) {
	to, err := t.space(name)
	if err != nil {
		return a, err
	}
	t.rig.spoilt = true
	if to != t.rig.host {
		// The emulator looks for where its parent went among the namespaces
		// that have a name or a process.
		end, err := hold(to.ns)
		if err != nil {
			return a, err
		}
		t.holders = append(t.holders, end)
	}
	if err := t.parentIn.rt.set(t.parentAt, 0, 0, nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.ns.FD())))); err != nil {
		return answerOf(err), nil
	}
	t.parentIn = to
	if e, ok := t.under.(emulatorUnder); ok {
		if err := e.follow(t.where, to); err != nil {
			return a, err
		}
	}
	if err := t.lookParent(); err != nil {
		return a, err
	}
	return a, t.follow()
}

// follow waits until the engine has found a parent that has moved.
func (e emulatorUnder) follow(where map[string]*space, to *space) error {
	return poll(patience, func() (bool, error) {
		for name, at := range where {
			links, err := e.Engine.Links(at.ctl, name)
			if err != nil || len(links) == 0 || links[0].Umacvlan.ParentIn != to.ctl.String() {
				return false, err
			}
		}
		return true, nil
	})
}

// hold puts a process into a namespace, which ends with this one or by the
// function returned.
func hold(ns *NS) (end func(), err error) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := ns.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("put a process into a namespace: %w", err)
	}
	return func() {
		in.Close()
		_ = cmd.Wait()
	}, nil
}

// deleteParent deletes the parent, and its vmacs with it.
func (t *take) deleteParent() (a scenario.Answer, _ []scenario.Shown, err error) {
	if t.parentAt == 0 {
		return scenario.Answer{Errno: "ENODEV"}, nil, nil
	}
	t.rig.spoilt = true
	if err := t.parentIn.rt.delete(t.parentAt); err != nil {
		return answerOf(err), nil, nil
	}
	return a, nil, poll(patience, func() (bool, error) {
		err := t.look()
		return len(t.where) == 0, err
	})
}

// deleteSpace deletes a namespace with all that is in it. The kernel does so
// some time after the last reference is gone; a device in it, whose other end
// is here, goes with the rest.
func (t *take) deleteSpace(name string) error {
	s := t.places[name]
	if s == nil {
		return nil
	}
	const canary = "canary"
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	other := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	other.AddChild(linkMsg(0, 0, 0))
	other.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(canary))
	other.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(s.ns.FD())))
	here := t.rig.wire.rt
	if _, err := here.execute(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, 0,
		linkMsg(0, 0, 0), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(canary)), info); err != nil {
		return fmt.Errorf("make a veth into %s: %w", name, err)
	}
	delete(t.places, name)
	t.spaces = remove(t.spaces, s)
	for vmac, at := range t.where {
		if at == s {
			delete(t.where, vmac)
		}
	}
	if t.parentIn == s {
		t.parentAt = 0
		t.rig.spoilt = true
	}
	if err := s.close(); err != nil {
		return err
	}
	err := poll(patience, func() (bool, error) {
		_, err := here.find(canary)
		return err != nil, nil
	})
	if err != nil {
		return fmt.Errorf("namespace %s does not go: %w", name, err)
	}
	if e, ok := t.under.(emulatorUnder); ok {
		return t.forgotten(e)
	}
	return nil
}

// forgotten waits until the engine knows that vmacs are gone, and the parent no
// longer has their addresses.
func (t *take) forgotten(e emulatorUnder) error {
	err := poll(patience, func() (bool, error) {
		s := e.Engine.Status()
		return s.Vmacs == len(t.where) && s.Ending == 0, nil
	})
	if err != nil || t.parentAt == 0 {
		return err
	}
	if len(t.where) > 0 {
		return t.syncAll()
	}
	err = poll(time.Second, func() (bool, error) {
		unicast, _, err := t.parentIn.rt.secondary(t.parentAt)
		return len(unicast) == 0, err
	})
	if err == ErrTimeout {
		err = nil // a scenario that looks finds out
	}
	return err
}

// syncAll makes sure that the data threads know of every vmac as it is.
func (t *take) syncAll() error {
	for name, at := range t.where {
		if err := t.under.sync(at, name); err != nil {
			return err
		}
	}
	return nil
}

func remove(list []*space, s *space) (rest []*space) {
	for _, o := range list {
		if o != s {
			rest = append(rest, o)
		}
	}
	return rest
}
