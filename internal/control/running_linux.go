package control

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/config"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// ownNamespace is the daemon's, for a file whose parent is in another.
const ownNamespace = "/proc/self/ns/net"

// homes are namespaces by what a file calls them.
type homes struct {
	own   uint64
	paths map[uint64]string // of those that have no name
	known map[string]uint64 // inodes of what files call namespaces
}

// notePaths remembers what callers call namespaces, because one without a name
// under /run/netns has to be found again after a restart. The caller holds the
// lock.
func (e *Engine) notePaths(paths ...string) {
	for _, path := range paths {
		if path == "" || strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, namedNamespaces+"/") {
			continue
		}
		if inode := inodeAt(path); inode != 0 {
			e.paths[inode] = path
		}
	}
}

// inodeAt is 0 if nothing is there.
func inodeAt(path string) uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// homes looks up what there is. The caller holds the lock.
func (e *Engine) homes() *homes {
	h := &homes{own: inodeAt(ownNamespace), paths: map[uint64]string{}, known: map[string]uint64{}}
	for inode, path := range e.paths {
		if inodeAt(path) == inode {
			h.paths[inode] = path
		} else {
			delete(e.paths, inode)
		}
	}
	return h
}

func (h *homes) of(inode uint64) string {
	if inode == h.own {
		return ""
	}
	if s := names.of(inode); s != "" {
		return s
	}
	if s := h.paths[inode]; s != "" {
		return s
	}
	return fmt.Sprintf("net:[%d]", inode)
}

// is reports whether a file's word for a namespace means that one.
func (h *homes) is(netns string, inode uint64) bool {
	at, asked := h.known[netns]
	if !asked {
		at = inodeAt(netnsPath(netns))
		h.known[netns] = at
	}
	return at == inode
}

// nameless reports whether nobody could find a namespace by what homes calls it.
func nameless(netns string) bool { return strings.HasPrefix(netns, "net:[") }

// netnsPath is where a namespace is that a file names.
func netnsPath(s string) string {
	switch {
	case s == "":
		return ownNamespace
	case strings.Contains(s, "/"):
		return s
	}
	return filepath.Join(namedNamespaces, s)
}

// placeID tells devices of all namespaces apart.
func placeID(at place) uint64 { return at.netns<<32 | uint64(uint32(at.index)) }

// describeAll describes every vmac as a file would, in order of creation, without
// its IP addresses; its device and port stand at the same index. The caller holds
// the lock.
func (e *Engine) describeAll(h *homes) (list []config.Running, devices []*device, ports []*rules.Port) {
	for _, rp := range e.state.Ports() {
		p := e.ports[rp.Parent.ID]
		for _, v := range rp.Vmacs {
			d := e.devices[v.ID]
			r := config.Running{
				Parent:   config.Parent{Name: rp.Parent.Name, Netns: h.of(p.at.netns), BCLim: rp.BCLim},
				ParentID: placeID(p.at), ParentMTU: rp.Parent.MTU,
				Vmac: config.Vmac{
					Name: v.Name, Mode: v.Mode, Flags: v.Flags, MAC: v.MAC, MTU: v.MTU,
					BCQueueLen: v.BCQueueLen, TxQueueLen: config.DefaultTxQueueLen, Up: v.Up, Owner: d.owner,
				},
				Netns: d.at.netns, Managed: d.managed, Given: d.given,
			}
			if v.Mode == classify.Source {
				r.Vmac.Sources = rp.SourceList(v.ID)
				slices.Sort(r.Vmac.Sources)
			}
			if d.at.netns != p.at.netns {
				if r.Vmac.Netns = h.of(d.at.netns); r.Vmac.Netns == "" {
					r.Vmac.Netns = ownNamespace
				}
			}
			if w := d.asked; w != nil {
				// In the words of the file, as long as they say the same.
				if h.is(w.p.Netns, p.at.netns) {
					r.Parent.Netns = w.p.Netns
				}
				if home := w.p.Home(w.v); h.is(home, d.at.netns) {
					r.Vmac.Netns = home
					if home == r.Parent.Netns {
						r.Vmac.Netns = ""
					}
				}
			}
			if d.like != nil {
				r.Vmac.TxQueueLen = uint32(d.like.txQLen)
				if d.like.alias != d.alias {
					r.Vmac.Alias = d.like.alias
				}
				on := true
				if d.like.flags&unix.IFF_PROMISC != 0 {
					r.Vmac.Promisc = &on
				}
				if d.like.flags&unix.IFF_ALLMULTI != 0 {
					r.Vmac.Allmulti = &on
				}
			}
			list = append(list, r)
			devices, ports = append(devices, d), append(ports, rp)
		}
	}
	return list, devices, ports
}

