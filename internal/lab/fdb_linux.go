package lab

import (
	"context"
	"encoding/binary"
	"net"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// fdb changes a vmac's further addresses.
func (t *take) fdb(c *scenario.Control) (scenario.Answer, error) {
	b, err := t.s.Octets(scenario.Addr(c.Value))
	if err != nil {
		return scenario.Answer{}, err
	}
	a := t.under.fdb(t.where[c.Who], c.Attr, c.Who, b)
	switch mac := classify.MACFrom(b); {
	case !a.OK():
	case c.Attr == scenario.AttrFdbDel && mac.IsGroup():
		t.mayKeep(c.Who, mac)
	default:
		t.madeAnew(c.Who)
	}
	return a, nil
}

func (kernelUnder) secondary(at *space, name string) (unicast, groups []classify.MAC, err error) {
	l, err := at.rt.find(name)
	if err != nil {
		return nil, nil, err
	}
	return at.rt.secondary(l.index)
}

func (kernelUnder) fdb(at *space, op scenario.Attr, name string, mac []byte) scenario.Answer {
	l, err := at.rt.find(name)
	if err != nil {
		return answerOf(err)
	}
	kind, flags := unix.RTM_NEWNEIGH, unix.NLM_F_ACK|unix.NLM_F_CREATE
	switch op {
	case scenario.AttrFdbAdd:
		flags |= unix.NLM_F_EXCL
	case scenario.AttrFdbReplace:
		flags |= unix.NLM_F_REPLACE
	case scenario.AttrFdbDel:
		kind, flags = unix.RTM_DELNEIGH, unix.NLM_F_ACK
	}
	_, err = at.rt.execute(kind, flags, 0, neighbour(l.index), nl.NewRtAttr(unix.NDA_LLADDR, mac))
	return answerOf(err)
}

// neighbour is a struct ndmsg for an address of a device's own, as bridge(8)
// sends it.
type neighbour int

func (neighbour) Len() int { return unix.SizeofNdMsg }

func (n neighbour) Serialize() []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0], b[10] = unix.AF_BRIDGE, unix.NTF_SELF
	binary.NativeEndian.PutUint32(b[4:], uint32(n))
	binary.NativeEndian.PutUint16(b[8:], unix.NUD_NOARP|unix.NUD_PERMANENT)
	return b
}

func (e emulatorUnder) fdb(at *space, op scenario.Attr, name string, mac []byte) scenario.Answer {
	r := control.FdbRequest{Op: string(op), Dev: name, MAC: net.HardwareAddr(mac).String()}
	if op == scenario.AttrFdbDel {
		r.Op = "delete"
	}
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	return answered(e.Engine.Fdb(ctx, r, at.ctl))
}

func (e emulatorUnder) secondary(at *space, name string) (unicast, groups []classify.MAC, err error) {
	list, err := e.Engine.FdbEntries(at.ctl, name)
	for _, entry := range list {
		mac, err := classify.ParseMAC(entry.MAC)
		if err != nil {
			return nil, nil, err
		}
		if mac.IsGroup() {
			groups = append(groups, mac)
		} else {
			unicast = append(unicast, mac)
		}
	}
	return unicast, groups, err
}
