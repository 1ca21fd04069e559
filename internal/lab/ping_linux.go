package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// pings numbers the requests, so that a late answer is not taken for another's.
var pings atomic.Uint32

// Ping sends one ICMP echo request from the namespace and returns how long the
// answer took.
func Ping(ns *NS, to netip.Addr, timeout time.Duration) (rtt time.Duration, err error) {
	err = ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		request := []byte{8, 0, 0, 0, 0x0e, 0xc4, 0, 1, 'u', 'm', 'a', 'c', 'v', 'l', 'a', 'n'}
		binary.BigEndian.PutUint16(request[6:], uint16(pings.Add(1)))
		binary.BigEndian.PutUint16(request[2:], onesComplement(request))
		start := time.Now()
		if err := unix.Sendto(fd, request, 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
			return err
		}
		buf := make([]byte, 1500)
		for {
			left := timeout - time.Since(start)
			if left <= 0 {
				return ErrTimeout
			}
			tv := unix.NsecToTimeval(left.Nanoseconds())
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
				return err
			}
			n, from, err := unix.Recvfrom(fd, buf, 0)
			switch {
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				return err
			}
			a, ok := from.(*unix.SockaddrInet4)
			header := int(buf[0]&15) * 4
			if ok && a.Addr == to.As4() && n >= header+8 && buf[header] == 0 && [4]byte(buf[header+4:]) == [4]byte(request[4:]) {
				rtt = time.Since(start)
				return nil
			}
		}
	})
	if err != nil {
		return 0, fmt.Errorf("ping %s: %w", to, err)
	}
	return rtt, nil
}

func onesComplement(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
