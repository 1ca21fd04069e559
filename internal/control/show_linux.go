package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// Links lists the vmacs that live in ns, or of those the named ones, in order
// of ifindex. A name that no vmac has is left out.
func (e *Engine) Links(ns Namespace, names ...string) ([]Link, error) {
	if err := e.lock(context.Background()); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	var devices []*device
	for _, d := range e.devices {
		if d.at.netns == ns.inode && (len(names) == 0 || slices.Contains(names, d.name)) {
			devices = append(devices, d)
		}
	}
	links := []Link{}
	if len(devices) == 0 {
		return links, nil
	}
	c, err := ns.dial()
	if err != nil {
		return nil, err
	}
	defer c.close()
	w := e.newView(ns, c)
	for _, d := range devices {
		dev, err := c.byIndex(d.at.index)
		switch {
		case gone(err):
			continue // somebody has just deleted it
		case err != nil:
			return nil, err
		}
		links = append(links, w.link(d, dev))
	}
	w.warn(links)
	slices.SortFunc(links, func(a, b Link) int { return cmp.Compare(a.IfIndex, b.IfIndex) })
	return links, nil
}

// show describes one vmac, wherever it is. The caller holds the lock.
func (e *Engine) show(d *device) (l Link, err error) {
	err = e.visit(d, func(ns Namespace, c *conn, dev *netdev) error {
		w := e.newView(ns, c)
		links := []Link{w.link(d, dev)}
		w.warn(links)
		l = links[0]
		return nil
	})
	return l, err
}

// view is a namespace in which vmacs are looked at.
type view struct {
	e       *Engine
	ns      Namespace
	c       *conn
	name    string
	parents map[rules.ParentID]*parentView
}

// parentView is a parent seen from there.
type parentView struct {
	netns string // for people
	name  string // under /run/netns, or empty
	id    *int
}

func (e *Engine) newView(ns Namespace, c *conn) *view {
	return &view{e, ns, c, ns.String(), map[rules.ParentID]*parentView{}}
}

func (w *view) parent(p *port) *parentView {
	v := w.parents[p.id]
	if v == nil {
		v = &parentView{netns: p.ns.String(), name: p.ns.name()}
		// The kernel gives a macvlan's parent a number where the macvlan is
		// (peernet2id_alloc).
		id, err := w.c.nsid(p.ns)
		if err == nil && id < 0 && p.at.netns != w.ns.inode && w.c.newNsid(p.ns) == nil {
			id, err = w.c.nsid(p.ns)
		}
		if err == nil && id >= 0 {
			n := int(id)
			v.id = &n
		}
		w.parents[p.id] = v
	}
	return v
}

