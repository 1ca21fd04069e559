package control

import (
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// What an Engine may be told to use, the default first.
var (
	StealRungs   = dataplane.StealRungs
	WireBackends = []string{dataplane.BackendAuto, dataplane.BackendRing, dataplane.BackendMmsg}
	Wakings      = []string{dataplane.WakingYield, dataplane.WakingSleep}
)

// openSteal opens what takes from the parent's own stack. It is called in the
// parent's namespace.
func (p *port) openSteal() (t dataplane.Taker, err error) {
	t, p.steal, err = dataplane.OpenSteal(p.name, p.e.steal)
	if err == nil && t == nil && p.e.steal != dataplane.StealNone {
		p.e.log.Info("the host's stack keeps its copy of what vmacs get", "parent", p.name, "steal", p.steal)
	}
	return t, err
}

// typed is what is known of the program on a vmac's device that corrects packet
// types.
type typed struct {
	done  bool
	again bool  // it is lost when the device moves
	at    place // where the device was
	err   error
}

// retyped says that a vmac's packet types aren't those of a TAP.
func retyped(m classify.Mode) bool { return m == classify.Source || m == classify.Passthru }

// setTypes says what the vmacs' packet types are, and which of them lack the
// program yet. The caller holds the lock.
func (p *port) setTypes(spec *classify.Spec, vmacs []*rules.Vmac) (lack []*device) {
	for _, v := range vmacs {
		if !retyped(v.Mode) {
			continue
		}
		if p.types == nil && p.typesErr == nil {
			if p.types, p.typesErr = dataplane.OpenTypes(); p.typesErr != nil {
				p.e.log.Info("packet types of passthru and source copies are a TAP's own", "parent", p.name, "why", p.typesErr)
			}
		}
		if p.types == nil {
			return nil
		}
		if err := p.types.Set(spec); err != nil {
			p.e.log.Warn("packet types", "parent", p.name, "err", err)
		}
		d := p.e.devices[v.ID]
		if !d.types.done || d.types.again && d.types.at != d.at {
			d.types = typed{done: true, at: d.at}
			lack = append(lack, d)
		}
	}
	return lack
}

// attachTypes gives vmacs the program. To attach one takes 5 to 15 ms, for which
// the caller doesn't hold the lock.
func (p *port) attachTypes(types *dataplane.Types, lack []*device) {
	for _, d := range lack {
		again := false
		err := d.visit(func(ns Namespace, _ *conn, dev *netdev) error {
			return ns.Do(func() (err error) {
				again, err = types.Attach(dev.index)
				return err
			})
		})
		p.e.mu.Lock()
		d.types.again, d.types.err = again, err
		if err != nil && !gone(err) && !errors.Is(err, errMissed) && !errors.Is(err, net.ErrClosed) {
			p.e.log.Warn("packet types", "vmac", d.name, "err", err)
		}
		p.e.mu.Unlock()
	}
}

// typesOf says who gives a vmac its packet types: "" where it needs nobody.
func (p *port) typesOf(d *device, m classify.Mode) string {
	switch {
	case !retyped(m):
		return ""
	case p.typesErr != nil:
		return "the TAP's own (" + p.typesErr.Error() + ")"
	case d.types.err != nil:
		return "the TAP's own (" + d.types.err.Error() + ")"
	case !d.types.done:
		return "the TAP's own"
	case d.types.again:
		return dataplane.StealCls
	}
	return dataplane.StealTCX
}

// vlanFile lists a namespace's VLAN devices, where the kernel knows of VLANs.
const vlanFile = "/proc/thread-self/net/vlan/config"

// keepVLANs finds out which VLANs have a device of their own on the parent, whose
// frames are not to be taken. The kernel announces a device anew when it gets or
// loses one (NETDEV_CHANGEUPPER). name is what it is called now. The caller holds
// the lock, or is alone.
func (p *port) keepVLANs(name string) {
	if _, err := os.Stat(vlanFile); err != nil {
		return
	}
	var text []byte
	err := p.ns.Do(func() (err error) { text, err = os.ReadFile(vlanFile); return err })
	if err == nil {
		ids := vlansOn(name, string(text))
		if slices.Equal(ids, p.vlans) {
			return
		}
		if err = p.sw.Keep(ids); err == nil {
			p.vlans = ids
		}
	}
	if err != nil {
		p.e.log.Warn("look for VLAN devices", "parent", p.name, "err", err)
	}
}

// vlansOn reads lines such as "eth0.10 | 10  | eth0", below a heading of two.
func vlansOn(parent, text string) (ids []uint16) {
	for line := range strings.Lines(text) {
		f := strings.Split(line, "|")
		if len(f) != 3 || strings.TrimSpace(f[2]) != parent {
			continue
		}
		if id, err := strconv.ParseUint(strings.TrimSpace(f[1]), 10, 12); err == nil {
			ids = append(ids, uint16(id))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
