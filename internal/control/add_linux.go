package control

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// add is RTM_NEWLINK for a device that doesn't exist. The state is only taken
// over when everything has worked.
func (q *request) add() *Refusal {
	e := q.e
	if q.Op == "replace" {
		if _, err := q.conn.byName(q.Name); err == nil && q.Name != "" {
			// rtnl_changelink: NLM_F_REPLACE of a device is not to be had.
			return refuse(unix.EOPNOTSUPP, q.Name+" exists, and a link can't be replaced; delete it first, or use \"link set\"")
		}
	}
	target := q.ns
	if q.ToNetns != nil {
		ns, err := OpenNamespace(*q.ToNetns)
		if err != nil {
			return refusalOf(err, err.Error())
		}
		defer ns.Close()
		target = ns
	}
	in := rules.NewLink{Name: q.Name, Netns: target.inode, Kind: q.Kind, Random: q.random, MTU: q.MTU}
	if in.Random == 0 {
		in.Random = randomMAC()
	}
	var r *Refusal
	if in.Address, r = optionalAddress(q.Address); r != nil {
		return r
	}
	if in.Data, r = ruleData(q.Data); r != nil {
		return r
	}
	there := q.conn
	if target.inode != q.ns.inode {
		c, err := target.dial()
		if err != nil {
			return refusalOf(err, "")
		}
		q.more, there = c, c
		e.conns[target.inode] = c
	}
	in.Taken = func(name string) bool {
		dev, err := there.byName(name)
		if err != nil {
			return false
		}
		if d := e.dying[place{target.inode, dev.index}]; d != nil {
			q.blocker = d.finished
		}
		return true
	}

	lower, r := q.lower(&in)
	if r != nil {
		return r
	}
	if d := q.owned(in); d != nil {
		q.made = d
		return nil
	}

	q.settle(in)
	state, answer, _ := rules.Apply(e.state, in)
	if !answer.OK() {
		r := refusal(answer)
		if in.Missing {
			r.Device = q.Parent
		}
		return r
	}
	if q.Up != nil && *q.Up {
		// rtnl_configure_link: a device that can't come up isn't made.
		var up rules.Answer
		if state, up, _ = rules.Apply(state, rules.SetUp{Vmac: answer.Vmac, Up: true}); !up.OK() {
			return refusal(up)
		}
	}
	d, r := q.create(state, answer.Vmac, lower, target)
	if r != nil {
		return r
	}
	q.made, q.fresh = d, true
	return nil
}

// lower resolves "link DEV" for the rules, and returns the device if it is not a
// vmac of ours.
func (q *request) lower(in *rules.NewLink) (*netdev, *Refusal) {
	e := q.e
	if q.Parent == "" {
		return nil, nil
	}
	dev, err := q.conn.byName(q.Parent)
	switch {
	case errors.Is(err, unix.ENODEV):
		in.Missing = true
		return nil, nil
	case err != nil:
		return nil, refusalOf(err, "")
	}
	at := place{q.ns.inode, dev.index}
	if d := e.vmacAt(at); d != nil {
		in.Upper = d.id
		e.lookParent(e.ports[d.parent])
		if _, still := e.devices[d.id]; still {
			return nil, nil
		}
		return nil, &Refusal{Errno: int(unix.ENODEV), Hint: "it was deleted meanwhile", Device: q.Parent}
	}
	if e.dyingAt(at) != nil {
		return nil, &Refusal{Errno: int(unix.ENODEV), Hint: "it is being deleted", Device: q.Parent}
	}
	id := e.parents[at]
	if p := e.ports[id]; p != nil {
		e.lookParent(p)
	} else {
		if e.arriving(dev) {
			q.blocker = make(chan struct{}) // nobody says when: it is asked again
			return nil, refuse(unix.EBUSY, q.Parent+" has just come here, and its vmacs are on their way")
		}
		id = e.parents[at]
	}
	if e.ports[id] == nil {
		e.lastParent++
		id = e.lastParent
	}
	parent := describe(id, dev, q.conn)
	in.Link = &parent
	return dev, nil
}

// arriving takes a device's port along if the device has one and has just been
// moved here, or reports that this can't be said yet: a second port of the same
// device would be a stranger to the first one's vmacs.
func (e *Engine) arriving(dev *netdev) (unclear bool) {
	for id, p := range e.ports {
		if rp := e.state.Port(id); rp == nil || rp.Parent.MAC != dev.mac {
			continue
		}
		e.lookParent(p)
		now := e.ports[id]
		unclear = unclear || now != nil && !now.left.IsZero()
	}
	return unclear
}

