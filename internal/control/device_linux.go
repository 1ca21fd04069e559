package control

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control/rules"
	"github.com/umacvlan/umacvlan/tap"
)

// device is a vmac's TAP and what stands around it. Its fields are under the
// engine's lock.
type device struct {
	id     rules.VmacID
	name   string
	parent rules.ParentID
	at     place
	tap    *tap.Device
	child  *heldChild
	vmac   *dataplane.Vmac
	born   uint64 // inode of the namespace that the tap's descriptor holds
	known  bool   // to a switch, which releases the child
	types  typed

	deleted atomic.Bool // its descriptor has been closed

	alias string // ours, as long as nobody has changed it
	owner map[string]string
	// managed says that a file made it, and given which IP addresses it has
	// from there.
	managed bool
	given   []netip.Prefix
	asked   *entry  // of the file, if managed
	like    *netdev // as it was seen last
	// base are the counters that vmacs of earlier switches have left.
	base vmacSum
	last *netdev   // of the RTM_DELLINK
	left time.Time // when it was found to be gone

	carrier bool   // when last seen
	denied  string // what was last said to be undone

	// finished is closed when the device no longer exists and is accounted for.
	finished chan struct{}
}

// heldChild keeps a TAP open when its switch is done with it: the vmac outlives
// a switch when its parent moves to another namespace, and a TAP dies with its
// descriptor.
type heldChild struct {
	dataplane.Child
	once     sync.Once
	released chan struct{}
}

func hold(t *tap.Device) *heldChild {
	return &heldChild{Child: dataplane.NewTap(t), released: make(chan struct{})}
}

// Close says that no data thread uses the child any more.
func (h *heldChild) Close() error {
	h.once.Do(func() { close(h.released) })
	return nil
}

// createTap makes a vmac's device in ns, and says where it was born.
func (e *Engine) createTap(v *rules.Vmac, parent Namespace, ns Namespace, alias string, txqlen int) (_ *tap.Device, birthplace uint64, err error) {
	c := tap.Config{Name: v.Name, MAC: v.MAC.Bytes(), MTU: v.MTU, Alias: alias, TxQLen: txqlen}
	// A TAP's descriptor holds the namespace in which it was opened. So only one
	// that is held by the parent's socket anyway may be opened there, or one
	// with a name: when that goes it is noticed (letGo). Another is moved there,
	// which takes 10 to 20 ms and keeps everybody's rtnetlink waiting (the
	// rcu_barrier of dev_change_net_namespace).
	born := e.hub.home
	if ns.inode == parent.inode || e.abandonedEvery > 0 && ns.name() != "" {
		born = ns
	}
	var t *tap.Device
	if err := born.Do(func() (err error) { t, err = tap.Create(c); return err }); err != nil {
		return nil, 0, err
	}
	if born.inode == ns.inode {
		return t, born.inode, nil
	}
	index, err := t.Index()
	if err == nil {
		err = e.hub.conn.set(index, 0, 0, nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns.FD()))))
	}
	if err != nil {
		t.Close()
		return nil, 0, fmt.Errorf("move %s to namespace %s: %w", v.Name, ns, err)
	}
	t.Moved(ns.FD())
	return t, born.inode, nil
}

// firstIn reports whether no device but d was born where it was.
func (e *Engine) firstIn(d *device) bool {
	for _, o := range e.devices {
		if o != d && o.born == d.born {
			return false
		}
	}
	return true
}

// sweepAfter is how old a device without a name has to be.
const sweepAfter = time.Second

// sweep deletes what a daemon that was killed while it made a device has left in
// a namespace. The caller holds the lock.
func (e *Engine) sweep(ns Namespace) {
	var seen map[int]string
	err := ns.Do(func() (err error) { seen, err = tap.Unfinished(); return err })
	if err == nil {
		if len(seen) == 0 {
			return
		}
		if ns, err = ns.clone(); err == nil {
			time.AfterFunc(sweepAfter, func() {
				defer ns.Close()
				e.mu.Lock()
				defer e.mu.Unlock()
				if e.closing {
					return
				}
				if err := ns.Do(func() error { return tap.RemoveUnfinished(seen) }); err != nil {
					e.log.Warn("remove what an earlier daemon has left", "err", err)
				}
			})
		}
	}
	if err != nil {
		e.log.Warn("look for what an earlier daemon has left", "err", err)
	}
}

// visit calls fn with a conn in the namespace where the device is now, and with
// the device. An error that is gone() means that it exists no more.
func (d *device) visit(fn func(ns Namespace, c *conn, dev *netdev) error) error {
	return d.visitBy(func(ns Namespace) (*conn, bool, error) { c, err := ns.dial(); return c, true, err }, fn)
}

// visit is d.visit for a caller that holds the lock: a conn that the present
// request has anyway will do.
func (e *Engine) visit(d *device, fn func(ns Namespace, c *conn, dev *netdev) error) error {
	return d.visitBy(func(ns Namespace) (*conn, bool, error) {
		if c := e.conns[ns.inode]; c != nil {
			return c, false, nil
		}
		c, err := ns.dial()
		return c, true, err
	}, fn)
}

