package lab

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
)

// space is a namespace with everything that a player needs in it, opened once:
// closing a packet socket takes the kernel as long as playing a step.
type space struct {
	ns     *NS
	rt     *rtnl
	tap    *Probe            // every device, both directions
	stacks map[uint16]*Probe // protocol handlers, by ethertype
	inject int               // packet socket that hears nothing
	ctl    control.Namespace
}

func newSpace() (_ *space, err error) {
	s := &space{stacks: map[uint16]*Probe{}, inject: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.ns, err = NewNS(); err != nil {
		return nil, err
	}
	for _, which := range []string{"all", "default"} {
		// Where /proc/sys is read-only IPv6 goes on; see noise.
		_ = Sysctl(s.ns, "ipv6/conf/"+which+"/disable_ipv6", "1")
	}
	if s.rt, err = openRtnl(s.ns); err != nil {
		return nil, err
	}
	if s.tap, err = (&Device{Name: "tap", NS: s.ns}).Tap(); err != nil {
		return nil, err
	}
	if s.inject, err = packetSocket(s.ns, 0, 0); err != nil {
		return nil, err
	}
	s.ctl, err = control.OpenNamespace(s.ns.Path())
	return s, err
}

// listen opens probes for protocol handlers of these ethertypes.
func (s *space) listen(types []uint16) error {
	for _, t := range types {
		if s.stacks[t] != nil {
			continue
		}
		p, err := (&Device{NS: s.ns}).Stack(t)
		if err != nil {
			return err
		}
		s.stacks[t] = p
	}
	return nil
}

func (s *space) probes() []*Probe {
	list := []*Probe{s.tap}
	for _, p := range s.stacks {
		list = append(list, p)
	}
	return list
}

// read takes what waits in all sockets.
func (s *space) read() error {
	for _, p := range s.probes() {
		if err := p.read(); err != nil {
			return err
		}
	}
	return nil
}

func (s *space) reset() {
	for _, p := range s.probes() {
		p.Reset()
	}
}

// send sends a frame from a device as it is. EAGAIN is waited out.
func (s *space) send(index int, frame []byte) error {
	for {
		err := unix.Sendto(s.inject, frame, 0, &unix.SockaddrLinklayer{Ifindex: index})
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			fds := []unix.PollFd{{Fd: int32(s.inject), Events: unix.POLLOUT}}
			if _, err := unix.Poll(fds, 1000); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		default:
			return err
		}
	}
}

// membership joins a device to a group, or takes it out again.
func (s *space) membership(index int, group classify.MAC, join bool) error {
	m := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
	group.Put(m.Address[:])
	opt := unix.PACKET_ADD_MEMBERSHIP
	if !join {
		opt = unix.PACKET_DROP_MEMBERSHIP
	}
	return unix.SetsockoptPacketMreq(s.inject, unix.SOL_PACKET, opt, &m)
}

// close gives the namespace up. Each packet socket waits for the kernel's grace
// period, so they do so together.
func (s *space) close() error {
	var wg sync.WaitGroup
	closing := func(fd int) { wg.Go(func() { unix.Close(fd) }) }
	if s.inject >= 0 {
		closing(s.inject)
	}
	if s.tap != nil {
		closing(s.tap.fd)
	}
	for _, p := range s.stacks {
		closing(p.fd)
	}
	wg.Wait()
	if s.rt != nil {
		s.rt.close()
	}
	s.ctl.Close()
	if s.ns == nil {
		return nil
	}
	if err := s.ns.Close(); err != nil {
		return fmt.Errorf("close namespace: %w", err)
	}
	return nil
}