// settle looks at what the new vmac may be refused for: a name, an address, or
// that the port has vmacs at all.
func (q *request) settle(in rules.NewLink) {
	e := q.e
	passthru := q.Data != nil && q.Data.Mode != nil && *q.Data.Mode == uint32(classify.Passthru)
	for _, p := range e.state.Ports() {
		parent := in.Link != nil && in.Link.ID == p.Parent.ID
		named := func(v *rules.Vmac) bool { return v.Name == in.Name && v.Netns == in.Netns }
		e.settle(p.Parent.ID, func(v *rules.Vmac) bool {
			return named(v) || parent && (passthru || p.Passthru || v.Up && sameMAC(v.MAC, in.Address))
		})
		if i := slices.IndexFunc(p.Vmacs, named); i >= 0 {
			q.settleParent(p.Parent.ID, p.Vmacs[i].ID)
		}
	}
}

// settleParent asks whether the parent of a vmac that has the name asked for is
// gone: then the name will be free.
func (q *request) settleParent(id rules.ParentID, v rules.VmacID) {
	e := q.e
	if p := e.ports[id]; p != nil {
		e.lookParent(p)
		if d := e.devices[v]; d != nil && !p.left.IsZero() {
			q.blocker = d.finished
		}
	}
}

// owned finds what an earlier request of the same owner has made.
func (q *request) owned(in rules.NewLink) *device {
	var parent rules.ParentID
	if in.Link != nil {
		parent = in.Link.ID
	} else if upper := q.e.devices[in.Upper]; upper != nil {
		parent = upper.parent
	}
	for _, d := range q.e.devices {
		if d.sameOwner(q.Owner) && d.parent == parent && (q.Name == "" || q.Name == d.name) {
			return d
		}
	}
	return nil
}

// create makes what state says of a new vmac real, and then takes state over.
// After an error nothing is left.
func (q *request) create(state rules.State, id rules.VmacID, lower *netdev, target Namespace) (_ *device, r *Refusal) {
	e := q.e
	v, rp := state.Vmac(id)
	p, fresh := e.ports[rp.Parent.ID], false
	var err error
	if p == nil {
		if p, err = e.openPort(rp.Parent.ID, q.ns, lower); err != nil {
			return nil, refusalOf(err, err.Error())
		}
		fresh = true
	}
	undo := func() {
		if fresh {
			p.stop()
			<-p.done
			p.release()
		}
	}
	d := &device{id: id, name: v.Name, parent: p.id, owner: q.Owner, alias: aliasOf(v.Mode, rp.Parent.Name), managed: q.managed, finished: make(chan struct{})}
	alias := d.alias
	if q.Alias != nil {
		alias = *q.Alias
	}
	txqlen := 1000
	if q.TxQLen != nil {
		txqlen = int(*q.TxQLen)
	}
	if err = e.hub.watch(target); err == nil {
		d.tap, d.born, err = e.createTap(v, p.ns, target, alias, txqlen)
	}
	if err != nil {
		undo()
		return nil, refusalOf(err, err.Error())
	}
	d.child = hold(d.tap)
	d.vmac = dataplane.NewVmac(v.Name, d.child)

	before := e.state
	e.state = state
	e.ports[p.id] = p
	e.parents[p.at] = p.id
	e.devices[id] = d
	fail := func(err error) *Refusal {
		delete(e.devices, id)
		delete(e.vmacs, d.at)
		e.state = before
		if fresh {
			delete(e.ports, p.id)
			delete(e.parents, p.at)
		} else {
			p.changed()
		}
		undo()
		d.tap.Close()
		return refusalOf(err, err.Error())
	}
	if err := d.tap.SetCarrier(v.Carrier); err != nil {
		return nil, fail(err)
	}
	if q.TxQLen != nil && *q.TxQLen == 0 {
		if err := e.setLink(d, 0, 0, nl.NewRtAttr(unix.IFLA_TXQLEN, nl.Uint32Attr(0))); err != nil {
			return nil, fail(err)
		}
	}
	if err := q.setFlags(d); err != nil {
		return nil, fail(err)
	}
	seen, err := e.see(d)
	if err != nil {
		return nil, fail(fmt.Errorf("look at new device: %w", err))
	}
	e.apply(seen)
	p.changed()
	if fresh {
		e.sweep(p.ns)
	}
	if d.born == target.inode && d.born != p.ns.inode && e.firstIn(d) {
		e.sweep(target)
	}
	return d, nil
}

// aliasOf is how plain ip shows whose device it is.
func aliasOf(m classify.Mode, parent string) string {
	return fmt.Sprintf("umacvlan mode %s link %s", m, parent)
}
