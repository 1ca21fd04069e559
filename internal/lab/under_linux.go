package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/control/rules"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// request is one request to the control plane: RTM_NEWLINK or RTM_DELLINK, in
// ip's words. What is nil or empty is not said.
type request struct {
	op      string // add, set or delete
	name    string
	lower   string // name of the lower device
	to      *space
	address []byte
	mtu     *uint32
	up      *bool
	promisc *bool
	multi   *bool // allmulticast
	data    *rules.Data
}

// under is what makes vmacs beneath a player. Names resolve in the space given.
type under interface {
	way() scenario.Way
	do(at *space, r request) scenario.Answer
	// fdb is what "bridge fdb" does to a vmac's further addresses, and lists them.
	fdb(at *space, op scenario.Attr, name string, mac []byte) scenario.Answer
	secondary(at *space, name string) (unicast, groups []classify.MAC, err error)
	// vmacs are those that live in a space, by name.
	vmacs(at *space) (map[string]*link, error)
	// sync makes sure that what has been done to a vmac's device, and to its
	// parent, is known.
	sync(at *space, name string) error
	// pending says what is still under way; nothing: everything that was sent
	// has been dealt with.
	pending() string
	close() error
}

// kernelUnder is the kernel's own driver.
type kernelUnder struct{}

func (kernelUnder) way() scenario.Way         { return scenario.Kernel }
func (kernelUnder) sync(*space, string) error { return nil }
func (kernelUnder) pending() string           { return "" }
func (kernelUnder) close() error              { return nil }

func (kernelUnder) vmacs(at *space) (map[string]*link, error) {
	list, err := at.rt.links()
	m := map[string]*link{}
	for _, l := range list {
		if l.kind == rules.Kind {
			m[l.name] = l
		}
	}
	return m, err
}

func (kernelUnder) do(at *space, r request) scenario.Answer {
	index := 0
	if r.op != "add" {
		l, err := at.rt.find(r.name)
		if err != nil {
			return answerOf(err)
		}
		index = l.index
	}
	if r.op == "delete" {
		return answerOf(at.rt.delete(index))
	}
	var flags, change uint32
	for _, f := range []struct {
		on  *bool
		bit uint32
	}{{r.up, unix.IFF_UP}, {r.promisc, unix.IFF_PROMISC}, {r.multi, unix.IFF_ALLMULTI}} {
		if f.on != nil {
			change |= f.bit
			if *f.on {
				flags |= f.bit
			}
		}
	}
	parts := []nl.NetlinkRequestData{linkMsg(index, flags, change)}
	attr := func(kind int, b []byte) { parts = append(parts, nl.NewRtAttr(kind, b)) }
	nlFlags := unix.NLM_F_ACK
	if r.op == "add" {
		nlFlags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL
		attr(unix.IFLA_IFNAME, nl.ZeroTerminated(r.name))
		switch l, err := at.rt.find(r.lower); {
		case r.lower == "":
		case err != nil: // an index that nobody has
			attr(unix.IFLA_LINK, nl.Uint32Attr(0x7fffff00))
		default:
			attr(unix.IFLA_LINK, nl.Uint32Attr(uint32(l.index)))
		}
	}
	if r.to != nil {
		attr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(r.to.ns.FD())))
	}
	if r.address != nil {
		attr(unix.IFLA_ADDRESS, r.address)
	}
	if r.mtu != nil {
		attr(unix.IFLA_MTU, nl.Uint32Attr(*r.mtu))
	}
	if r.op == "add" || r.data != nil {
		parts = append(parts, linkInfo(r.data))
	}
	_, err := at.rt.execute(unix.RTM_NEWLINK, nlFlags, 0, parts...)
	return answerOf(err)
}

// linkInfo is IFLA_LINKINFO of a macvlan.
func linkInfo(d *rules.Data) *nl.RtAttr {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(rules.Kind))
	if d == nil {
		return info
	}
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	if d.Mode != nil {
		data.AddRtAttr(unix.IFLA_MACVLAN_MODE, nl.Uint32Attr(*d.Mode))
	}
	if d.Flags != nil {
		data.AddRtAttr(unix.IFLA_MACVLAN_FLAGS, nl.Uint16Attr(*d.Flags))
	}
	if d.BCQueueLen != nil {
		data.AddRtAttr(unix.IFLA_MACVLAN_BC_QUEUE_LEN, nl.Uint32Attr(*d.BCQueueLen))
	}
	if d.BCLim != nil {
		data.AddRtAttr(unix.IFLA_MACVLAN_BC_CUTOFF, nl.Uint32Attr(uint32(*d.BCLim)))
	}
	if d.MacaddrMode != nil {
		data.AddRtAttr(unix.IFLA_MACVLAN_MACADDR_MODE, nl.Uint32Attr(*d.MacaddrMode))
	}
	if d.Macaddr != nil {
		data.AddRtAttr(unix.IFLA_MACVLAN_MACADDR, d.Macaddr)
	}
	if len(d.MacaddrData) > 0 {
		list := data.AddRtAttr(unix.IFLA_MACVLAN_MACADDR_DATA, nil)
		for _, m := range d.MacaddrData {
			list.AddRtAttr(unix.IFLA_MACVLAN_MACADDR, m)
		}
	}
	return info
}

