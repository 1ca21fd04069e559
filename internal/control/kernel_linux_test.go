package control_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// Attributes of kind macvlan.
const (
	attrMode = iota + 1
	attrFlags
	attrMacaddrMode
	attrMacaddr
	attrMacaddrData
	attrMacaddrCount
	attrBCQueueLen
	attrBCQueueLenUsed
	attrBCLim
)

// askKernel makes of a request the RTM_NEWLINK or RTM_DELLINK that ip would, and
// returns the kernel's answer.
func askKernel(ns *lab.NS, r control.LinkRequest) (errno syscall.Errno, text string) {
	err := ns.Do(func() error {
		s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer s.Close()
		s.SetExtAck(true)
		kind, flags := unix.RTM_NEWLINK, unix.NLM_F_ACK
		switch r.Op {
		case "add":
			flags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL
		case "replace":
			flags |= unix.NLM_F_CREATE | unix.NLM_F_REPLACE
		case "delete":
			kind = unix.RTM_DELLINK
		}
		req := nl.NewNetlinkRequest(kind, flags)
		req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}
		m := nl.NewIfInfomsg(unix.AF_UNSPEC)
		if r.Up != nil {
			m.Change |= unix.IFF_UP
			if *r.Up {
				m.Flags |= unix.IFF_UP
			}
		}
		req.AddData(m)
		attr := func(kind int, b []byte) { req.AddData(nl.NewRtAttr(kind, b)) }
		if r.Name != "" {
			if r.Op == "set" || r.Op == "delete" {
				l, err := netlink.LinkByName(r.Name)
				if err != nil {
					return unix.ENODEV
				}
				m.Index = int32(l.Attrs().Index)
			} else {
				attr(unix.IFLA_IFNAME, nl.ZeroTerminated(r.Name))
			}
		}
		if r.NewName != nil {
			attr(unix.IFLA_IFNAME, nl.ZeroTerminated(*r.NewName))
		}
		if r.Parent != "" {
			l, err := netlink.LinkByName(r.Parent)
			index := 9999
			if err == nil {
				index = l.Attrs().Index
			}
			attr(unix.IFLA_LINK, nl.Uint32Attr(uint32(index)))
		}
		if r.Address != nil {
			attr(unix.IFLA_ADDRESS, octets(*r.Address))
		}
		if r.MTU != nil {
			attr(unix.IFLA_MTU, nl.Uint32Attr(*r.MTU))
		}
		if r.Kind != "" {
			info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
			info.AddRtAttr(unix.IFLA_INFO_KIND, nl.NonZeroTerminated(r.Kind))
			if r.Data != nil {
				addData(info.AddRtAttr(unix.IFLA_INFO_DATA, nil), r.Data)
			}
			req.AddData(info)
		}
		_, err = req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
	if err == nil {
		return 0, ""
	}
	if !errors.As(err, &errno) {
		return unix.EIO, err.Error()
	}
	text, _ = strings.CutPrefix(err.Error(), errno.Error()+": ")
	if text == errno.Error() {
		text = ""
	}
	return errno, text
}

func octets(s string) (b []byte) {
	for _, o := range strings.Split(s, ":") {
		var v byte
		fmt.Sscanf(o, "%x", &v)
		b = append(b, v)
	}
	return b
}

func addData(to *nl.RtAttr, d *control.MacvlanData) {
	if d.Mode != nil {
		to.AddRtAttr(attrMode, nl.Uint32Attr(*d.Mode))
	}
	if d.Flags != nil {
		to.AddRtAttr(attrFlags, nl.Uint16Attr(*d.Flags))
	}
	if d.BCQueueLen != nil {
		to.AddRtAttr(attrBCQueueLen, nl.Uint32Attr(*d.BCQueueLen))
	}
	if d.BCLim != nil {
		to.AddRtAttr(attrBCLim, nl.Uint32Attr(uint32(*d.BCLim)))
	}
	if d.MacaddrMode != nil {
		to.AddRtAttr(attrMacaddrMode, nl.Uint32Attr(*d.MacaddrMode))
	}
	if d.Macaddr != nil {
		to.AddRtAttr(attrMacaddr, octets(*d.Macaddr))
	}
	if len(d.MacaddrData) > 0 {
		nest := to.AddRtAttr(attrMacaddrData, nil)
		for _, m := range d.MacaddrData {
			nest.AddRtAttr(attrMacaddr, octets(m))
		}
	}
}

// kernelLooks is what the kernel dumps of its macvlans, by name, in our words.
func kernelLooks(ns *lab.NS) map[string]string {
	m := map[string]string{}
	ns.Do(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
		for _, msg := range msgs {
			ifi := nl.DeserializeIfInfomsg(msg)
			attrs, _ := nl.ParseRouteAttrAsMap(msg[ifi.Len():])
			info, _ := nl.ParseRouteAttrAsMap(attrs[unix.IFLA_LINKINFO].Value)
			if unix.ByteSliceToString(info[unix.IFLA_INFO_KIND].Value) != "macvlan" {
				continue
			}
			data, _ := nl.ParseRouteAttrAsMap(info[unix.IFLA_INFO_DATA].Value)
			name := unix.ByteSliceToString(attrs[unix.IFLA_IFNAME].Value)
			m[name] = look(data, attrs, ifi.Flags&unix.IFF_UP != 0)
		}
		return err
	})
	return m
}

