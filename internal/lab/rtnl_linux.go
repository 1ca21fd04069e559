package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// rtnl is a socket to one namespace's rtnetlink that stays open. One goroutine
// at a time.
type rtnl struct{ sh *nl.SocketHandle }

func openRtnl(ns *NS) (*rtnl, error) {
	var s *nl.NetlinkSocket
	err := ns.Do(func() (err error) {
		s, err = nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	if err := errors.Join(s.SetExtAck(true), s.SetReceiveTimeout(&unix.Timeval{Sec: 10})); err != nil {
		s.Close()
		return nil, fmt.Errorf("set up rtnetlink: %w", err)
	}
	return &rtnl{&nl.SocketHandle{Socket: s}}, nil
}

func (r *rtnl) close() { r.sh.Close() }

func (r *rtnl) execute(kind, flags int, reply uint16, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: r.sh}
	for _, p := range parts {
		req.AddData(p)
	}
	return req.Execute(unix.NETLINK_ROUTE, reply)
}

func linkMsg(index int, flags, change uint32) *nl.IfInfomsg {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index, m.Flags, m.Change = int32(index), flags, change
	return m
}

// set is RTM_NEWLINK for an existing device, as "ip link set" sends it.
func (r *rtnl) set(index int, flags, change uint32, attrs ...*nl.RtAttr) error {
	parts := []nl.NetlinkRequestData{linkMsg(index, flags, change)}
	for _, a := range attrs {
		parts = append(parts, a)
	}
	_, err := r.execute(unix.RTM_NEWLINK, unix.NLM_F_ACK, 0, parts...)
	return err
}

func (r *rtnl) delete(index int) error {
	_, err := r.execute(unix.RTM_DELLINK, unix.NLM_F_ACK, 0, linkMsg(index, 0, 0))
	return err
}

// link is one device as rtnetlink shows it.
type link struct {
	index, lower          int
	name, kind            string
	flags                 uint32
	mac, brd              classify.MAC
	mtu                   int
	promiscuity, allmulti int
	mode                  classify.Mode
	modeFlags             classify.Flags
	bcQueueLen, usedLen   uint32
	bcLim                 int32
	list                  []classify.MAC
	counters              scenario.Counters
}

func (l *link) up() bool { return l.flags&unix.IFF_UP != 0 }

// carrier is what ip calls LOWER_UP.
func (l *link) carrier() bool { return l.flags&unix.IFF_LOWER_UP != 0 }

// running says that link watch has seen the carrier, too.
func (l *link) running() bool { return l.flags&unix.IFF_RUNNING != 0 }

// links lists all devices of the namespace.
func (r *rtnl) links() (list []*link, err error) {
	for range 5 { // a dump that a change interrupted is asked for again
		var msgs [][]byte
		msgs, err = r.execute(unix.RTM_GETLINK, unix.NLM_F_DUMP, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC))
		if errors.Is(err, nl.ErrDumpInterrupted) {
			continue
		}
		list = list[:0]
		for _, m := range msgs {
			l, err := parseLink(m)
			if err != nil {
				return nil, err
			}
			list = append(list, l)
		}
		break
	}
	return list, err
}