// emulatorUnder is control's engine.
type emulatorUnder struct{ *Emulator }

func (emulatorUnder) way() scenario.Way { return scenario.Emulator }
func (e emulatorUnder) close() error    { return e.Emulator.Close() }

func (e emulatorUnder) do(at *space, r request) scenario.Answer {
	q := control.LinkRequest{Op: r.op, Name: r.name, Parent: r.lower, MTU: r.mtu, Up: r.up, Promisc: r.promisc, Allmulti: r.multi}
	if r.op == "add" {
		q.Kind = rules.Kind
	}
	if r.to != nil {
		path := r.to.ns.Path()
		q.ToNetns = &path
	}
	if r.address != nil {
		s := net.HardwareAddr(r.address).String()
		q.Address = &s
	}
	if d := r.data; d != nil {
		q.Kind = rules.Kind
		q.Data = &control.MacvlanData{Mode: d.Mode, Flags: d.Flags, BCQueueLen: d.BCQueueLen, BCLim: d.BCLim, MacaddrMode: d.MacaddrMode}
		if d.Macaddr != nil {
			s := net.HardwareAddr(d.Macaddr).String()
			q.Data.Macaddr = &s
		}
		for _, m := range d.MacaddrData {
			q.Data.MacaddrData = append(q.Data.MacaddrData, net.HardwareAddr(m).String())
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	_, refusal := e.Engine.Link(ctx, q, at.ctl)
	a := answered(refusal)
	if !a.OK() {
		a.Hint = strings.TrimSuffix(r.op+" "+r.name+": "+a.Hint, ": ")
	}
	return a
}

// answered is a refusal in a scenario's words.
func answered(r *control.Refusal) scenario.Answer {
	if r == nil {
		return scenario.Answer{}
	}
	a := scenario.Answer{Errno: errnoName(unix.Errno(r.Errno)), Text: r.Text, Hint: r.Hint}
	if a.Hint == "" && r.Device != "" {
		a.Hint = "no device " + r.Device
	}
	return a
}

// sync is a request that changes nothing: it looks at the device and its parent
// first, and is answered when the data threads know.
func (e emulatorUnder) sync(at *space, name string) error {
	if a := e.do(at, request{op: "set", name: name}); !a.OK() {
		return fmt.Errorf("look at %s: %s %s", name, a.Errno, a.Text)
	}
	return nil
}

func (e emulatorUnder) vmacs(at *space) (map[string]*link, error) {
	links, err := e.Engine.Links(at.ctl)
	m := map[string]*link{}
	for i := range links {
		l, e := linkOf(&links[i])
		m[l.name], err = l, errors.Join(err, e)
	}
	return m, err
}

// linkOf reads what the engine says as if rtnetlink had said it.
func linkOf(c *control.Link) (*link, error) {
	mode, err1 := classify.ParseMode(c.LinkInfo.Data.Mode)
	mac, err2 := classify.ParseMAC(c.Address)
	brd, err3 := classify.ParseMAC(c.Broadcast)
	l := &link{
		index: c.IfIndex, name: c.IfName, kind: rules.Kind, mac: mac, brd: brd, mtu: c.MTU,
		promiscuity: c.Promiscuity, allmulti: c.Allmulti, mode: mode,
		bcQueueLen: c.LinkInfo.Data.BCQueueLen, usedLen: c.LinkInfo.Data.UsedBCQueueLen, bcLim: classify.DefaultBCLim,
		counters: scenario.Counters{
			RxPackets: c.Stats64.Rx.Packets, RxBytes: c.Stats64.Rx.Bytes, RxErrors: c.Stats64.Rx.Errors,
			RxDropped: c.Stats64.Rx.Dropped, Multicast: c.Stats64.Rx.Multicast,
			TxPackets: c.Stats64.Tx.Packets, TxBytes: c.Stats64.Tx.Bytes, TxDropped: c.Stats64.Tx.Dropped,
		},
	}
	for name, bit := range map[string]uint32{
		"UP": unix.IFF_UP, "LOWER_UP": unix.IFF_LOWER_UP | unix.IFF_RUNNING, "PROMISC": unix.IFF_PROMISC, "ALLMULTI": unix.IFF_ALLMULTI,
	} {
		if slices.Contains(c.Flags, name) {
			l.flags |= bit
		}
	}
	if c.LinkInfo.Data.NoPromisc {
		l.modeFlags |= classify.NoPromisc
	}
	if c.LinkInfo.Data.NoDst {
		l.modeFlags |= classify.NoDst
	}
	if lim := c.LinkInfo.Data.BCLim; lim != nil {
		l.bcLim = *lim
	}
	errs := []error{err1, err2, err3}
	for _, m := range c.LinkInfo.Data.MacaddrData {
		mac, err := classify.ParseMAC(m)
		l.list, errs = append(l.list, mac), append(errs, err)
	}
	return l, errors.Join(errs...)
}

// pending asks the ledger: every frame read from the parent and from the vmacs
// has become something, and nothing waits in the broadcast queue.
func (e emulatorUnder) pending() string {
	for _, l := range e.Engine.Ledgers() {
		for _, q := range l.Equations {
			if q.Difference != 0 || q.Name == "copy" && !strings.HasSuffix(q.Text, "in queue 0") {
				return q.Name + ": " + q.Text
			}
		}
	}
	return ""
}