func look(data, attrs map[uint16]syscall.NetlinkRouteAttr, up bool) string {
	ne := binary.NativeEndian
	var i control.InfoData
	mode := classify.Mode(ne.Uint32(data[attrMode].Value))
	i.Mode = mode.String()
	flags := ne.Uint16(data[attrFlags].Value)
	i.NoPromisc, i.NoDst = flags&1 != 0, flags&2 != 0
	i.BCQueueLen, i.UsedBCQueueLen = ne.Uint32(data[attrBCQueueLen].Value), ne.Uint32(data[attrBCQueueLenUsed].Value)
	if a, ok := data[attrBCLim]; ok {
		lim := int32(ne.Uint32(a.Value))
		i.BCLim = &lim
	}
	if mode == classify.Source {
		n := int(ne.Uint32(data[attrMacaddrCount].Value))
		i.MacaddrCount = &n
		list, _ := nl.ParseRouteAttr(data[attrMacaddrData].Value)
		for _, a := range list {
			i.MacaddrData = append(i.MacaddrData, net.HardwareAddr(a.Value).String())
		}
	}
	return looks(i, net.HardwareAddr(attrs[unix.IFLA_ADDRESS].Value).String(), int(ne.Uint32(attrs[unix.IFLA_MTU].Value)), up)
}

func looks(i control.InfoData, mac string, mtu int, up bool) string {
	b, _ := json.Marshal(i)
	return fmt.Sprintf("%s %s mtu %d up %v", b, mac, mtu, up)
}

