package control

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
)

// findParent finds a parent that has left its namespace for another, and where that
// is. The caller closes the namespace.
func (e *Engine) findParent(p *port) (Namespace, *netdev, error) {
	if p.trail.file == nil {
		id, index := p.last.newNetnsID, p.last.index
		if p.last.newIndex != 0 {
			index = p.last.newIndex
		}
		ns, err := p.follow(id)
		if err != nil {
			ns, err = p.named(id)
		}
		if err != nil {
			return Namespace{}, nil, err
		}
		p.trail = ns
		dev, err := ns.look(func(c *conn) (*netdev, error) { return c.byIndex(index) })
		if err == nil {
			ns, err = ns.clone()
			return ns, dev, err
		}
	}
	return e.searchParent(p)
}

// searchParent looks for a parent that has moved on before anybody could look: in
// the namespaces that the one that it was in has a number for, which it gives to
// those that devices leave it for.
func (e *Engine) searchParent(p *port) (Namespace, *netdev, error) {
	from, err := p.trail.dial()
	if err != nil {
		return Namespace{}, nil, err
	}
	defer from.close()
	want := e.state.Port(p.id).Parent
	looked := map[uint64]bool{}
	for _, path := range namespaceFiles() {
		ns, err := OpenNamespace(path)
		if err != nil {
			continue
		}
		if id, err := from.nsid(ns); err == nil && !looked[ns.inode] && (id >= 0 || ns.inode == p.trail.inode) {
			dev, err := ns.look(func(c *conn) (*netdev, error) { return c.byName(want.Name) })
			if err == nil && dev.mac == want.MAC && e.vmacAt(place{ns.inode, dev.index}) == nil {
				return ns, dev, nil
			}
		}
		looked[ns.inode] = true
		ns.Close()
	}
	return Namespace{}, nil, os.ErrNotExist
}

// look asks in a namespace.
func (n Namespace) look(ask func(*conn) (*netdev, error)) (*netdev, error) {
	c, err := n.dial()
	if err != nil {
		return nil, err
	}
	defer c.close()
	return ask(c)
}

// follow opens the namespace that the port's calls by this number. Nothing does
// that but a device: a TAP is sent there, and asked where it is.
func (p *port) follow(id int) (ns Namespace, err error) {
	fail := func(err error) (Namespace, error) {
		return Namespace{}, fmt.Errorf("open namespace %d of %s: %w", id, p.ns, err)
	}
	if feature.Off(feature.DevNetns) {
		return fail(feature.ErrOff)
	}
	random := make([]byte, 4)
	rand.Read(random)
	ifr, err := unix.NewIfreq("umac-" + hex.EncodeToString(random))
	if err != nil {
		return fail(err)
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	var tun *os.File
	err = p.ns.Do(func() (err error) {
		if tun, err = os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
			return err
		}
		return unix.IoctlIfreq(int(tun.Fd()), unix.TUNSETIFF, ifr)
	})
	if tun != nil {
		defer tun.Close()
	}
	if err != nil {
		return fail(err)
	}
	dev, err := p.conn.byName(ifr.Name())
	if err != nil {
		return fail(err)
	}
	if err := p.conn.set(dev.index, 0, 0, nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(id)))); err != nil {
		return fail(err)
	}
	fd, err := unix.IoctlRetInt(int(tun.Fd()), unix.TUNGETDEVNETNS)
	if err != nil {
		return fail(err)
	}
	ns, err = namespaceOf(os.NewFile(uintptr(fd), "netns"))
	if err == nil && ns.inode == p.ns.inode {
		ns.Close()
		return fail(feature.ErrOld) // IFLA_TARGET_NETNSID was not understood
	}
	return ns, err
}

// named is follow for kernels that lack what it takes: the namespace has to have a
// name or a process.
func (p *port) named(id int) (Namespace, error) {
	for _, path := range namespaceFiles() {
		ns, err := OpenNamespace(path)
		if err != nil {
			continue
		}
		if n, err := p.conn.nsid(ns); err == nil && int(n) == id {
			return ns, nil
		}
		ns.Close()
	}
	return Namespace{}, os.ErrNotExist
}

// namespaceFiles lists the namespaces that can be found: named ones and those of
// processes.
func namespaceFiles() []string {
	var files []string
	for _, dir := range []struct{ path, file string }{{namedNamespaces, ""}, {"/proc", "/ns/net"}} {
		entries, _ := os.ReadDir(dir.path)
		for _, e := range entries {
			if dir.file == "" || e.Name()[0] >= '0' && e.Name()[0] <= '9' {
				files = append(files, dir.path+"/"+e.Name()+dir.file)
			}
		}
	}
	return files
}
