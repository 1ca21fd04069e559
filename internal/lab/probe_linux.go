package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"golang.org/x/sys/unix"
)

// EtherType is what the lab's own frames carry (a local experimental one, so
// that no stack answers), and MarkerType what the frames carry that tell a
// probe that everything before them has passed.
const (
	EtherType  = 0x88b5
	MarkerType = 0x88b6
)

// Seen is one frame that a Probe saw.
type Seen struct {
	Type  classify.PacketType
	Bytes []byte // as the tap gets it: the outer VLAN tag is in TPID and TCI
	TPID  uint16 // 0 if the kernel stripped no tag
	TCI   uint16
	Index int // of the device that it came in on
}

// Frame returns the whole frame, its VLAN tag put back.
func (s Seen) Frame() []byte {
	if s.TPID == 0 {
		return s.Bytes
	}
	b := append([]byte(nil), s.Bytes[:12]...)
	b = binary.BigEndian.AppendUint16(b, s.TPID)
	b = binary.BigEndian.AppendUint16(b, s.TCI)
	return append(b, s.Bytes[12:]...)
}

// Probe listens at one place: a packet socket and what it has read so far. It
// starts no goroutine; whoever waits (Wait) reads. One goroutine at a time.
type Probe struct {
	Name string
	Seen []Seen
	fd   int
	buf  []byte
	oob  [128]byte
}

// Tap opens a probe that sees everything on the device, in both directions.
func (d *Device) Tap() (*Probe, error) { return d.listen(d.Name, unix.ETH_P_ALL, d.Index) }

// Stack opens a probe that sees what protocol handlers in the device's
// namespace see: frames of one ethertype on any device, after a vmac or a rx
// handler had its chance to take them.
func (d *Device) Stack(ethertype uint16) (*Probe, error) {
	return d.listen(fmt.Sprintf("stack %#x", ethertype), ethertype, 0)
}

func (d *Device) listen(name string, proto uint16, index int) (*Probe, error) {
	fd, err := packetSocket(d.NS, proto, index)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", d.Name, err)
	}
	p := &Probe{Name: name, fd: fd, buf: make([]byte, 1<<17)}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		p.Close()
		return nil, fmt.Errorf("listen on %s: %w", d.Name, err)
	}
	// Room for a flood; FORCE is refused in a user namespace, and the rest is
	// then as good as the machine allows.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
	}
	return p, nil
}

// packetSocket opens a raw packet socket in a namespace; proto 0 receives
// nothing, index 0 is every device.
func packetSocket(ns *NS, proto uint16, index int) (fd int, err error) {
	err = ns.Do(func() error {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(proto), Ifindex: index})
	})
	return fd, err
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// read takes everything that waits in the socket.
func (p *Probe) read() error {
	for {
		n, oobn, flags, from, err := unix.Recvmsg(p.fd, p.buf, p.oob[:], unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
			continue
		case err != nil:
			return fmt.Errorf("probe %s: %w", p.Name, err)
		case flags&unix.MSG_TRUNC != 0:
			return fmt.Errorf("probe %s: a frame of %d bytes was cut", p.Name, n)
		}
		sll, ok := from.(*unix.SockaddrLinklayer)
		if !ok {
			return fmt.Errorf("probe %s: no packet address", p.Name)
		}
		s := Seen{Type: classify.PacketType(sll.Pkttype), Bytes: append([]byte(nil), p.buf[:n]...), Index: sll.Ifindex}
		s.TCI, s.TPID = vlanAux(p.oob[:oobn])
		p.Seen = append(p.Seen, s)
	}
}

// vlanAux reads tpacket_auxdata: status at 0, vlan_tci at 16, vlan_tpid at 18.
func vlanAux(oob []byte) (tci, tpid uint16) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, 0
	}
	for _, m := range msgs {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 {
			continue
		}
		if status := binary.NativeEndian.Uint32(m.Data); status&unix.TP_STATUS_VLAN_VALID != 0 {
			return binary.NativeEndian.Uint16(m.Data[16:]), binary.NativeEndian.Uint16(m.Data[18:])
		}
	}
	return 0, 0
}

// Has reports whether the probe has seen exactly this frame.
func (p *Probe) Has(frame []byte) bool {
	return slices.ContainsFunc(p.Seen, func(s Seen) bool { return bytes.Equal(s.Frame(), frame) })
}

// Reset forgets what has been seen.
func (p *Probe) Reset() { p.Seen = p.Seen[:0] }

// Close ends the probe.
func (p *Probe) Close() error { return unix.Close(p.fd) }

// ErrTimeout says that what Wait waited for did not happen in time.
var ErrTimeout = errors.New("timed out")

// Wait reads from all probes until done says so, or returns ErrTimeout.
func Wait(probes []*Probe, timeout time.Duration, done func() bool) error {
	fds := make([]unix.PollFd, len(probes))
	for i, p := range probes {
		fds[i] = unix.PollFd{Fd: int32(p.fd), Events: unix.POLLIN}
	}
	end := time.Now().Add(timeout)
	for {
		for _, p := range probes {
			if err := p.read(); err != nil {
				return err
			}
		}
		if done() {
			return nil
		}
		left := time.Until(end)
		if left <= 0 {
			return ErrTimeout
		}
		if _, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Injector sends frames from one device as they are.
type Injector struct {
	name string
	fd   int
}

// Inject opens an injector. Its socket receives nothing.
func (d *Device) Inject() (*Injector, error) {
	fd, err := packetSocket(d.NS, 0, d.Index)
	if err != nil {
		return nil, fmt.Errorf("send on %s: %w", d.Name, err)
	}
	return &Injector{d.Name, fd}, nil
}

// Send sends one Ethernet frame. The error unwraps to the errno.
func (i *Injector) Send(frame []byte) error {
	for {
		_, err := unix.Write(i.fd, frame)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EAGAIN):
			fds := []unix.PollFd{{Fd: int32(i.fd), Events: unix.POLLOUT}}
			if _, err := unix.Poll(fds, 1000); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("send on %s: %w", i.name, err)
		}
	}
}

// Join subscribes the device to a group until the injector is closed, as a
// packet socket does: the device's list grows, no IGMP or MLD report is sent.
func (i *Injector) Join(index int, group net.HardwareAddr) error {
	return i.Member(index, unix.PACKET_MR_MULTICAST, group)
}

// Member adds an address to one of the device's lists (PACKET_MR_UNICAST,
// PACKET_MR_MULTICAST) until the injector is closed.
func (i *Injector) Member(index int, list uint16, mac net.HardwareAddr) error {
	m := unix.PacketMreq{Ifindex: int32(index), Type: list, Alen: 6}
	copy(m.Address[:], mac)
	if err := unix.SetsockoptPacketMreq(i.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
		return fmt.Errorf("join %v on %s: %w", mac, i.name, err)
	}
	return nil
}

// Close ends the injector and its group memberships.
func (i *Injector) Close() error { return unix.Close(i.fd) }

// buildFrame makes a frame of the given length, cut short if its headers are
// longer; each tag is TPID<<16 | TCI. The payload tells frames of different seq
// apart.
func buildFrame(dst, src net.HardwareAddr, tags []uint32, etherType uint16, seq uint32, length int) []byte {
	b := append(append([]byte(nil), dst...), src...)
	for _, t := range tags {
		b = binary.BigEndian.AppendUint32(b, t)
	}
	b = binary.BigEndian.AppendUint16(b, etherType)
	b = binary.BigEndian.AppendUint32(b, seq)
	for len(b) < length {
		b = append(b, byte(len(b)*7+int(seq)))
	}
	return b[:length]
}
