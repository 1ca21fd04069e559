package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// checksumErrors adds up what the stacks of a namespace have rejected.
func checksumErrors(ns *NS) (n int, err error) {
	err = ns.Do(func() error {
		for _, file := range []string{"snmp", "netstat"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				return err
			}
			var names []string
			for line := range strings.Lines(string(text)) {
				fields := strings.Fields(line)
				if names == nil {
					names = fields
					continue
				}
				for i, name := range names {
					if name == "InCsumErrors" {
						v, err := strconv.Atoi(fields[i])
						if err != nil {
							return fmt.Errorf("%s: %w", file, err)
						}
						n += v
					}
				}
				names = nil
			}
		}
		return nil
	})
	return n, err
}

// watcher looks at the frames that a device receives, as many as it gets to see,
// and finishes the sum of those that the kernel calls finished.
type watcher struct {
	fd      int
	checked atomic.Uint64
	bad     []string // what each wrong one looks like
	stop    atomic.Bool
	wg      sync.WaitGroup
}

func watch(d *Device) (*watcher, error) {
	w := &watcher{}
	err := d.NS.Do(func() (err error) {
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		err = unix.SetsockoptInt(w.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
		if err == nil {
			err = unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: d.Index})
		}
		if err != nil {
			unix.Close(w.fd)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", d.Name, err)
	}
	w.wg.Go(w.run)
	return w, nil
}

func (w *watcher) run() {
	buf, oob := make([]byte, 1<<17), make([]byte, 128)
	for !w.stop.Load() {
		n, oobn, _, from, err := unix.Recvmsg(w.fd, buf, oob, 0)
		if err != nil {
			time.Sleep(time.Millisecond) // what comes meanwhile and doesn't fit is not looked at
			continue
		}
		if sa, ok := from.(*unix.SockaddrLinklayer); !ok || sa.Pkttype == unix.PACKET_OUTGOING || unfinished(oob[:oobn]) {
			continue
		}
		if sum, ok := transportSum(buf[:n]); ok {
			w.checked.Add(1)
			if sum != 0 {
				w.bad = append(w.bad, fmt.Sprintf("%d bytes, ethernet to transport %x, off by %#x", n, buf[:min(n, 60)], sum))
			}
		}
	}
}

// unfinished reads TP_STATUS_CSUMNOTREADY from the auxiliary data.
func unfinished(oob []byte) bool {
	cmsgs, _ := unix.ParseSocketControlMessage(oob)
	for _, c := range cmsgs {
		if c.Header.Level == unix.SOL_PACKET && c.Header.Type == unix.PACKET_AUXDATA && len(c.Data) >= 4 {
			return binary.NativeEndian.Uint32(c.Data)&unix.TP_STATUS_CSUMNOTREADY != 0
		}
	}
	return false
}

// transportSum is 0 for an IPv4 packet with TCP or UDP in it whose checksum is
// right, and not ok for everything else.
func transportSum(frame []byte) (sum uint16, ok bool) {
	if len(frame) < 34 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP {
		return 0, false
	}
	ip := frame[14:]
	header, length := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if header < 20 || length < header || length > len(ip) || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 {
		return 0, false
	}
	proto, segment := ip[9], ip[header:length]
	switch {
	case proto == unix.IPPROTO_TCP && len(segment) >= 20:
	case proto == unix.IPPROTO_UDP && len(segment) >= 8 && binary.BigEndian.Uint16(segment[6:]) != 0:
	default:
		return 0, false
	}
	pseudo := append(append([]byte(nil), ip[12:20]...), 0, proto, byte(len(segment)>>8), byte(len(segment)))
	pseudo = append(pseudo, segment...)
	if len(pseudo)%2 != 0 {
		pseudo = append(pseudo, 0)
	}
	return onesComplement(pseudo), true
}

func (w *watcher) close() error {
	w.stop.Store(true)
	w.wg.Wait()
	unix.Close(w.fd)
	if n := len(w.bad); n > 0 {
		return fmt.Errorf("%d of %d finished checksums are wrong, such as %s", n, w.checked.Load(), w.bad[0])
	}
	return nil
}

// datagrams sends bursts of UDP as one super-frame each until one has arrived
// whole.
func datagrams(from, to *Device, addr [4]byte, size int) error {
	const segment = 103 // UDP_SEGMENT
	const count = 8
	listener, port := -1, 0
	err := to.NS.Do(func() (err error) {
		if listener, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err = unix.Bind(listener, &unix.SockaddrInet4{Addr: addr}); err != nil {
			return err
		}
		local, err := unix.Getsockname(listener)
		if err == nil {
			port = local.(*unix.SockaddrInet4).Port
		}
		return errors.Join(err, unix.SetsockoptTimeval(listener, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300_000}))
	})
	defer func() { unix.Close(listener) }()
	if err != nil {
		return err
	}
	burst := flowPattern[:count*size]
	buf := make([]byte, 1<<16)
	for try := range 20 {
		err := from.NS.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, segment, size); err != nil {
				return err
			}
			to := &unix.SockaddrInet4{Addr: addr, Port: port}
			err = unix.Sendto(fd, burst, 0, to)
			if errors.Is(err, unix.EIO) {
				// UDP_SEGMENT wants a device that sums: then one by one.
				if err = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, segment, 0); err != nil {
					return err
				}
				for i := 0; i < count && err == nil; i++ {
					err = unix.Sendto(fd, burst[i*size:][:size], 0, to)
				}
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("send datagrams: %w", err)
		}
		got := 0
		for got < count {
			n, _, err := unix.Recvfrom(listener, buf, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				break
			}
			if n != size || string(buf[:n]) != string(burst[got*size:][:size]) {
				if try == 0 {
					return fmt.Errorf("datagram %d of a burst has %d bytes, or other ones", got, n)
				}
				continue // of an earlier try
			}
			got++
		}
		if got == count {
			return nil
		}
	}
	return errors.New("no burst of datagrams arrives whole")
}
