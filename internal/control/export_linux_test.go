package control

import (
	"context"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/tap"
)

// Deafen makes the engine miss what happens from now on, as if its netlink
// socket had overflowed without a word.
func (e *Engine) Deafen() {
	e.hub.mu.Lock()
	defer e.hub.mu.Unlock()
	clear(e.hub.inode)
}

// LateEnd tells the engine that a namespace has ended whose number, and inode, are
// by now that of the one given.
func (e *Engine) LateEnd(inode uint64) {
	e.hub.mu.Lock()
	var ids []int32
	for id, of := range e.hub.inode {
		if of == inode {
			ids = append(ids, id)
		}
	}
	e.hub.mu.Unlock()
	for _, id := range ids {
		if inode, known := e.hub.forget(id); known {
			e.hub.gone(inode)
		}
	}
}

// Number has the engine hear of a namespace, and returns what number it knows it by.
func (e *Engine) Number(ns Namespace) (int32, error) {
	if err := e.lock(context.Background()); err != nil {
		return -1, err
	}
	defer e.mu.Unlock()
	if err := e.hub.watch(ns); err != nil {
		return -1, err
	}
	return e.hub.conn.nsid(ns)
}

// Hears reports whether the engine hears of the namespace with that inode.
func (e *Engine) Hears(inode uint64) bool { return e.hub.watches(inode) }

// GiveNumber makes a namespace know another by a number.
func (n Namespace) GiveNumber(to Namespace, id int32) error {
	c, err := n.dial()
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.request(unix.RTM_NEWNSID, unix.NLM_F_ACK, rtgenmsg{},
		nl.NewRtAttr(unix.NETNSA_FD, nl.Uint32Attr(uint32(to.FD()))),
		nl.NewRtAttr(unix.NETNSA_NSID, nl.Uint32Attr(uint32(id)))).Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// Overflow is what the engine does when the kernel says that messages were lost.
func (e *Engine) Overflow() { e.hub.lost() }

// MaxClients and MaxRequests are the server's limits.
const (
	MaxClients  = maxClients
	MaxRequests = maxRequests
)

// SetRequestTime changes what clients have, until the returned function is
// called; not while a server runs.
func SetRequestTime(d time.Duration) (restore func()) {
	was := requestTime
	requestTime = d
	return func() { requestTime = was }
}

// Narrow leaves room for next to nothing in the engine's netlink socket.
func (e *Engine) Narrow() error {
	rc, err := e.hub.file.SyscallConn()
	if err != nil {
		return err
	}
	var e1 error
	err = rc.Control(func(fd uintptr) { e1 = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	if err == nil {
		err = e1
	}
	return err
}

// Overflows is how often the socket has overflowed.
func (e *Engine) Overflows() int64 { return e.hub.overflows.Load() }

// Stall keeps the engine from reading its netlink socket until resume is called.
func (e *Engine) Stall() (resume func()) {
	e.dirtyMu.Lock()
	return e.dirtyMu.Unlock
}

// NameCache is names.
type NameCache = nameCache

// Of is its only question.
func (c *nameCache) Of(inode uint64) string { return c.of(inode) }

// Bury lets the engine remember a vmac that it is still deleting, though its
// device has gone with its namespace. forget ends that.
func (e *Engine) Bury(netns uint64, index int) (forget func(), err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	unix.Close(fds[1])
	t, err := tap.FromFD(fds[0], false)
	if err != nil {
		return nil, err
	}
	d := &device{at: place{netns, index}, tap: t}
	if err := t.Close(); err != nil {
		return nil, err
	}
	d.deleted.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dying[d.at] = d
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.dying, d.at)
	}, nil
}
