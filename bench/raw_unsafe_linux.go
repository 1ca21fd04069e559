package bench

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The traffic programs call the kernel without telling Go's scheduler: they
// have nothing else to run, and its hand-offs would be measured too.

func rawRead(fd int, b []byte) (int, error)  { return rawIO(unix.SYS_READ, fd, b) }
func rawWrite(fd int, b []byte) (int, error) { return rawIO(unix.SYS_WRITE, fd, b) }

func rawIO(call uintptr, fd int, b []byte) (int, error) {
	for {
		n, errno := rawOnce(call, fd, b)
		if errno == 0 {
			return n, nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// rawOnce also ends when a signal comes. The scheduler sends one every 10 ms to a
// thread that never lets go, and a socket's timeout begins anew with every call.
func rawOnce(call uintptr, fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// rawReadUntil is rawRead on a socket with a timeout, which returns EAGAIN after end.
func rawReadUntil(end time.Time, fd int, b []byte) (int, error) {
	for {
		n, errno := rawOnce(unix.SYS_READ, fd, b)
		switch {
		case errno == 0:
			return n, nil
		case errno != unix.EINTR:
			return 0, errno
		case time.Now().After(end):
			return 0, unix.EAGAIN
		}
	}
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// volley is a list of frames, ready for sendmmsg.
type volley struct {
	frames [][]byte
	msgs   []mmsghdr
	iovs   []unix.Iovec
}

func newVolley(frames [][]byte) *volley {
	v := &volley{frames: frames, msgs: make([]mmsghdr, len(frames)), iovs: make([]unix.Iovec, len(frames))}
	for i, f := range frames {
		v.iovs[i].Base = &f[0]
		v.iovs[i].SetLen(len(f))
		v.msgs[i].hdr.Iov = &v.iovs[i]
		v.msgs[i].hdr.SetIovlen(1)
	}
	return v
}

// send hands the socket n frames, the first of which is number from, and
// returns how many it took.
func (v *volley) send(fd, from, n int) (int, error) {
	msgs := v.msgs[from : from+n]
	took, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(n), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(took), nil
}
