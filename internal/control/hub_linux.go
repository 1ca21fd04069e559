package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
)

// place is where a device is: what the kernel knows it by.
type place struct {
	netns uint64 // inode
	index int
}

// hub hears what happens to devices in every namespace of interest. It has a
// namespace of its own, in which the others are given ids: a socket there that
// listens to all of them holds none of them, while one inside each would keep a
// namespace alive that its owner has deleted, and the vmacs in it. TAPs are born
// there too, for the same reason: a TAP's descriptor holds the namespace in
// which it was opened.
type hub struct {
	home  Namespace
	conn  *conn
	file  *os.File
	hears bool                 // of other namespaces
	event func(place, *netdev) // a device changed; the netdev of an RTM_DELLINK, else nil
	lost  func()               // messages were lost
	gone  func(netns uint64)   // a namespace ended

	overflows atomic.Int64 // of the socket

	mu    sync.Mutex
	inode map[int32]uint64    // by id
	heard map[uint64]struct{} // the inodes
}

// Groups of rtnetlink. Without the joined ones, joins are seen by what usually
// makes them, an address, and by looking every now and then.
var (
	hubGroups    = []int{unix.RTNLGRP_LINK, unix.RTNLGRP_NSID, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR}
	joinedGroups = []int{unix.RTNLGRP_IPV4_MCADDR, unix.RTNLGRP_IPV6_MCADDR}
)

func newHub() (_ *hub, err error) {
	h := &hub{inode: map[int32]uint64{}, heard: map[uint64]struct{}{}}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.home, err = newNamespace(); err != nil {
		return nil, err
	}
	if h.conn, err = h.home.dial(); err != nil {
		return nil, err
	}
	if lo, err := h.conn.byIndex(1); err == nil {
		noteKnown(feature.MaxMTU, lo.hasMaxMTU)
		noteKnown(feature.AllmultiCount, lo.hasAllmulti)
	}
	err = h.home.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open rtnetlink: %w", err)
		}
		h.file = os.NewFile(uintptr(fd), "rtnetlink")
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return fmt.Errorf("bind rtnetlink: %w", err)
		}
		if !feature.Off(feature.ListenAll) {
			err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1)
			feature.Note(feature.ListenAll, err) // EPERM without CAP_NET_BROADCAST
			h.hears = err == nil
		}
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) != nil {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
		}
		for _, g := range hubGroups {
			if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
				return fmt.Errorf("join rtnetlink group %d: %w", g, err)
			}
		}
		if feature.Off(feature.GroupEvents) {
			return nil
		}
		for _, g := range joinedGroups {
			err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
		}
		feature.Note(feature.GroupEvents, err)
		return nil
	})
	return h, err
}

func (h *hub) close() {
	if h.file != nil {
		h.file.Close()
	}
	if h.conn != nil {
		h.conn.close()
	}
	h.home.Close()
}

// watch makes events of ns arrive.
func (h *hub) watch(ns Namespace) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Asked every time: the inode of a namespace that ended may be another's.
	id, err := h.conn.nsid(ns)
	if err == nil && id < 0 {
		err = h.conn.newNsid(ns)
		if err == nil || errors.Is(err, unix.EEXIST) {
			id, err = h.conn.nsid(ns)
		}
	}
	if err != nil {
		return fmt.Errorf("watch namespace %s: %w", ns, err)
	}
	if old, ok := h.inode[id]; ok && old != ns.inode { // it has ended, of which news is on its way
		delete(h.heard, old)
		h.gone(old)
	}
	h.inode[id] = ns.inode
	h.heard[ns.inode] = struct{}{}
	return nil
}

// forget is told that a namespace with this number has ended. That may be old
// news: number and inode may both be another's by now, which is looked at then and
// watched again.
func (h *hub) forget(id int32) (inode uint64, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	inode, known = h.inode[id]
	delete(h.inode, id)
	delete(h.heard, inode)
	return inode, known
}

// watches reports whether events of the namespace arrive, as far as is known.
func (h *hub) watches(inode uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.heard[inode]
	return ok
}

func (h *hub) inodeOf(id int32) (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	inode, ok := h.inode[id]
	return inode, ok
}

