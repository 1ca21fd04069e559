package dataplane

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// poller tells the transmit loop which children have frames. It is a plain
// epoll in a blocking system call: one wake-up per burst, without a detour over
// the Go runtime's own poller.
type poller struct {
	ep, ev int // the epoll set, and an eventfd that ends a wait
	events [64]unix.EpollEvent
	turns  turns
}

const wakeSlot = -1

func newPoller(waking string) (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &poller{ep: ep, ev: ev, turns: turns{off: waking == WakingSleep}}
	if err := p.add(ev, wakeSlot, 0); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// add has events of fd reported with its slot and the serial number of who has
// that slot now.
func (p *poller) add(fd int, slot, serial int32) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: slot, Pad: serial}
	if err := unix.EpollCtl(p.ep, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// remove takes fd out of the set. It is not an error if it isn't in it: the
// loop removes a descriptor itself when its device is gone.
func (p *poller) remove(fd int) { unix.EpollCtl(p.ep, unix.EPOLL_CTL_DEL, fd, nil) }

// wait blocks until a child is ready or wake was called. ready is called with
// each child's slot, and whether the device is gone.
func (p *poller) wait() (n int, err error) {
	for p.turns.begin(); p.turns.give(); {
		if n = pollNow(p.ep, p.events[:]); n > 0 {
			return n, nil
		}
	}
	for {
		n, err = unix.EpollWait(p.ep, p.events[:], -1)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// event returns the i-th of the last wait.
func (p *poller) event(i int) (slot, serial int32, gone bool) {
	e := &p.events[i]
	return e.Fd, e.Pad, e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 && e.Events&unix.EPOLLIN == 0
}

// wake ends every wait from now on.
func (p *poller) wake() { unix.Write(p.ev, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (p *poller) close() error {
	unix.Close(p.ev)
	return unix.Close(p.ep)
}
