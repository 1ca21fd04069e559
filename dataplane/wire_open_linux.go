package dataplane

import (
	"errors"
	"fmt"
	"net"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// Backends of a Wire on a real parent.
const (
	BackendAuto = "auto" // the first of the others that works
	BackendRing = "ring" // TPACKET_V2, large frames by the socket's queue
	BackendMmsg = "mmsg" // recvmmsg
)

// WireOptions of a Wire on a real parent; the zero value is the default.
type WireOptions struct {
	// Backend forces one of the backends. Empty is BackendAuto: the ring, and mmsg where
	// there can be none.
	Backend string

	// NoHeader opens the socket without PACKET_VNET_HDR: no offloads.
	NoHeader bool

	// Slots is how many frames the ring holds, a power of two; 0 means
	// defaultSlots.
	Slots int

	// ReceiveBuffer is the socket's receive buffer in bytes; 0 means
	// defaultReceiveBuffer. Less than minReceiveBuffer makes the ring use slots
	// that hold any frame.
	ReceiveBuffer int

	// Waking says how Recv waits; empty is WakingYield.
	Waking string

	hearOutgoing bool // as a kernel without PACKET_IGNORE_OUTGOING; for tests
}

const (
	// 4096 frames are 7 ms of the highest rate that has been seen on one
	// core, longer than the reader is ever kept from running.
	defaultSlots = 4096

	// With the default of 208 KiB, super-frames were cut as soon as three
	// were waiting.
	defaultReceiveBuffer = 16 << 20
	minReceiveBuffer     = 2 << 20

	// What may wait in the parent's queue before Send says EAGAIN: the kernel
	// doubles it. Half a mebibyte is 4 ms at 1 Gbit/s, and less than any qdisc
	// drops at; the default holds three GSO frames.
	sendBuffer = 256 << 10
)

// Open opens the parent called name, in the network namespace of the calling
// thread. Until the first Program it receives group frames. why says which
// backend was chosen, and what kept it from a better one.
func Open(name string, o WireOptions) (w Wire, why string, err error) {
	switch o.Backend {
	case BackendRing:
		w, err = OpenRing(name, o)
		return w, BackendRing, err
	case BackendMmsg:
		w, err = OpenMmsg(name, o)
		return w, BackendMmsg, err
	case "", BackendAuto:
	default:
		return nil, "", fmt.Errorf("open %s: no backend %q", name, o.Backend)
	}
	w, ringErr := OpenRing(name, o)
	if ringErr == nil {
		return w, BackendRing, nil
	}
	w, err = OpenMmsg(name, o)
	if err != nil {
		return nil, "", err
	}
	return w, fmt.Sprintf("%s (no ring: %v)", BackendMmsg, ringErr), nil
}

// OpenRing opens the parent with a TPACKET_V2 ring.
func OpenRing(name string, o WireOptions) (Wire, error) {
	s, err := openSocket(name, o)
	if err != nil {
		return nil, err
	}
	r, err := newRingWire(s, o)
	if err == nil {
		err = s.start()
	}
	if err != nil {
		if r != nil {
			r.unmap()
		}
		s.closeFDs()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return r, nil
}

// OpenMmsg opens the parent without a ring.
func OpenMmsg(name string, o WireOptions) (Wire, error) {
	s, err := openSocket(name, o)
	if err != nil {
		return nil, err
	}
	m, err := newMmsgWire(s)
	if err == nil {
		err = s.start()
	}
	if err != nil {
		s.closeFDs()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return m, nil
}

// openSocket makes a socket that is bound to the parent with protocol 0: until
// start nothing arrives, so no frame gets in before everything is set.
func openSocket(name string, o WireOptions) (*socket, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	c, err := packet.Listen(ifi, packet.Raw, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	// The runtime's poller would be woken for every frame, in vain, as Recv
	// waits in poll(2); a duplicate is not registered with it.
	fd, err := dupFD(c)
	c.Close()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	s := &socket{fd: fd, wake: wake, name: name, ifindex: ifi.Index, mtu: ifi.MTU, turns: turns{off: o.Waking == WakingSleep}}
	if err := s.setOptions(o); err != nil {
		s.closeFDs()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return s, nil
}

func dupFD(c *packet.Conn) (int, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	dup := -1
	var dupErr error
	err = rc.Control(func(fd uintptr) {
		dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	return dup, errors.Join(err, dupErr)
}

// setOptions sets what must be set before there is a ring.
func (s *socket) setOptions(o WireOptions) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return fmt.Errorf("PACKET_VERSION: %w", err)
	}
	// Without it the filter drops them.
	s.dropOutgoing = o.hearOutgoing || !s.want(feature.IgnoreOutgoing, unix.PACKET_IGNORE_OUTGOING)
	s.offload = !o.NoHeader && s.want(feature.VnetHdr, unix.PACKET_VNET_HDR)
	if !s.offload {
		s.skip = vnet.HdrLen
	}
	want := o.ReceiveBuffer
	if want == 0 {
		want = defaultReceiveBuffer
	}
	// EPERM in a user namespace, where rmem_max bounds it.
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, want) != nil {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, want); err != nil {
			return fmt.Errorf("SO_RCVBUF: %w", err)
		}
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer); err != nil {
			return fmt.Errorf("SO_SNDBUF: %w", err)
		}
	}
	s.filter = newFilterSet(&classify.Addresses{})
	return s.attach(s.filter)
}

// want sets an option that older kernels don't have.
func (s *socket) want(n feature.Name, option int) bool {
	if feature.Off(n) {
		return false
	}
	err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, option, 1)
	feature.Note(n, err)
	return err == nil
}

// start lets frames in.
func (s *socket) start() error {
	return unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: s.ifindex})
}

// htons returns v in network byte order, as a sockaddr_ll wants it.
func htons(v uint16) uint16 {
	if nativeIsBig {
		return v
	}
	return v<<8 | v>>8
}
