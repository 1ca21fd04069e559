package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// flow is one TCP connection whose receiver compares every byte with what was
// sent. It goes on until close.
type flow struct {
	got  atomic.Uint64
	stop atomic.Bool
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
	fds  [2]int // receiver, sender
}

// flowPattern repeats with a prime period, so that neither a lost nor a doubled
// nor a displaced segment goes unseen.
var flowPattern = func() []byte {
	const period = 65521
	p := make([]byte, 2*period)
	x := uint32(1)
	for i := range period {
		x = x*1664525 + 1013904223
		p[i], p[period+i] = byte(x>>24), byte(x>>24)
	}
	return p
}()

// startFlow connects from one namespace to an address of another. rate bounds it
// in bytes a second, 0 does not.
func startFlow(from, to *NS, addr netip.Addr, rate int) (*flow, error) {
	f := &flow{}
	listener, port := -1, 0
	err := to.Do(func() (err error) {
		if listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err = unix.Bind(listener, &unix.SockaddrInet4{Addr: addr.As4()}); err != nil {
			return fmt.Errorf("bind %s: %w", addr, err)
		}
		if err = unix.Listen(listener, 1); err != nil {
			return err
		}
		local, err := unix.Getsockname(listener)
		if err == nil {
			port = local.(*unix.SockaddrInet4).Port
		}
		return err
	})
	defer func() { unix.Close(listener) }()
	if err != nil {
		return nil, err
	}
	patience := &unix.Timeval{Sec: 10}
	err = from.Do(func() (err error) {
		if f.fds[1], err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if rate > 0 {
			if err := unix.SetsockoptUint64(f.fds[1], unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, uint64(rate)); err != nil {
				return err
			}
		}
		if err := unix.SetsockoptTimeval(f.fds[1], unix.SOL_SOCKET, unix.SO_SNDTIMEO, patience); err != nil {
			return err
		}
		return unix.Connect(f.fds[1], &unix.SockaddrInet4{Addr: addr.As4(), Port: port})
	})
	if err == nil {
		if err = unix.SetsockoptTimeval(listener, unix.SOL_SOCKET, unix.SO_RCVTIMEO, patience); err == nil {
			f.fds[0], _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		}
	}
	if err != nil {
		unix.Close(f.fds[1])
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	f.wg.Go(f.send)
	f.wg.Go(f.receive)
	return f, nil
}

func (f *flow) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err)
}

func (f *flow) send() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const period = 65521
	for at := 0; !f.stop.Load(); {
		n, err := unix.Write(f.fds[1], flowPattern[at:at+period])
		if err != nil && !errors.Is(err, unix.EINTR) {
			f.fail(fmt.Errorf("send: %w", err))
			break
		}
		at = (at + max(n, 0)) % period
	}
	unix.Shutdown(f.fds[1], unix.SHUT_WR)
}

func (f *flow) receive() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const period = 65521
	buf := make([]byte, period)
	for at := 0; ; {
		n, err := unix.Read(f.fds[0], buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			f.fail(fmt.Errorf("receive: %w", err))
			return
		case n == 0:
			if !f.stop.Load() {
				f.fail(errors.New("receive: the sender has ended"))
			}
			return
		case !bytes.Equal(buf[:n], flowPattern[at:at+n]):
			f.fail(fmt.Errorf("receive: wrong data within %d bytes behind byte %d", n, f.got.Load()))
			return
		}
		at = (at + n) % period
		f.got.Add(uint64(n))
	}
}

// err is what has gone wrong so far.
func (f *flow) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.errs...)
}

// moves waits until so many bytes more have arrived.
func (f *flow) moves(n uint64) error {
	start := f.got.Load()
	err := poll(20*time.Second, func() (bool, error) { return f.got.Load()-start >= n, f.err() })
	if errors.Is(err, ErrTimeout) {
		return fmt.Errorf("only %d bytes arrived: %w", f.got.Load()-start, err)
	}
	return err
}

// close ends the connection in order and says what has gone wrong with it.
func (f *flow) close() error {
	f.stop.Store(true)
	late := time.AfterFunc(10*time.Second, func() {
		f.fail(errors.New("the connection does not end"))
		unix.Shutdown(f.fds[0], unix.SHUT_RDWR)
		unix.Shutdown(f.fds[1], unix.SHUT_RDWR)
	})
	f.wg.Wait()
	late.Stop()
	unix.Close(f.fds[0])
	unix.Close(f.fds[1])
	return f.err()
}
