package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// conn is an rtnetlink socket for requests. It belongs to the namespace in which
// it was opened and keeps that one alive, so one in a vmac's namespace is closed
// as soon as it has been used: a namespace that its owner has deleted has to go.
type conn struct{ sh *nl.SocketHandle }

// dial opens a conn in ns.
func (n Namespace) dial() (*conn, error) {
	var s *nl.NetlinkSocket
	err := n.Do(func() (err error) {
		s, err = nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	if !feature.Off(feature.ExtAck) {
		feature.Note(feature.ExtAck, s.SetExtAck(true))
	}
	if err := errors.Join(s.SetSendTimeout(&unix.Timeval{Sec: 10}), s.SetReceiveTimeout(&unix.Timeval{Sec: 10})); err != nil {
		s.Close()
		return nil, fmt.Errorf("set up rtnetlink: %w", err)
	}
	return &conn{&nl.SocketHandle{Socket: s}}, nil
}

func (c *conn) close() { c.sh.Close() }

func (c *conn) request(kind, flags int, parts ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: c.sh}
	for _, p := range parts {
		req.AddData(p)
	}
	return req
}

// byName returns ENODEV if there is no such device.
func (c *conn) byName(name string) (*netdev, error) {
	return c.one(nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

func (c *conn) byIndex(index int) (*netdev, error) {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	return c.one(m)
}

func (c *conn) one(parts ...nl.NetlinkRequestData) (*netdev, error) {
	msgs, err := c.request(unix.RTM_GETLINK, 0, parts...).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	if len(msgs) == 0 {
		return nil, unix.ENODEV
	}
	return parseNetdev(msgs[0])
}

// groups lists the multicast addresses of one device, or of all (index 0), by
// ifindex, sorted. A bridge's fdb dump serves any Ethernet device: its own
// secondary addresses (ndo_dflt_fdb_dump).
func (c *conn) groups(index int) (map[int][]classify.MAC, error) {
	m := nl.NewIfInfomsg(unix.AF_BRIDGE)
	m.Index = int32(index)
	lists := map[int][]classify.MAC{}
	err := c.dump(c.request(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, m), unix.RTM_NEWNEIGH, func() { clear(lists) },
		func(m []byte) {
			if at, mac := parseGroup(m); at != 0 && (index == 0 || at == index) {
				lists[at] = append(lists[at], mac)
			}
		})
	for at, list := range lists {
		slices.Sort(list)
		lists[at] = slices.Compact(list)
	}
	return lists, err
}

// dump repeats a dump that a change interrupted, a few times.
func (c *conn) dump(req *nl.NetlinkRequest, kind uint16, again func(), each func([]byte)) (err error) {
	for range 5 {
		again()
		err = req.ExecuteIter(unix.NETLINK_ROUTE, kind, func(m []byte) bool { each(m); return true })
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

// set changes a device: flags under change, and attributes.
func (c *conn) set(index int, flags, change uint32, attrs ...*nl.RtAttr) error {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index, m.Flags, m.Change = int32(index), flags, change
	req := c.request(unix.RTM_SETLINK, unix.NLM_F_ACK, m)
	for _, a := range attrs {
		req.AddData(a)
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// refusalOf makes a Refusal of what rtnetlink, or an ioctl, answered.
func refusalOf(err error, hint string) *Refusal {
	r := &Refusal{Errno: int(unix.EIO), Hint: hint}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		if hint == "" {
			r.Hint = err.Error()
		}
		return r
	}
	r.Errno = int(errno)
	if text, ok := strings.CutPrefix(err.Error(), errno.Error()+": "); ok {
		r.Text = strings.TrimSuffix(text, ".")
	} else if hint == "" && err.Error() != errno.Error() {
		r.Hint = err.Error()
	}
	if many := tooManyFiles(errno); many != "" {
		r.Hint = many
	}
	return r
}
