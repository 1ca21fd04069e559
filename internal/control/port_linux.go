package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// port is a parent with vmacs: its wire, its switch, and who publishes
// decisions to it.
type port struct {
	e    *Engine
	id   rules.ParentID
	name string // when it was opened
	at   place
	ns   Namespace // the wire's socket holds it anyway
	conn *conn

	sw  *dataplane.Switch
	why string // which wire, and why
	// steal says what takes from the parent's own stack, and why no better.
	steal string
	// offload says that the wire passes virtio headers.
	offload     bool
	fragments   *dataplane.Fragments // of its namespace
	fragmentsOf fragmentsOf
	stop        context.CancelFunc
	done        chan struct{} // the switch has ended
	kick        chan struct{}
	waiter      chan struct{} // holds one when somebody waits for a decision

	// Under the engine's lock.
	want, have uint64 // changes asked for, and published
	unicast    filtering
	last       *netdev
	left       time.Time // when it was not found where it was
	trail      Namespace // where last says that it went
	account    account
	taken      classify.MAC // by the parent, for its passthru vmac
	types      *dataplane.Types
	typesErr   error
	vlans      []uint16 // that have devices of their own
}

// A decision is made anew at most every swapEvery, and with thousands of vmacs so
// that it takes no more than about a quarter of one core: a vmac's part of it is
// 1 to 2 µs. Changes between are taken together, so that n vmacs
// are added in O(n log n). The time that it took last is no measure: much of it may
// have been spent on waiting for others' rtnetlink.
const (
	swapEvery    = time.Millisecond
	pausePerVmac = 8 * time.Microsecond
)

// patientUpTo is how many vmacs a port may have for a request to be answered only
// when the switch knows of it. With more the switch follows a few milliseconds
// behind: else adding them one after the other would make a decision each.
const patientUpTo = 256

// openPort opens a parent. The port is not in the engine's maps yet.
func (e *Engine) openPort(id rules.ParentID, ns Namespace, dev *netdev) (_ *port, err error) {
	p := &port{
		e: e, id: id, name: dev.name, at: place{ns.inode, dev.index},
		done: make(chan struct{}), kick: make(chan struct{}, 1), waiter: make(chan struct{}, 1),
	}
	if p.ns, err = ns.clone(); err != nil {
		return nil, err
	}
	if p.conn, err = ns.dial(); err != nil {
		p.ns.Close()
		return nil, err
	}
	var wire dataplane.Wire
	var steal dataplane.Taker
	err = errors.Join(e.hub.watch(ns), ns.Do(func() (err error) {
		if wire, p.why, err = dataplane.Open(dev.name, e.wire); err == nil {
			steal, err = p.openSteal()
		}
		p.fragments, p.fragmentsOf = e.fragments.open(ns.inode)
		return err
	}))
	if err == nil {
		p.offload = wire.Offload()
		p.sw, err = dataplane.New(wire, dataplane.Options{Gone: e.touchGone, Steal: steal, Fragments: p.fragments, Waking: e.wire.Waking})
	}
	if err != nil {
		if wire != nil {
			wire.Close()
		}
		if steal != nil {
			steal.Close()
		}
		p.release()
		return nil, fmt.Errorf("open parent: %w", err)
	}
	p.keepVLANs(dev.name)
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	e.wg.Go(func() {
		if err := p.sw.Run(ctx); err != nil && ctx.Err() == nil {
			e.log.Info("parent lost", "parent", p.name, "err", err)
		}
		close(p.done)
		e.mu.Lock()
		e.published.Broadcast()
		e.mu.Unlock()
		e.touch(p.at, nil)
	})
	e.wg.Go(p.publish)
	return p, nil
}

// release closes what openPort holds beside the switch.
func (p *port) release() {
	if p.types != nil {
		p.types.Close()
	}
	if p.fragments != nil {
		p.e.fragments.close(p.fragmentsOf)
	}
	p.conn.close()
	p.ns.Close()
	p.trail.Close()
}