// link is rtnl_fill_ifinfo and macvlan_fill_info: of the TAP what is the same
// for a macvlan, else what the kernel would show.
func (w *view) link(d *device, dev *netdev) Link {
	v, rp := w.e.state.Vmac(d.id)
	p := w.e.ports[d.parent]
	from := w.parent(p)
	l := Link{
		IfIndex: dev.index, IfName: dev.name, MTU: dev.mtu, Qdisc: dev.qdisc,
		LinkMode: "DEFAULT", Group: "default", TxQLen: dev.txQLen, LinkType: "ether",
		Address: dev.mac.String(), Broadcast: dev.brd.String(),
		Promiscuity: dev.promiscuity, Allmulti: dev.allmulti,
		MinMTU: rules.MinMTU, MaxMTU: v.MaxMTU,
		AddrGenMode: addrGenMode(dev.addrGenMode),
		NumTxQueues: dev.txQueues, NumRxQueues: dev.rxQueues, GSOMaxSize: dev.gsoMaxSize, GSOMaxSegs: dev.gsoMaxSegs,
		Alias: dev.alias,
	}
	if dev.linkMode == 1 {
		l.LinkMode = "DORMANT"
	}
	if dev.group != 0 {
		l.Group = fmt.Sprint(dev.group)
	}
	l.Flags, l.OperState = flagsAndState(dev, v, rp)

	if p.at.netns == w.ns.inode {
		l.Parent = rp.Parent.Name
	} else {
		l.LinkIndex, l.LinkNetnsID, l.LinkNetns = p.at.index, from.id, from.name
	}

	i := InfoData{
		Mode: v.Mode.String(), NoPromisc: v.Flags&classify.NoPromisc != 0, NoDst: v.Flags&classify.NoDst != 0,
		BCQueueLen: v.BCQueueLen, UsedBCQueueLen: rp.UsedBCQueueLen(),
	}
	if rp.BCLim != classify.DefaultBCLim {
		lim := rp.BCLim
		i.BCLim = &lim
	}
	if v.Mode == classify.Source {
		n := 0
		for _, m := range rp.SourceList(v.ID) {
			i.MacaddrData = append(i.MacaddrData, m.String())
			n++
		}
		i.MacaddrCount = &n
	}
	l.LinkInfo = LinkInfo{Kind: rules.Kind, Data: i}

	s := d.stats()
	l.Stats64 = Stats64{
		Rx: RxStats{Bytes: s.RxBytes, Packets: s.RxPackets, Errors: s.RxErrors, Dropped: s.RxDropped, Multicast: s.Multicast},
		// What the TAP itself could not queue has never reached the switch.
		Tx: TxStats{Bytes: s.TxBytes, Packets: s.TxPackets, Dropped: s.TxDropped + dev.txDropped},
	}
	l.Umacvlan = Extra{
		Child: "tap", Netns: w.name, ParentIn: from.netns, Wire: p.why, Waking: cmp.Or(p.e.wire.Waking, dataplane.WakingYield),
		Offloads: d.tap.Offloads(), WireGSO: p.offload, Filtering: p.filtering(),
		Steal: p.steal, Types: p.typesOf(d, v.Mode),
		Reasons: byKey(s.Copies), Owner: d.owner, Managed: d.managed,
	}
	// The kernel refuses this with EBUSY while there are vmacs; we can't.
	if busy := rp.Parent.Busy; busy != "" {
		l.Umacvlan.Warnings = append(l.Umacvlan.Warnings, fmt.Sprintf(
			"%s is a port of %s, which forwards the vmacs' frames too: ip link set %s nomaster", rp.Parent.Name, busy, rp.Parent.Name))
	}
	return l
}

// flagsAndState is what dev_get_flags and the operstate of a macvlan would be:
// it takes both from its parent (netif_stacked_transfer_operstate).
func flagsAndState(dev *netdev, v *rules.Vmac, rp *rules.Port) ([]string, string) {
	flags := []string{}
	add := func(on bool, name string) {
		if on {
			flags = append(flags, name)
		}
	}
	up, carrier, dormant := dev.up(), v.Carrier, rp.Parent.Dormant
	add(up && (!carrier || dormant), "NO-CARRIER") // IFF_RUNNING is not set
	add(dev.flags&unix.IFF_BROADCAST != 0, "BROADCAST")
	add(dev.flags&unix.IFF_MULTICAST != 0, "MULTICAST")
	add(dev.flags&unix.IFF_NOARP != 0, "NOARP")
	add(dev.flags&unix.IFF_ALLMULTI != 0, "ALLMULTI")
	add(dev.flags&unix.IFF_PROMISC != 0, "PROMISC")
	add(up, "UP")
	add(up && carrier, "LOWER_UP")
	add(up && dormant, "DORMANT")
	add(!rp.Parent.Up, "M-DOWN")
	switch {
	case !up:
		return flags, "DOWN"
	case !carrier:
		return flags, "LOWERLAYERDOWN"
	case dormant:
		return flags, "DORMANT"
	}
	return flags, "UP"
}

func addrGenMode(m uint8) string {
	switch m {
	case 0:
		return "eui64"
	case 1:
		return "none"
	case 2:
		return "stable_secret"
	case 3:
		return "random"
	}
	return fmt.Sprint(m)
}
