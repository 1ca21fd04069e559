package tap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hwReq is struct ifreq with a sockaddr in it; unix.Ifreq has no way to an
// address. It is as long as the longest ifreq there is.
type hwReq struct {
	name   [unix.IFNAMSIZ]byte
	family uint16
	addr   [6]byte
	_      [16]byte
}

// hwAddr and setHWAddr ask the queue, not the name: it knows its device in any
// namespace (__tun_chr_ioctl).
func (d *Device) hwAddr() (mac [6]byte, err error) {
	var req hwReq
	if err := d.ioctl(unix.SIOCGIFHWADDR, &req); err != nil {
		return mac, err
	}
	return req.addr, nil
}

func (d *Device) setHWAddr(mac [6]byte) error {
	return d.ioctl(unix.SIOCSIFHWADDR, &hwReq{family: unix.ARPHRD_ETHER, addr: mac})
}

func (d *Device) ioctl(request uintptr, req *hwReq) error { return ioctlHW(d.FD(), request, req) }

func ioctlHW(fd int, request uintptr, req *hwReq) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(req)))
	if errno != 0 {
		return errno
	}
	return nil
}