// changed asks for a new decision. The caller holds the lock.
func (p *port) changed() {
	p.want++
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// hasten shortens the pause before the next decision, for somebody who waits.
func (p *port) hasten() {
	select {
	case p.waiter <- struct{}{}:
	default:
	}
}

// publish gives the switch the decisions that the state implies.
func (p *port) publish() {
	for {
		select {
		case <-p.done:
			return
		case <-p.kick:
		}
		for p.swap() {
		}
		p.e.mu.Lock()
		pause := swapEvery
		if rp := p.e.state.Port(p.id); rp != nil {
			pause = max(pause, time.Duration(len(rp.Vmacs))*pausePerVmac)
		}
		p.e.mu.Unlock()
		sooner := time.After(pause / 2)
		select {
		case <-p.done:
			return
		case <-time.After(pause):
		case <-p.waiter:
			<-sooner
		}
	}
}

// swap publishes the present decision. It reports whether the parent's flags,
// once its addresses were programmed, have changed that decision.
func (p *port) swap() (again bool) {
	e := p.e
	e.mu.Lock()
	if e.ports[p.id] != p {
		e.mu.Unlock()
		return false
	}
	want := p.want
	spec := e.state.Spec(p.id)
	rp := e.state.Port(p.id)
	var vmacs []*dataplane.Vmac
	var lack []*device
	if rp != nil {
		for _, v := range rp.Vmacs {
			d := e.devices[v.ID]
			d.known = true
			vmacs = append(vmacs, d.vmac)
		}
		lack = p.setTypes(&spec, rp.Vmacs)
	}
	types := p.types
	before, _ := p.conn.byIndex(p.at.index)
	e.mu.Unlock()

	p.attachTypes(types, lack)

	if err := p.sw.Swap(&spec, vmacs); err != nil && !errors.Is(err, net.ErrClosed) {
		e.log.Warn("switch refused a change", "parent", p.name, "err", err)
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() {
		if !again { // else what was asked for is not there yet
			p.have = want
			e.published.Broadcast()
		}
	}()
	rp = e.state.Port(p.id)
	if rp == nil || e.ports[p.id] != p {
		return false
	}
	after, err := p.conn.byIndex(p.at.index)
	if err != nil {
		return false // gone, or about to be looked for
	}
	p.unicast.note(spec.Addresses(), before, after)
	// What became stale since is for the swap that is asked for: the addresses
	// that it brings count for the parent's flags.
	if !rp.FilterStale() || p.want != want {
		return false
	}
	was, counted := rp.FilterAll, rp.QueueCounts
	e.state, _, _ = rules.Apply(e.state, rules.FilterSeen{Parent: p.id, Promisc: after.promiscuity > 0, Allmulti: after.allmulti > 0 || spec.Addresses().Allmulti > 0})
	rp = e.state.Port(p.id)
	return rp.FilterAll != was || rp.QueueCounts != counted
}

// await waits until everything asked for so far is published. The caller holds
// the lock, which is released meanwhile.
func (e *Engine) await(p *port) {
	want := p.want
	p.hasten()
	for p.have < want && e.ports[p.id] == p {
		select {
		case <-p.done:
			return
		default:
		}
		e.published.Wait()
	}
}

// describe makes the rules' idea of a device that is, or may become, a parent.
func describe(id rules.ParentID, d *netdev, c *conn) rules.Parent {
	r := rules.Parent{
		ID: id, Name: d.name, MAC: d.mac, Broadcast: d.brd, MTU: d.mtu, MaxMTU: d.maxMTU,
		Up:       d.up(),
		Carrier:  d.flags&unix.IFF_LOWER_UP != 0,
		Dormant:  d.operState == operDormant,
		Loopback: d.flags&unix.IFF_LOOPBACK != 0, NotEthernet: d.hwtype != unix.ARPHRD_ETHER,
	}
	// All masters but a VRF take the frames of their ports with an rx handler.
	if d.slave != "" && d.slave != "vrf" {
		r.Busy = d.slave
		if m, err := c.byIndex(d.master); err == nil {
			r.Busy += " " + m.name
		}
	}
	return r
}

// operDormant is IF_OPER_DORMANT: as over 802.1X, before it has let anybody in.
const operDormant = 5

func (p *port) setMAC(m classify.MAC) error {
	b := m.Bytes()
	return p.conn.set(p.at.index, 0, 0, nl.NewRtAttr(unix.IFLA_ADDRESS, b[:]))
}
