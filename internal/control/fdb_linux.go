package control

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// Fdb executes a request as the kernel would for a caller in ns. The answer
// comes when the parent has, or no longer has, the address.
func (e *Engine) Fdb(ctx context.Context, r FdbRequest, ns Namespace) *Refusal {
	if strings.Contains(r.Dev, "\x00") {
		return refuse(unix.EINVAL, fmt.Sprintf("%q has a zero byte", r.Dev))
	}
	mac, refused := address(r.MAC)
	if refused != nil {
		return refused
	}
	if err := e.lock(ctx); err != nil {
		return &Refusal{Errno: int(unix.ESHUTDOWN), Hint: err.Error()}
	}
	defer e.mu.Unlock()
	c, err := ns.dial()
	if err != nil {
		return refusalOf(err, "")
	}
	defer c.close()
	q := &request{LinkRequest: LinkRequest{Name: r.Dev}, e: e, ns: ns, conn: c}
	d, refused := q.find()
	if refused != nil {
		return refused
	}
	var in rules.Input
	switch r.Op {
	case "add", "append", "replace":
		in = rules.FdbAdd{Vmac: d.id, Address: mac, Vlan: r.Vlan, Master: r.Master, Replace: r.Op == "replace"}
	case "delete":
		in = rules.FdbDel{Vmac: d.id, Address: mac, Vlan: r.Vlan, Master: r.Master}
	default:
		return refuse(unix.EINVAL, fmt.Sprintf("no operation %q: add, append, replace or delete", r.Op))
	}
	if a := e.apply(in); !a.OK() {
		e.lookVmac(d) // if it was the device that refused, it is as it was
		return refusal(a)
	}
	e.lookVmac(d)
	if p := e.ports[d.parent]; p != nil {
		e.await(p)
	}
	return nil
}

// FdbEntries lists the further addresses of the vmacs that live in ns, or of
// those the named ones: of each the unicast addresses and then the groups, in
// order of addition (ndo_dflt_fdb_dump).
func (e *Engine) FdbEntries(ns Namespace, names ...string) ([]FdbEntry, error) {
	links, err := e.Links(ns, names...)
	if err != nil {
		return nil, err
	}
	if err := e.lock(context.Background()); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	c, err := ns.dial()
	if err != nil {
		return nil, err
	}
	defer c.close()
	list := []FdbEntry{}
	for _, l := range links {
		d := e.vmacAt(place{ns.inode, l.IfIndex})
		if d == nil {
			continue // deleted meanwhile
		}
		v, _ := e.state.Vmac(d.id)
		groups, err := c.groupsInOrder(l.IfIndex)
		if err != nil {
			return nil, err
		}
		for _, m := range append(v.Unicast[:len(v.Unicast):len(v.Unicast)], groups...) {
			list = append(list, FdbEntry{MAC: m.String(), Dev: l.IfName, Flags: []string{"self"}, State: "permanent"})
		}
	}
	return list, nil
}

// groupsInOrder lists one device's multicast addresses as the kernel has them.
func (c *conn) groupsInOrder(index int) (list []classify.MAC, err error) {
	m := nl.NewIfInfomsg(unix.AF_BRIDGE)
	m.Index = int32(index)
	err = c.dump(c.request(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, m), unix.RTM_NEWNEIGH, func() { list = nil }, func(b []byte) {
		if at, mac := parseGroup(b); at == index {
			list = append(list, mac)
		}
	})
	return list, err
}

// parseGroup reads an RTM_NEWNEIGH. The index is 0 if it names no group.
func parseGroup(b []byte) (index int, group classify.MAC) {
	if len(b) < unix.SizeofNdMsg {
		return 0, 0
	}
	attrs, err := attributesOf(b[unix.SizeofNdMsg:])
	if err != nil {
		return 0, 0
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.NDA_LLADDR && len(a.Value) == 6 && a.Value[0]&1 != 0 {
			return int(int32(binary.NativeEndian.Uint32(b[4:]))), classify.MACFrom(a.Value)
		}
	}
	return 0, 0
}

// changeGroup gives the vmac's TAP a further group, or takes one away. The
// TAP's own forwarding database does that, except where ndo_dflt_fdb_add holds a
// group for a unicast address, for which a TAP, which filters nothing, becomes
// promiscuous.
func (d *device) changeGroup(m classify.MAC, add bool) error {
	b := m.Bytes()
	linkLocal := [5]byte(b[:]) == [5]byte{1, 0x80, 0xc2} && b[5] < 16
	return d.visit(func(ns Namespace, c *conn, dev *netdev) error {
		if linkLocal {
			return ns.Do(func() error { return ioctlGroup(dev.name, m, add) })
		}
		kind, flags := unix.RTM_DELNEIGH, unix.NLM_F_ACK
		if add {
			kind, flags = unix.RTM_NEWNEIGH, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL
		}
		_, err := c.request(kind, flags, fdbMsg(dev.index), nl.NewRtAttr(unix.NDA_LLADDR, b[:])).Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// fdbMsg is a struct ndmsg for one device's own, permanent address.
type fdbMsg int

func (fdbMsg) Len() int { return unix.SizeofNdMsg }

func (m fdbMsg) Serialize() []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = unix.AF_BRIDGE
	binary.NativeEndian.PutUint32(b[4:], uint32(m))
	binary.NativeEndian.PutUint16(b[8:], unix.NUD_PERMANENT)
	b[10] = unix.NTF_SELF
	return b
}