// find returns ENODEV if there is no such device.
func (r *rtnl) find(name string) (*link, error) {
	msgs, err := r.execute(unix.RTM_GETLINK, 0, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	if err != nil {
		return nil, err
	}
	if len(msgs) == 0 {
		return nil, unix.ENODEV
	}
	return parseLink(msgs[0])
}

func parseLink(m []byte) (*link, error) {
	if len(m) < unix.SizeofIfInfomsg {
		return nil, fmt.Errorf("link message of %d bytes", len(m))
	}
	attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, fmt.Errorf("link message: %w", err)
	}
	ne := binary.NativeEndian
	l := &link{index: int(int32(ne.Uint32(m[4:]))), flags: ne.Uint32(m[8:]), bcLim: classify.DefaultBCLim}
	for _, a := range attrs {
		v := a.Value
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(v)
		case unix.IFLA_LINK:
			l.lower = int(int32(ne.Uint32(v)))
		case unix.IFLA_ADDRESS:
			l.mac = macOf(v)
		case unix.IFLA_BROADCAST:
			l.brd = macOf(v)
		case unix.IFLA_MTU:
			l.mtu = int(ne.Uint32(v))
		case unix.IFLA_PROMISCUITY:
			l.promiscuity = int(ne.Uint32(v))
		case unix.IFLA_ALLMULTI:
			l.allmulti = int(ne.Uint32(v))
		case unix.IFLA_STATS64:
			if len(v) >= 72 {
				at := func(i int) uint64 { return ne.Uint64(v[8*i:]) }
				l.counters = scenario.Counters{
					RxPackets: at(0), TxPackets: at(1), RxBytes: at(2), TxBytes: at(3), RxErrors: at(4),
					RxDropped: at(6), TxDropped: at(7), Multicast: at(8),
				}
			}
		case unix.IFLA_LINKINFO:
			if err := l.parseInfo(v); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

func macOf(b []byte) classify.MAC {
	if len(b) != 6 {
		return 0
	}
	return classify.MACFrom(b)
}

func (l *link) parseInfo(b []byte) error {
	info, err := nl.ParseRouteAttr(b)
	if err != nil {
		return fmt.Errorf("link info: %w", err)
	}
	var data []byte
	for _, a := range info {
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_INFO_KIND:
			l.kind = unix.ByteSliceToString(a.Value)
		case unix.IFLA_INFO_DATA:
			data = a.Value
		}
	}
	if l.kind != "macvlan" {
		return nil
	}
	attrs, err := nl.ParseRouteAttr(data)
	if err != nil {
		return fmt.Errorf("macvlan info: %w", err)
	}
	ne := binary.NativeEndian
	for _, a := range attrs {
		v := a.Value
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_MACVLAN_MODE:
			l.mode = classify.Mode(ne.Uint32(v))
		case unix.IFLA_MACVLAN_FLAGS:
			l.modeFlags = classify.Flags(ne.Uint16(v))
		case unix.IFLA_MACVLAN_BC_QUEUE_LEN:
			l.bcQueueLen = ne.Uint32(v)
		case unix.IFLA_MACVLAN_BC_QUEUE_LEN_USED:
			l.usedLen = ne.Uint32(v)
		case unix.IFLA_MACVLAN_BC_CUTOFF:
			l.bcLim = int32(ne.Uint32(v))
		case unix.IFLA_MACVLAN_MACADDR_DATA:
			list, err := nl.ParseRouteAttr(v)
			if err != nil {
				return fmt.Errorf("macvlan info: %w", err)
			}
			for _, m := range list {
				l.list = append(l.list, macOf(m.Value))
			}
		}
	}
	return nil
}

// secondary lists the other addresses of a device, unicast and groups, each
// once and sorted: a bridge's fdb dump serves any Ethernet device
// (ndo_dflt_fdb_dump).
func (r *rtnl) secondary(index int) (unicast, groups []classify.MAC, err error) {
	for range 5 {
		var msgs [][]byte
		m := nl.NewIfInfomsg(unix.AF_BRIDGE)
		m.Index = int32(index)
		msgs, err = r.execute(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, unix.RTM_NEWNEIGH, m)
		if errors.Is(err, nl.ErrDumpInterrupted) {
			continue
		}
		for _, m := range msgs {
			if len(m) < unix.SizeofNdMsg || int(int32(binary.NativeEndian.Uint32(m[4:]))) != index {
				continue
			}
			attrs, err := nl.ParseRouteAttr(m[unix.SizeofNdMsg:])
			if err != nil {
				return nil, nil, fmt.Errorf("address list: %w", err)
			}
			for _, a := range attrs {
				if a.Attr.Type != unix.NDA_LLADDR || len(a.Value) != 6 {
					continue
				}
				if mac := classify.MACFrom(a.Value); mac.IsGroup() {
					groups = append(groups, mac)
				} else {
					unicast = append(unicast, mac)
				}
			}
		}
		break
	}
	for _, list := range []*[]classify.MAC{&unicast, &groups} {
		slices.SortFunc(*list, func(a, b classify.MAC) int { return strings.Compare(a.String(), b.String()) })
		*list = slices.Compact(*list)
	}
	return unicast, groups, err
}

// answerOf is what rtnetlink or a socket said: number and extended ack.
func answerOf(err error) scenario.Answer {
	if err == nil {
		return scenario.Answer{}
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return scenario.Answer{Errno: "EIO", Text: err.Error()}
	}
	a := scenario.Answer{Errno: errnoName(errno)}
	if text, ok := strings.CutPrefix(err.Error(), errno.Error()+": "); ok {
		a.Text = strings.TrimSuffix(text, ".")
	}
	return a
}

// errnoName is the kernel's name of an error: of the two that glibc has for 95 the
// library knows the other.
func errnoName(e syscall.Errno) string {
	if e == unix.EOPNOTSUPP {
		return "EOPNOTSUPP"
	}
	return unix.ErrnoName(e)
}
