package control

import (
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// set is rtnl_changelink and do_setlink: attribute by attribute in the kernel's
// order. What has been done before one is refused stays.
func (q *request) set() *Refusal {
	e := q.e
	d, r := q.find()
	if r != nil {
		return r
	}
	addr, r := optionalAddress(q.Address)
	if r != nil {
		return r
	}
	if q.Kind != "" || q.Data != nil {
		data, r := ruleData(q.Data)
		if r != nil {
			return r
		}
		kind := q.Kind
		if kind == "" {
			kind = rules.Kind
		}
		answer := e.apply(rules.ChangeLink{Vmac: d.id, Kind: kind, Address: addr, Data: data})
		e.setAlias(d)
		if !answer.OK() {
			// What came before the attribute that is refused counts from now on.
			if p := e.ports[d.parent]; p != nil {
				e.await(p)
			}
			return refusal(answer)
		}
	}
	newName := q.NewName
	if q.ToNetns != nil {
		if r := q.move(d, newName); r != nil {
			return r
		}
		newName = nil
	}
	if addr != nil {
		e.settle(d.parent, func(v *rules.Vmac) bool { return v.ID != d.id && v.Up && sameMAC(v.MAC, addr) })
		before := e.state
		if answer := e.apply(rules.SetAddress{Vmac: d.id, Address: addr}); !answer.OK() {
			e.restore(before, d)
			return refusal(answer)
		}
	}
	if q.MTU != nil {
		before := e.state
		if answer := e.apply(rules.SetMTU{Vmac: d.id, MTU: *q.MTU}); !answer.OK() {
			e.restore(before, d)
			return refusal(answer)
		}
	}
	if newName != nil {
		if err := e.setLink(d, 0, 0, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(*newName))); err != nil {
			return refusalOf(err, "")
		}
	}
	if q.Alias != nil {
		if err := d.tap.SetAlias(*q.Alias); err != nil {
			return refusalOf(err, "")
		}
	}
	if q.Up != nil {
		if v, _ := e.state.Vmac(d.id); v != nil {
			e.settle(d.parent, func(o *rules.Vmac) bool { return o.ID != d.id && o.Up && o.MAC == v.MAC })
		}
		if answer := e.apply(rules.SetUp{Vmac: d.id, Up: *q.Up}); !answer.OK() {
			return refusal(answer)
		}
	}
	if err := q.setFlags(d); err != nil {
		e.lookVmac(d)
		return refusalOf(err, "")
	}
	if q.TxQLen != nil {
		if err := e.setLink(d, 0, 0, nl.NewRtAttr(unix.IFLA_TXQLEN, nl.Uint32Attr(*q.TxQLen))); err != nil {
			return refusalOf(err, "")
		}
	}
	e.lookVmac(d)
	q.made = d
	return nil
}

// sameMAC compares an address with an attribute of any length.
func sameMAC(m classify.MAC, b []byte) bool {
	return len(b) >= 6 && m == classify.MACFrom(b)
}

// restore takes back a change to the state that the device has refused.
func (e *Engine) restore(before rules.State, d *device) {
	if e.devices[d.id] == d && before.Port(d.parent) != nil {
		e.state = before
		e.ports[d.parent].changed()
	}
}

// move is dev_change_net_namespace, with a new name or the old one.
func (q *request) move(d *device, name *string) *Refusal {
	ns, err := OpenNamespace(*q.ToNetns)
	if err != nil {
		return refusalOf(err, err.Error())
	}
	defer ns.Close()
	attrs := []*nl.RtAttr{nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns.FD())))}
	if name != nil {
		attrs = append(attrs, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(*name)))
	}
	if err := q.e.setLink(d, 0, 0, attrs...); err != nil {
		return refusalOf(err, "")
	}
	d.tap.Moved(ns.FD())
	q.e.lookVmac(d)
	if q.e.devices[d.id] != d {
		return deletedMeanwhile()
	}
	return nil
}

// setFlags sets what of the request are flags of the device, all at once.
func (q *request) setFlags(d *device) error {
	var flags, change uint32
	for _, f := range []struct {
		on  *bool
		bit uint32
	}{{q.Up, unix.IFF_UP}, {q.Promisc, unix.IFF_PROMISC}, {q.Allmulti, unix.IFF_ALLMULTI}} {
		if f.on == nil {
			continue
		}
		change |= f.bit
		if *f.on {
			flags |= f.bit
		}
	}
	if change == 0 {
		return nil
	}
	return q.e.setLink(d, flags, change)
}

// setAlias renews the alias that names mode and parent, unless somebody has
// given the device another.
func (e *Engine) setAlias(d *device) {
	v, rp := e.state.Vmac(d.id)
	if v == nil {
		return
	}
	alias := aliasOf(v.Mode, rp.Parent.Name)
	if alias == d.alias {
		return
	}
	err := d.visit(func(_ Namespace, c *conn, dev *netdev) error {
		if dev.alias != d.alias {
			return nil
		}
		return c.set(dev.index, 0, 0, nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias)))
	})
	if err == nil {
		d.alias = alias
	} else if !gone(err) && !errors.Is(err, errMissed) {
		e.log.Warn("set alias", "vmac", d.name, "err", err)
	}
}
