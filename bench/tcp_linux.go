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

// sinkOrder tells a TCP receiver where to listen, and how long after the first
// byte to start counting.
type sinkOrder struct {
	Listen netip.AddrPort
	Warmup time.Duration
}

// sinkReport is what arrived: in all, and in the time that counts.
type sinkReport struct {
	Total   uint64
	Counted uint64
	Took    time.Duration
}

// sourceOrder tells a TCP sender where to connect and how long to send.
type sourceOrder struct {
	Connect netip.AddrPort
	Last    time.Duration
}

// sourceReport is what the sender's TCP says at the end (TCP_INFO).
type sourceReport struct {
	Sent        uint64
	Retransmits uint32
	RTT         time.Duration // smoothed, under load
}

// tcpSink receives one connection until its end.
func tcpSink(in *json.Decoder, out *json.Encoder) error {
	var o sinkOrder
	if err := in.Decode(&o); err != nil {
		return err
	}
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := errors.Join(bounded(l), unix.Bind(l, address(o.Listen)), unix.Listen(l, 1)); err != nil {
		return fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	if err := await(in, out); err != nil {
		return err
	}
	fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	if err := bounded(fd); err != nil {
		return err
	}
	runtime.LockOSThread()
	buf := make([]byte, chunk)
	var (
		r           sinkReport
		first, from time.Time
		skipped     uint64
		last        time.Time
	)
	for {
		n, err := rawRead(fd, buf)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if n == 0 {
			break
		}
		last = time.Now()
		if first.IsZero() {
			first = last
		}
		r.Total += uint64(n)
		if from.IsZero() && last.Sub(first) >= o.Warmup {
			from, skipped = last, r.Total
		}
	}
	if r.Total == 0 {
		return errors.New("nothing was received")
	}
	if from.IsZero() || skipped == r.Total { // it stalled when the counting began
		from, skipped = first, 0
	}
	r.Counted, r.Took = r.Total-skipped, time.Since(from)
	return out.Encode(r)
}

// tcpSource sends as fast as it may.
func tcpSource(in *json.Decoder, out *json.Encoder) error {
	var o sourceOrder
	if err := in.Decode(&o); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(bounded(fd), unix.Connect(fd, address(o.Connect))); err != nil {
		return fmt.Errorf("connect to %s: %w", o.Connect, err)
	}
	if err := await(in, out); err != nil {
		return err
	}
	runtime.LockOSThread()
	buf := make([]byte, chunk)
	var r sourceReport
	for end := time.Now().Add(o.Last); time.Now().Before(end); {
		n, err := rawWrite(fd, buf)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		r.Sent += uint64(n)
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return os.NewSyscallError("TCP_INFO", err)
	}
	r.Retransmits, r.RTT = info.Total_retrans, time.Duration(info.Rtt)*time.Microsecond
	if err := unix.Close(fd); err != nil {
		return err
	}
	return out.Encode(r)
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
