package bench

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The traffic programs call the kernel without telling Go's scheduler: they
// have nothing else to run, and its hand-offs would be measured too.

func rawRead(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

func rawWrite(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// volley is the same frame many times over, ready for sendmmsg.
type volley struct {
	msgs  []mmsghdr
	iov   unix.Iovec
	frame []byte
}

func newVolley(frame []byte, n int) *volley {
	v := &volley{msgs: make([]mmsghdr, n), frame: frame}
	v.iov.Base = &v.frame[0]
	v.iov.SetLen(len(frame))
	for i := range v.msgs {
		v.msgs[i].hdr.Iov = &v.iov
		v.msgs[i].hdr.SetIovlen(1)
	}
	return v
}

// send hands the frames to the socket and returns how many it took.
func (v *volley) send(fd int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.msgs[0])), uintptr(len(v.msgs)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
