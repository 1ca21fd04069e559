package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
)

// Numbers of linux/pkt_sched.h and linux/pkt_cls.h.
const (
	tcClsact        = 0xffff_fff1 // TC_H_CLSACT
	tcClsactHandle  = 0xffff_0000
	tcIngress       = 0xffff_fff2
	tcEgress        = 0xffff_fff3
	tcaKind         = 1
	tcaOptions      = 2
	tcaBPFFD        = 6
	tcaBPFName      = 7
	tcaBPFFlags     = 8
	tcaBPFID        = 11
	tcaBPFActDirect = 1
	tcmsgLen        = 20
)

// The classifier's name says whose it is, and whether the qdisc is too: both
// outlive a daemon that is killed, though without its map the classifier does
// nothing. The next one that opens the parent removes them, on whatever
// rung it is.
const (
	clsName      = "umacvlan_steal"
	clsNameQdisc = "umacvlan_steal+clsact"
)

// clsPriority is the last that there is: macvlan comes after all of tc too.
const clsPriority = 0xffff

// openCls attaches at clsact, or at the ingress qdisc that is there.
func openCls(dev *net.Interface) (Taker, error) {
	if feature.Off(feature.ClsBPF) {
		return nil, errOff
	}
	b, err := newBPFTaker()
	if err != nil {
		return nil, err
	}
	c, err := attachCls(dev.Index, b.gateProgram)
	if err != nil {
		b.close()
		return nil, err
	}
	b.detach = c.detach
	return b, nil
}

// classifier is a program attached with tc.
type classifier struct {
	nl       *netlinkSocket
	index    int
	priority uint32
	qdisc    bool // made by us
}

// attachCls attaches to the ingress of a device in the namespace of the calling
// thread. It goes when the device does, or moves to another namespace.
func attachCls(index int, p *ebpf.Program) (_ *classifier, err error) {
	nl, err := dialNetlink(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	c := &classifier{nl: nl, index: index, priority: clsPriority}
	defer func() {
		if err != nil {
			nl.close()
		}
	}()
	err = nl.do(c.message(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, tcClsact, tcClsactHandle, 0, nlstring(tcaKind, "clsact")))
	if c.qdisc = err == nil; err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("clsact: %w", err)
	}
	name := clsName
	if c.qdisc {
		name = clsNameQdisc
	}
	for ; ; c.priority-- {
		err = nl.do(c.message(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, tcIngress, 1, c.priority,
			nlstring(tcaKind, "bpf"),
			nlattr(tcaOptions|unix.NLA_F_NESTED, nl32(tcaBPFFD, uint32(p.FD())), nlstring(tcaBPFName, name), nl32(tcaBPFFlags, tcaBPFActDirect))))
		// Another's may have the place, a second daemon's for one.
		if err == nil || c.priority == clsPriority-16 || !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("classifier: %w", err)
		if c.qdisc {
			err = errors.Join(err, c.removeQdisc())
		}
		return nil, err
	}
	return c, nil
}

// message makes a request about the device. info is a filter's priority.
func (c *classifier) message(typ, flags uint16, parent, handle, priority uint32, attrs ...[]byte) message {
	head := make([]byte, tcmsgLen)
	binary.NativeEndian.PutUint32(head[4:], uint32(c.index))
	binary.NativeEndian.PutUint32(head[8:], handle)
	binary.NativeEndian.PutUint32(head[12:], parent)
	if priority != 0 {
		binary.NativeEndian.PutUint32(head[16:], priority<<16|uint32(htons(unix.ETH_P_ALL)))
	}
	return newMessage(typ, flags|unix.NLM_F_ACK, append([][]byte{head}, attrs...)...)
}

func (c *classifier) detach() error {
	err := c.nl.do(c.message(unix.RTM_DELTFILTER, 0, tcIngress, 1, c.priority))
	if err == nil && c.qdisc {
		err = c.removeQdisc()
	}
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		err = nil // with the device, or others have removed it
	}
	return errors.Join(err, c.nl.close())
}

// removeQdisc removes a clsact that nobody else uses.
func (c *classifier) removeQdisc() error {
	for _, parent := range []uint32{tcIngress, tcEgress} {
		others := false
		if err := c.filters(parent, func(filter) { others = true }); err != nil || others {
			return err
		}
	}
	return c.nl.do(c.message(unix.RTM_DELQDISC, 0, tcClsact, tcClsactHandle, 0))
}

// filter is a classifier as tc shows it.
type filter struct {
	handle, priority uint32
	name             string
	program          ebpf.ProgramID
}

func (c *classifier) filters(parent uint32, f func(filter)) error {
	m := c.message(unix.RTM_GETTFILTER, unix.NLM_F_DUMP, parent, 0, 0)
	return c.nl.dump(m, func(b []byte) {
		if len(b) < tcmsgLen || int(binary.NativeEndian.Uint32(b[4:])) != c.index {
			return
		}
		l := filter{handle: binary.NativeEndian.Uint32(b[8:]), priority: binary.NativeEndian.Uint32(b[16:]) >> 16}
		options := attributes(attributes(b[tcmsgLen:])[tcaOptions])
		l.name = string(trimNUL(options[tcaBPFName]))
		if id := options[tcaBPFID]; len(id) == 4 {
			l.program = ebpf.ProgramID(binary.NativeEndian.Uint32(id))
		}
		f(l)
	})
}

func trimNUL(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// removeDead removes what daemons that were killed have left on a device in the
// namespace of the calling thread. Without bpf(2) it can't tell, and leaves it.
func removeDead(index int) error {
	nl, err := dialNetlink(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer nl.close()
	c := &classifier{nl: nl, index: index}
	var dead []filter
	qdisc := false
	err = c.filters(tcIngress, func(f filter) {
		if f.handle != 0 && strings.HasPrefix(f.name, clsName) && gateEmpty(f.program) {
			dead = append(dead, f)
		}
	})
	if noFilters(err) {
		return nil
	}
	for _, f := range dead {
		if e := c.nl.do(c.message(unix.RTM_DELTFILTER, 0, tcIngress, f.handle, f.priority)); !noFilters(e) {
			err = errors.Join(err, e) // else another daemon has removed it meanwhile
		}
		qdisc = qdisc || f.name == clsNameQdisc
	}
	if err == nil && qdisc {
		if err = c.removeQdisc(); noFilters(err) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("remove what an earlier daemon has left: %w", err)
	}
	return nil
}

// noFilters says that err means that there are none: no filter, no qdisc, or a
// kernel without tc's classifiers (CONFIG_NET_CLS).
func noFilters(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

// gateEmpty says that a gate program leads nowhere any more, so that its daemon
// is dead. Where the kernel doesn't tell (before 4.13) it says no.
func gateEmpty(id ebpf.ProgramID) bool {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return false
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return false
	}
	maps, ok := info.MapIDs()
	if !ok || len(maps) != 1 {
		return false
	}
	gate, err := ebpf.NewMapFromID(maps[0])
	if err != nil {
		return false
	}
	defer gate.Close()
	var program uint32
	return gate.Type() == ebpf.ProgramArray && errors.Is(gate.Lookup(uint32(0), &program), ebpf.ErrKeyNotExist)
}