// visitBy visits with a conn that dial returns, and closes it if it is to be.
func (d *device) visitBy(dial func(Namespace) (c *conn, once bool, err error), fn func(Namespace, *conn, *netdev) error) error {
	var err error
	for range 10 { // it may be renamed or moved meanwhile
		err = d.visitOnce(dial, fn)
		if !errors.Is(err, errMissed) {
			return err
		}
	}
	return err
}

// errMissed says that the device was not where it had just been.
var errMissed = errors.New("device moved meanwhile")

func (d *device) visitOnce(dial func(Namespace) (*conn, bool, error), fn func(Namespace, *conn, *netdev) error) error {
	fd, err := d.tap.Netns()
	if err != nil {
		return err
	}
	ns, err := namespaceOf(os.NewFile(uintptr(fd), "netns"))
	if err != nil {
		return err
	}
	defer ns.Close()
	name, err := d.tap.Name()
	if err != nil {
		return err
	}
	c, once, err := dial(ns)
	if err != nil {
		return err
	}
	if once {
		defer c.close()
	}
	dev, err := c.byName(name)
	if errors.Is(err, unix.ENODEV) {
		return errMissed
	}
	if err != nil {
		return err
	}
	return fn(ns, c, dev)
}

// setLink sets flags and attributes of the device. The caller holds the lock.
func (e *Engine) setLink(d *device, flags, change uint32, attrs ...*nl.RtAttr) error {
	return e.visit(d, func(_ Namespace, c *conn, dev *netdev) error { return c.set(dev.index, flags, change, attrs...) })
}

// exists reports whether there is such a device still. If not, another may be in
// its place by now: an inode number of a namespace is soon given to the next one.
func (d *device) exists() bool {
	_, err := d.tap.Name()
	return err == nil || errors.Is(err, net.ErrClosed) && !d.deleted.Load()
}

// vmacAt returns the vmac that is there, or nil.
func (e *Engine) vmacAt(at place) *device {
	if d := e.devices[e.vmacs[at]]; d != nil && d.exists() {
		return d
	}
	return nil
}

// dyingAt returns the one that is being deleted there, or nil.
func (e *Engine) dyingAt(at place) *device {
	if d := e.dying[at]; d != nil && d.exists() {
		return d
	}
	return nil
}

// detach takes a vmac whose removal the rules have decided out of the maps. The
// caller holds the lock, and calls bury soon.
func (e *Engine) detach(d *device) {
	delete(e.devices, d.id)
	if e.vmacs[d.at] == d.id {
		delete(e.vmacs, d.at)
	}
	e.leaving = append(e.leaving, d)
	e.dying[d.at] = d
}

// bury has the devices that were detached deleted when no data thread uses them
// any more: only then have they counted their last frame. The caller holds the
// lock.
func (e *Engine) bury() {
	list := e.leaving
	e.leaving = nil
	if len(list) == 0 {
		return
	}
	p := e.ports[list[0].parent] // rules remove from one port at a time
	p.hasten()
	known := make([]bool, len(list))
	for i, d := range list {
		known[i] = d.known
	}
	e.wg.Go(func() {
		for i, d := range list {
			if known[i] {
				select {
				case <-d.child.released:
				case <-p.done:
				}
			}
			d.visit(func(_ Namespace, _ *conn, now *netdev) error { d.last = now; return nil })
		}
		removeDevices(list)
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, d := range list {
			p.account.close(d)
			if e.dying[d.at] == d {
				delete(e.dying, d.at)
			}
			close(d.finished)
		}
	})
}

// removeDevices deletes devices that no data thread uses. Deleting one takes as
// long as deleting a group of them (about 20 ms), so those that share a namespace
// are put into one group.
func removeDevices(list []*device) {
	byNetns := map[uint64][]*device{}
	for _, d := range list {
		byNetns[d.at.netns] = append(byNetns[d.at.netns], d)
	}
	for _, same := range byNetns {
		if len(same) > 1 {
			removeGroup(same)
		}
	}
	// Those who wait at the same time wait for the same rcu_barrier.
	var wg sync.WaitGroup
	free := make(chan struct{}, closersAtOnce)
	for _, d := range list {
		free <- struct{}{}
		wg.Go(func() {
			d.tap.Close() // deletes it, if it is still there
			d.deleted.Store(true)
			<-free
		})
	}
	wg.Wait()
}

// closersAtOnce is how many threads may be in removeDevices.
const closersAtOnce = 32

func removeGroup(list []*device) {
	group := nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(rand.Uint32()>>1|1<<30))
	list[0].visit(func(ns Namespace, c *conn, _ *netdev) error {
		for _, d := range list {
			name, err := d.tap.Name()
			if err != nil {
				continue
			}
			// One that has left the namespace is not found, or not ours.
			if dev, err := c.byName(name); err == nil && dev.kind == "tun" && dev.index == d.at.index {
				c.set(dev.index, 0, 0, group)
			}
		}
		_, err := c.request(unix.RTM_DELLINK, unix.NLM_F_ACK, nl.NewIfInfomsg(unix.AF_UNSPEC), group).Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}