// ipAddress is an address of a device. Lasting is one that somebody gave it for
// good: no lease, and none that the kernel makes.
type ipAddress struct {
	netip.Prefix
	lasting bool
}

// ipAddresses reads those of all vmacs, one dump for each namespace. The caller
// holds the lock.
func (e *Engine) ipAddresses() map[rules.VmacID][]ipAddress {
	one := map[uint64]*device{}
	for _, d := range e.devices {
		one[d.at.netns] = d
	}
	all := map[rules.VmacID][]ipAddress{}
	for inode, d := range one {
		ns, err := d.home()
		if err != nil {
			continue
		}
		var list []netlink.Addr
		if h, err := netlink.NewHandleAt(netns.NsHandle(ns.FD()), unix.NETLINK_ROUTE); err == nil {
			list, _ = h.AddrList(nil, netlink.FAMILY_ALL)
			h.Close()
		}
		same := ns.inode == inode
		ns.Close()
		if !same {
			continue // it has just moved
		}
		for _, a := range list {
			d := e.vmacAt(place{inode, a.LinkIndex})
			ip, ok := netip.AddrFromSlice(a.IP)
			if d == nil || !ok {
				continue
			}
			bits, _ := a.Mask.Size()
			lasting := a.Flags&unix.IFA_F_PERMANENT != 0 && !ip.Unmap().IsLinkLocalUnicast()
			all[d.id] = append(all[d.id], ipAddress{netip.PrefixFrom(ip.Unmap(), bits), lasting})
		}
	}
	return all
}

// home opens the namespace where the device is now.
func (d *device) home() (Namespace, error) {
	fd, err := d.tap.Netns()
	if err != nil {
		return Namespace{}, err
	}
	return namespaceOf(os.NewFile(uintptr(fd), "netns"))
}

// changeAddresses gives the device IP addresses and takes others away. One that
// it has already is as good as given.
func (d *device) changeAddresses(add, del []netip.Prefix) error {
	if len(add)+len(del) == 0 {
		return nil
	}
	return d.visit(func(ns Namespace, _ *conn, dev *netdev) error {
		h, err := netlink.NewHandleAt(netns.NsHandle(ns.FD()), unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: dev.index, Name: dev.name}}
		var failed []string
		note := func(what string, p netip.Prefix, err error) {
			failed = append(failed, fmt.Sprintf("%s address %v: %v", what, p, err))
		}
		for _, p := range del {
			if err := h.AddrDel(link, netlinkAddr(p)); err == nil || err == unix.EADDRNOTAVAIL {
				d.given = slices.DeleteFunc(slices.Clone(d.given), func(o netip.Prefix) bool { return o == p })
			} else {
				note("delete", p, err)
			}
		}
		for _, p := range add {
			if err := h.AddrAdd(link, netlinkAddr(p)); err == nil || err == unix.EEXIST {
				d.given = append(slices.Clone(d.given), p)
			} else {
				note("add", p, err)
			}
		}
		if failed != nil {
			return fmt.Errorf("%s", strings.Join(failed, "; "))
		}
		return nil
	})
}

func netlinkAddr(p netip.Prefix) *netlink.Addr {
	a, _ := netlink.ParseAddr(p.String()) // of a Prefix that is valid
	return a
}

// Export describes what runs as a configuration file.
func (e *Engine) Export(ctx context.Context) (Export, error) {
	if err := e.lock(ctx); err != nil {
		return Export{}, err
	}
	defer e.mu.Unlock()
	var x Export
	var c config.Config
	h := e.homes()
	list, devices, ports := e.describeAll(h)
	addresses := e.ipAddresses()
	for i, r := range list {
		if nameless(r.Parent.Netns) || nameless(r.Vmac.Netns) {
			x.Notes = append(x.Notes, fmt.Sprintf("%s is left out: its namespace, or its parent's, has no name", r.Vmac.Name))
			continue
		}
		v := r.Vmac
		if v.MTU == r.ParentMTU {
			v.MTU = 0
		}
		if v.Mode == classify.Passthru && v.MAC == ports[i].PermMAC {
			v.MAC = 0
		}
		for _, a := range addresses[devices[i].id] {
			if a.lasting || slices.Contains(r.Given, a.Prefix) {
				v.Addresses = append(v.Addresses, a.Prefix)
			}
		}
		n := len(c.Parents)
		if n == 0 || c.Parents[n-1].Name != r.Parent.Name || c.Parents[n-1].Netns != r.Parent.Netns {
			c.Parents = append(c.Parents, r.Parent)
			n++
		}
		c.Parents[n-1].Vmacs = append(c.Parents[n-1].Vmacs, v)
	}
	for _, w := range e.waiting {
		x.Notes = append(x.Notes, fmt.Sprintf("%s is left out: it waits for %s", w.v.Name, w.why))
	}
	x.Text = c.Text()
	return x, nil
}