// The same requests, one after the other, to the kernel's macvlan and to the
// engine: the same answers, and the same devices after each.
func TestSameAsKernel(t *testing.T) {
	lab.Need(t, lab.NeedMacvlan)
	b := newBed(t)
	kernel, err := lab.NewTopology(lab.Kernel(), lab.Options{})
	b.must(err)
	t.Cleanup(func() { kernel.Close() })

	const A, B, C = "02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:01:03"
	const parent = "02:00:00:00:00:0a"
	type req = control.LinkRequest
	add := func(name, mac string, d *control.MacvlanData) req {
		return req{Op: "add", Name: name, Parent: "va", Kind: "macvlan", Address: &mac, Data: d}
	}
	change := func(name string, d *control.MacvlanData) req {
		return req{Op: "set", Name: name, Kind: "macvlan", Data: d}
	}
	list := func(mode uint32, op *uint32, one string, many ...string) *control.MacvlanData {
		d := &control.MacvlanData{MacaddrMode: op, MacaddrData: many}
		if mode != 0 {
			d.Mode = &mode
		}
		if one != "" {
			d.Macaddr = &one
		}
		return d
	}
	up := func(name string, on bool) req { return req{Op: "set", Name: name, Up: &on} }
	mac := func(name, m string) req { return req{Op: "set", Name: name, Address: &m} }
	mtu := func(name string, n uint32) req { return req{Op: "set", Name: name, MTU: &n} }
	del := func(name string) req { return req{Op: "delete", Name: name} }
	addOp, delOp, flushOp, setOp, badOp := ptr(uint32(0)), ptr(uint32(1)), ptr(uint32(2)), ptr(uint32(3)), ptr(uint32(4))

	for i, r := range []req{
		// Refusals of a new link.
		{Op: "add", Name: "x", Kind: "macvlan"},
		{Op: "add", Name: "x", Kind: "macvlan", Parent: "nope"},
		{Op: "add", Name: "x", Kind: "macvlan", Parent: "lo"},
		{Op: "add", Name: "x", Kind: "nonsense", Parent: "va"},
		add("x", A, data(0)), add("x", A, data(3)), add("x", A, data(32)),
		add("x", A, &control.MacvlanData{Flags: ptr(uint16(4))}),
		add("x", "00:00:00:00:00:00", nil), add("x", "01:00:5e:00:00:01", nil), add("x", "ff:ff:ff:ff:ff:ff", nil),
		add("x", "02:00:00:00:01", nil), add("x", "02:00:00:00:00:00:00:01", nil),
		{Op: "add", Name: "x", Parent: "va", Kind: "macvlan", MTU: ptr(uint32(1501))},
		{Op: "add", Name: "x", Parent: "va", Kind: "macvlan", MTU: ptr(uint32(67))},
		{Op: "add", Name: "x", Parent: "va", Kind: "macvlan", MTU: ptr(uint32(65536))},
		add("x", A, list(0, addOp, B)), add("x", A, list(4, flushOp, "")), add("x", A, list(16, badOp, "")),
		add("x", A, list(16, addOp, "")), add("x", A, list(16, setOp, "", B, "01:00:00:00:00:01")),
		add("x", A, list(0, nil, "01:00:00:00:00:01")), add("x", A, list(0, nil, "02:00")),
		add("x", parent, nil), {Op: "set", Name: "x", Up: ptr(true)}, del("x"),
		{Op: "add", Name: "x", Parent: "va", Kind: "macvlan", Address: ptr(parent), Up: ptr(true)},
		{Op: "set", Name: "x", Up: ptr(true)},

		// Rows 180 to 183.
		add("a", A, data(4)), add("b", A, data(1)), add("a", B, nil),
		{Op: "replace", Name: "a", Parent: "va", Kind: "macvlan"},
		up("a", true), up("b", true), up("a", false), up("b", true), mac("a", parent), mac("a", A), mac("a", B), up("a", true),
		mac("b", B), mac("b", C), mac("a", C), mac("b", "00:00:00:00:00:00"), mac("b", "ff:ff:ff:ff:ff:ff"), mac("b", "02:00"),
		mac("b", "02:00:00:00:01:07:09:09"), mac("b", A), mac("b", parent),

		// Rows 186, 188: modes.
		add("p", C, data(8)), change("a", data(8)), change("a", data(1)), change("a", data(2)), change("a", data(16)), change("a", data(4)),
		change("a", data(5)), change("a", &control.MacvlanData{Flags: ptr(uint16(3))}), change("a", &control.MacvlanData{Flags: ptr(uint16(0))}),
		{Op: "set", Name: "a", Kind: "nonsense"},
		{Op: "set", Name: "a", Kind: "vxlan", Data: &control.MacvlanData{}}, {Op: "set", Name: "a", Kind: "nonsense", Data: data(4)},
		// Rows 189 to 191.
		add("s", C, list(16, setOp, A, B, C)), change("s", list(0, addOp, A)), change("s", list(0, addOp, parent)),
		change("s", list(0, delOp, B)), change("s", list(0, delOp, B)), change("s", list(0, delOp, "")),
		change("s", list(0, setOp, "", B, "00:00:00:00:00:00")), change("s", list(0, setOp, "", C, B)),
		change("s", data(4)), change("s", data(16)), change("s", list(0, setOp, A)), change("s", list(0, setOp, "")),
		change("b", list(16, addOp, C)), change("b", list(4, addOp, A)), change("b", list(0, flushOp, "")), change("b", list(0, nil, A)),
		change("s", list(0, setOp, "", "02:00:00:00:0e:01", "02:00:00:00:0e:02", "02:00:00:00:0e:03", "02:11:22:33:44:55")),
		// What stands before a refused attribute stays.
		change("b", &control.MacvlanData{Mode: ptr(uint32(2)), Flags: ptr(uint16(2)), BCQueueLen: ptr(uint32(7)), BCLim: ptr(int32(3)), MacaddrMode: addOp}),
		change("b", &control.MacvlanData{Mode: ptr(uint32(8)), BCQueueLen: ptr(uint32(9))}),
		// The queue.
		change("a", &control.MacvlanData{BCQueueLen: ptr(uint32(5000)), BCLim: ptr(int32(-1))}),
		change("a", &control.MacvlanData{BCQueueLen: ptr(uint32(0)), BCLim: ptr(int32(1))}),
		add("q", "02:00:00:00:01:0f", &control.MacvlanData{BCQueueLen: ptr(^uint32(0)), BCLim: ptr(int32(-5))}), del("q"),

		// Row 193.
		mtu("a", 1501), mtu("a", 67), mtu("a", 65536), mtu("a", 1400), mtu("a", 68), mtu("a", 1500),
		// On top of a vmac.
		{Op: "add", Name: "t", Parent: "a", Kind: "macvlan", Address: ptr("02:00:00:00:01:10"), MTU: ptr(uint32(1300))},
		{Op: "add", Name: "u", Parent: "a", Kind: "macvlan", Data: data(8)},
		del("a"), del("b"), del("s"), del("t"), del("a"),
		// Passthru.
		add("p", C, data(8)), add("x", A, data(8)), add("x", A, data(4)), {Op: "add", Name: "x", Parent: "p", Kind: "macvlan"},
		change("p", data(8)), change("p", data(4)), change("p", &control.MacvlanData{Flags: ptr(uint16(1))}),
		mac("p", A), up("p", true), mac("p", B), mac("p", "01:00:00:00:00:01"), up("p", false), del("p"),
		add("x", parent, nil), del("x"),
	} {
		t.Run(fmt.Sprintf("%d-%s-%s", i, r.Op, r.Name), func(t *testing.T) {
			wantErrno, wantText := askKernel(kernel.Parent.NS, r)
			_, refusal := b.ask(b.Parent.NS, r)
			var errno syscall.Errno
			var text string
			if refusal != nil {
				errno, text = syscall.Errno(refusal.Errno), refusal.Text
			}
			js, _ := json.Marshal(r)
			if errno != wantErrno || text != strings.TrimSuffix(wantText, ".") {
				t.Errorf("%s: %q %q, the kernel says %q %q", js, error(errno), text, error(wantErrno), wantText)
			}
			want := kernelLooks(kernel.Parent.NS)
			got := map[string]string{}
			for _, l := range b.links(b.Parent.NS) {
				up := false
				for _, f := range l.Flags {
					up = up || f == "UP"
				}
				got[l.IfName] = looks(l.LinkInfo.Data, l.Address, l.MTU, up)
			}
			for name := range union(got, want) {
				if got[name] != want[name] {
					t.Errorf("after %s\n%s is  %s\nkernel: %s", js, name, got[name], want[name])
				}
			}
			if g, w := attrs(b.Parent.NS, "va").HardwareAddr.String(), attrs(kernel.Parent.NS, "va").HardwareAddr.String(); g != w {
				t.Errorf("after %s the parent has %s, the kernel's %s", js, g, w)
			}
		})
	}
}

func union(a, b map[string]string) map[string]bool {
	u := map[string]bool{}
	for k := range a {
		u[k] = true
	}
	for k := range b {
		u[k] = true
	}
	return u
}
