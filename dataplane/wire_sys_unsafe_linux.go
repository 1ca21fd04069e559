package dataplane

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendArrays are sendmmsg's arguments, made once per socket.
type sendArrays struct {
	msgs [sendBatch]unix.Mmsghdr
	iovs [sendBatch]unix.Iovec
}

// sendBatch is how many frames one sendmmsg takes.
const sendBatch = 64

// sendmmsg sends at most sendBatch frames, each from its byte skip on, and
// returns how many the kernel took; errno is about the first if that is none.
func (a *sendArrays) sendmmsg(fd int, frames []*Frame, skip int) (int, unix.Errno) {
	frames = frames[:min(len(frames), sendBatch)]
	for i, f := range frames {
		a.iovs[i].Base = unsafe.SliceData(f.Raw[skip:])
		a.iovs[i].SetLen(len(f.Raw) - skip)
		a.msgs[i].Hdr.Iov = &a.iovs[i]
		a.msgs[i].Hdr.SetIovlen(1)
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&a.msgs)), uintptr(len(frames)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// recvArrays are recvmmsg's arguments over an arena of recvBatch buffers.
type recvArrays struct {
	msgs  [recvBatch]unix.Mmsghdr
	iovs  [recvBatch]unix.Iovec
	names [recvBatch]unix.RawSockaddrLinklayer
	ctrls [recvBatch][auxSpace / 8]uint64 // aligned for struct cmsghdr
}

// recvBatch is how many frames one recvmmsg gives at most.
const recvBatch = 64

const auxLen = 20 // sizeof(struct tpacket_auxdata)

// auxSpace is CMSG_SPACE of a struct tpacket_auxdata, the same or more on
// every architecture.
const auxSpace = 40

// receiveInto sets the buffer of message i.
func (a *recvArrays) receiveInto(i int, buf []byte) {
	a.iovs[i].Base = unsafe.SliceData(buf)
	a.iovs[i].SetLen(len(buf))
	h := &a.msgs[i].Hdr
	h.Iov = &a.iovs[i]
	h.SetIovlen(1)
	h.Name = (*byte)(unsafe.Pointer(&a.names[i]))
	h.Control = (*byte)(unsafe.Pointer(&a.ctrls[i]))
}

// recvmmsg receives at most n messages.
func (a *recvArrays) recvmmsg(fd, n int) (int, unix.Errno) {
	for i := range n {
		h := &a.msgs[i].Hdr
		h.Namelen = unix.SizeofSockaddrLinklayer
		h.SetControllen(auxSpace)
		h.Flags = 0
	}
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&a.msgs)), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(r), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// aux returns the auxiliary data of message i, or nil.
func (a *recvArrays) aux(i int) *unix.TpacketAuxdata {
	h := &a.msgs[i].Hdr
	c := (*unix.Cmsghdr)(unsafe.Pointer(&a.ctrls[i]))
	if int(h.Controllen) < unix.CmsgLen(auxLen) ||
		c.Level != unix.SOL_PACKET || c.Type != unix.PACKET_AUXDATA {
		return nil
	}
	return (*unix.TpacketAuxdata)(unsafe.Add(unsafe.Pointer(c), unix.CmsgLen(0)))
}

// recvNow is recv(2) without waiting, which the scheduler need not hear of.
func recvNow(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// pollNow is epoll_wait without waiting, which the scheduler need not hear of.
func pollNow(ep int, events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// boundIndex is getsockname's sll_ifindex; the one of x/sys allocates.
func boundIndex(fd int) (int, error) {
	var sa unix.RawSockaddrLinklayer
	n := uint32(unix.SizeofSockaddrLinklayer)
	_, _, errno := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd),
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0, errno
	}
	return int(sa.Ifindex), nil
}