// rtgenmsg is struct rtgenmsg, padded.
type rtgenmsg struct{}

func (rtgenmsg) Len() int          { return 4 }
func (rtgenmsg) Serialize() []byte { return make([]byte, 4) }

// nsid returns the id that the conn's namespace has for ns, or -1.
func (c *conn) nsid(ns Namespace) (int32, error) {
	msgs, err := c.request(unix.RTM_GETNSID, 0, rtgenmsg{},
		nl.NewRtAttr(unix.NETNSA_FD, nl.Uint32Attr(uint32(ns.FD())))).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNSID)
	if err != nil {
		return -1, err
	}
	for _, m := range msgs {
		if id, ok := parseNsid(m); ok {
			return id, nil
		}
	}
	return -1, nil
}

func (c *conn) newNsid(ns Namespace) error {
	_, err := c.request(unix.RTM_NEWNSID, unix.NLM_F_ACK, rtgenmsg{},
		nl.NewRtAttr(unix.NETNSA_FD, nl.Uint32Attr(uint32(ns.FD()))),
		nl.NewRtAttr(unix.NETNSA_NSID, nl.Uint32Attr(^uint32(0)))).Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func parseNsid(m []byte) (int32, bool) {
	if len(m) < 4 {
		return -1, false
	}
	attrs, err := attributesOf(m[4:])
	if err != nil {
		return -1, false
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.NETNSA_NSID && len(a.Value) >= 4 {
			return int32(binary.NativeEndian.Uint32(a.Value)), true
		}
	}
	return -1, false
}

// run reads events until close.
func (h *hub) run() error {
	rc, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	buf, oob := make([]byte, 64<<10), make([]byte, 64)
	for {
		var n, oobn int
		var from unix.Sockaddr
		var rerr error
		err := rc.Read(func(fd uintptr) bool {
			n, oobn, _, from, rerr = unix.Recvmsg(int(fd), buf, oob, 0)
			return !errors.Is(rerr, unix.EAGAIN)
		})
		switch {
		case err != nil:
			return err // closed
		case errors.Is(rerr, unix.ENOBUFS):
			h.overflows.Add(1)
			h.lost()
			continue
		case errors.Is(rerr, unix.EINTR):
			continue
		case rerr != nil:
			return fmt.Errorf("read rtnetlink: %w", rerr)
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // only the kernel is believed
		}
		inode, ok, own := h.sender(oob[:oobn])
		msgs, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			h.lost()
			continue
		}
		for _, m := range msgs {
			if m.Header.Type == unix.RTM_DELNSID {
				// Every namespace says which of the numbers that it has given has
				// ended; only our own's are those that we know others by.
				if id, found := parseNsid(m.Data); own && found {
					if inode, known := h.forget(id); known {
						h.gone(inode)
					}
				}
			} else if ok {
				h.message(inode, m)
			}
		}
	}
}

// sender is the namespace that a datagram speaks of, if it is known, or says that it
// is our own.
func (h *hub) sender(oob []byte) (inode uint64, known, own bool) {
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false, false
	}
	for _, c := range cmsgs {
		if c.Header.Level == unix.SOL_NETLINK && c.Header.Type == unix.NETLINK_LISTEN_ALL_NSID && len(c.Data) >= 4 {
			if id := int32(binary.NativeEndian.Uint32(c.Data)); id >= 0 {
				inode, known = h.inodeOf(id)
				return inode, known, false
			}
		}
	}
	return 0, false, true
}

func (h *hub) message(inode uint64, m syscall.NetlinkMessage) {
	if len(m.Data) < 8 {
		return
	}
	// ifinfomsg and ifaddrmsg (which also the group messages have) keep the
	// index at the same place.
	at := place{inode, int(int32(binary.NativeEndian.Uint32(m.Data[4:])))}
	var last *netdev
	if m.Header.Type == unix.RTM_DELLINK {
		last, _ = parseNetdev(m.Data)
		if last != nil && last.hasNewNetns {
			feature.Note(feature.NewNetns, nil)
		}
	}
	h.event(at, last)
}
