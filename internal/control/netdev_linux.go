package control

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// netdev is an RTM_NEWLINK: the attributes that the library's links leave out
// are wanted too.
type netdev struct {
	index       int
	hwtype      uint16
	flags       uint32
	name, alias string
	mac, brd    classify.MAC
	carrier     bool
	mtu         int
	minMTU      int
	maxMTU      int
	qdisc       string
	operState   uint8
	linkMode    uint8
	group       uint32
	txQLen      int
	promiscuity int
	allmulti    int
	txQueues    int
	rxQueues    int
	gsoMaxSize  int
	gsoMaxSegs  int
	master      int
	kind, slave string
	addrGenMode uint8
	hasAllmulti bool
	hasMaxMTU   bool
	stats       [6]uint64 // rx packets, tx packets, rx bytes, tx bytes, rx errors, tx errors
	txDropped   uint64
	newNetnsID  int // RTM_DELLINK of a device that moved away
	newIndex    int
	hasNewNetns bool
}

func (d *netdev) up() bool { return d.flags&unix.IFF_UP != 0 }

// attributesOf reads attributes. The last may lack the bytes that align it, for
// which the library would look past the end.
func attributesOf(b []byte) ([]syscall.NetlinkRouteAttr, error) {
	return nl.ParseRouteAttr(append(b[:len(b):len(b)], make([]byte, -len(b)&3)...))
}

// parseNetdev parses the message behind the netlink header.
func parseNetdev(m []byte) (*netdev, error) {
	if len(m) < unix.SizeofIfInfomsg {
		return nil, fmt.Errorf("parse link message: %d bytes", len(m))
	}
	attrs, err := attributesOf(m[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, fmt.Errorf("parse link message: %w", err)
	}
	ne := binary.NativeEndian
	d := &netdev{
		hwtype: ne.Uint16(m[2:]),
		index:  int(int32(ne.Uint32(m[4:]))),
		flags:  ne.Uint32(m[8:]),

		carrier: true,
	}
	for _, a := range attrs {
		v := a.Value
		number := func() int {
			if len(v) < 4 {
				return 0
			}
			return int(ne.Uint32(v))
		}
		if len(v) == 0 {
			continue
		}
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_IFNAME:
			d.name = unix.ByteSliceToString(v)
		case unix.IFLA_IFALIAS:
			d.alias = unix.ByteSliceToString(v)
		case unix.IFLA_ADDRESS:
			if len(v) == 6 {
				d.mac = classify.MACFrom(v)
			}
		case unix.IFLA_BROADCAST:
			if len(v) == 6 {
				d.brd = classify.MACFrom(v)
			}
		case unix.IFLA_CARRIER:
			d.carrier = v[0] != 0
		case unix.IFLA_MTU:
			d.mtu = number()
		case unix.IFLA_MIN_MTU:
			d.minMTU = number()
		case unix.IFLA_MAX_MTU:
			if !feature.Off(feature.MaxMTU) {
				d.maxMTU, d.hasMaxMTU = number(), true
			}
		case unix.IFLA_QDISC:
			d.qdisc = unix.ByteSliceToString(v)
		case unix.IFLA_OPERSTATE:
			d.operState = v[0]
		case unix.IFLA_LINKMODE:
			d.linkMode = v[0]
		case unix.IFLA_GROUP:
			d.group = uint32(number())
		case unix.IFLA_TXQLEN:
			d.txQLen = number()
		case unix.IFLA_PROMISCUITY:
			d.promiscuity = number()
		case unix.IFLA_ALLMULTI:
			if !feature.Off(feature.AllmultiCount) {
				d.allmulti, d.hasAllmulti = number(), true
			}
		case unix.IFLA_NUM_TX_QUEUES:
			d.txQueues = number()
		case unix.IFLA_NUM_RX_QUEUES:
			d.rxQueues = number()
		case unix.IFLA_GSO_MAX_SIZE:
			d.gsoMaxSize = number()
		case unix.IFLA_GSO_MAX_SEGS:
			d.gsoMaxSegs = number()
		case unix.IFLA_MASTER:
			d.master = number()
		case unix.IFLA_NEW_NETNSID:
			if !feature.Off(feature.NewNetns) {
				d.newNetnsID, d.hasNewNetns = int(int32(number())), true
			}
		case unix.IFLA_NEW_IFINDEX:
			d.newIndex = number()
		case unix.IFLA_STATS64:
			if len(v) >= 64 {
				for i := range d.stats {
					d.stats[i] = ne.Uint64(v[8*i:])
				}
				d.txDropped = ne.Uint64(v[56:])
			}
		case unix.IFLA_LINKINFO:
			d.parseInfo(v)
		case unix.IFLA_AF_SPEC:
			d.parseFamilies(v)
		}
	}
	if !d.hasAllmulti && d.flags&unix.IFF_ALLMULTI != 0 {
		d.allmulti = 1
	}
	return d, nil
}

func (d *netdev) parseInfo(b []byte) {
	attrs, err := attributesOf(b)
	if err != nil {
		return
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFLA_INFO_KIND:
			d.kind = unix.ByteSliceToString(a.Value)
		case unix.IFLA_INFO_SLAVE_KIND:
			d.slave = unix.ByteSliceToString(a.Value)
		}
	}
}

func (d *netdev) parseFamilies(b []byte) {
	families, err := attributesOf(b)
	if err != nil {
		return
	}
	for _, f := range families {
		if f.Attr.Type&^unix.NLA_F_NESTED != unix.AF_INET6 {
			continue
		}
		attrs, err := attributesOf(f.Value)
		if err != nil {
			return
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.IFLA_INET6_ADDR_GEN_MODE && len(a.Value) > 0 {
				d.addrGenMode = a.Value[0]
			}
		}
	}
}
