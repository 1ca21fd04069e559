package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is how much a TCP program reads or writes at once.
const chunk = 256 << 10

// spot is an address in a namespace.
type spot struct {
	NS   string // path
	Addr netip.AddrPort
}

// sinkOrder tells a TCP receiver where to listen, how many streams will come to
// these in turn, and how long after the first byte to start counting.
type sinkOrder struct {
	Listen  []spot
	Streams int
	Warmup  time.Duration
}

// sinkReport is what arrived: in all, and, per stream, in the time that counts.
type sinkReport struct {
	Total   uint64
	Counted []uint64
	Took    time.Duration
}

// sourceOrder tells a TCP sender where to connect and how long to send.
type sourceOrder struct {
	Connect []netip.AddrPort
	Last    time.Duration
}

// sourceReport is what the sender's TCP says at the end (TCP_INFO).
type sourceReport struct {
	Sent        uint64
	Retransmits uint32
	RTT         time.Duration // smoothed, under load, the mean of all streams
}

// tcpSink receives all streams until their end.
func tcpSink(in *json.Decoder, out *json.Encoder) error {
	var o sinkOrder
	if err := in.Decode(&o); err != nil {
		return err
	}
	var listeners []int
	for _, at := range o.Listen {
		err := within(at.NS, func() error {
			l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			listeners = append(listeners, l)
			return errors.Join(
				unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), bounded(l),
				unix.Bind(l, address(at.Addr)), unix.Listen(l, o.Streams))
		})
		if err != nil {
			return fmt.Errorf("listen on %s: %w", at.Addr, err)
		}
	}
	if err := await(in, out); err != nil {
		return err
	}
	var fds []int
	for i := range o.Streams {
		fd, _, err := unix.Accept4(listeners[i%len(listeners)], unix.SOCK_CLOEXEC)
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if err := bounded(fd); err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	r, err := receiveAll(fds, o.Warmup)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	return out.Encode(r)
}

func receiveAll(fds []int, warmup time.Duration) (r sinkReport, err error) {
	runtime.LockOSThread()
	t, err := newTurns(fds, unix.EPOLLIN)
	if err != nil {
		return r, err
	}
	var (
		buf         = make([]byte, chunk)
		got         = make([]uint64, len(fds))
		skipped     = make([]uint64, len(fds))
		first, from time.Time
		last        time.Time
	)
	for open := len(fds); open > 0; {
		ready, err := t.wait()
		if err != nil {
			return r, err
		}
		for _, i := range ready {
			n, err := rawRead(fds[i], buf)
			if errors.Is(err, unix.EAGAIN) && len(fds) > 1 {
				continue
			}
			if err != nil {
				return r, err
			}
			if n == 0 {
				open--
				if err := t.drop(i); err != nil {
					return r, err
				}
				continue
			}
			last = time.Now()
			if first.IsZero() {
				first = last
			}
			got[i] += uint64(n)
			r.Total += uint64(n)
		}
		if from.IsZero() && last.Sub(first) >= warmup {
			from = last
			copy(skipped, got)
		}
	}
	if r.Total == 0 {
		return r, errors.New("nothing came")
	}
	if from.IsZero() || from.Equal(last) { // it stalled when the counting began
		from, skipped = first, make([]uint64, len(fds))
	}
	for i := range got {
		r.Counted = append(r.Counted, got[i]-skipped[i])
	}
	r.Took = last.Sub(from)
	return r, nil
}

// tcpSource sends as fast as it may.
func tcpSource(in *json.Decoder, out *json.Encoder) error {
	var o sourceOrder
	if err := in.Decode(&o); err != nil {
		return err
	}
	var fds []int
	for _, to := range o.Connect {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(bounded(fd), unix.Connect(fd, address(to))); err != nil {
			return fmt.Errorf("connect to %s: %w", to, err)
		}
		fds = append(fds, fd)
	}
	if err := await(in, out); err != nil {
		return err
	}
	r, err := sendAll(fds, o.Last)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	for _, fd := range fds {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return os.NewSyscallError("TCP_INFO", err)
		}
		r.Retransmits += info.Total_retrans
		r.RTT += time.Duration(info.Rtt) * time.Microsecond / time.Duration(len(fds))
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return out.Encode(r)
}

func sendAll(fds []int, last time.Duration) (r sourceReport, err error) {
	runtime.LockOSThread()
	t, err := newTurns(fds, unix.EPOLLOUT)
	if err != nil {
		return r, err
	}
	buf := make([]byte, chunk)
	for end := time.Now().Add(last); time.Now().Before(end); {
		ready, err := t.wait()
		if err != nil {
			return r, err
		}
		for _, i := range ready {
			n, err := rawWrite(fds[i], buf)
			if errors.Is(err, unix.EAGAIN) && len(fds) > 1 {
				continue
			}
			if err != nil {
				return r, err
			}
			r.Sent += uint64(n)
		}
	}
	return r, nil
}

// turns says which of several sockets to serve next. A single one blocks and
// needs no asking.
type turns struct {
	fds    []int
	poll   int
	ready  []int
	events []unix.EpollEvent
}

func newTurns(fds []int, events uint32) (*turns, error) {
	t := &turns{fds: fds, ready: []int{0}, events: make([]unix.EpollEvent, 64)}
	if len(fds) == 1 {
		return t, nil
	}
	var err error
	if t.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	for i, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, err
		}
		if err := unix.EpollCtl(t.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(i)}); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// wait returns the numbers of the sockets that are ready.
func (t *turns) wait() ([]int, error) {
	if len(t.fds) == 1 {
		return t.ready, nil
	}
	n, err := unix.EpollWait(t.poll, t.events, int(patience.Milliseconds()/2))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, err
	}
	if n == 0 && err == nil {
		return nil, errors.New("all streams have stalled")
	}
	t.ready = t.ready[:0]
	for _, e := range t.events[:max(n, 0)] {
		t.ready = append(t.ready, int(e.Fd))
	}
	return t.ready, nil
}

func (t *turns) drop(i int) error {
	if len(t.fds) == 1 {
		return nil
	}
	return unix.EpollCtl(t.poll, unix.EPOLL_CTL_DEL, t.fds[i], nil)
}

// bounded keeps a stalled connection from holding a process for ever.
func bounded(fd int) error {
	t := unix.NsecToTimeval(patience.Nanoseconds() / 2)
	return errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &t),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &t))
}

func address(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}
