package control

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
)

// ifreqMAC is struct ifreq with an ifr_hwaddr.
type ifreqMAC struct {
	name   [unix.IFNAMSIZ]byte
	family uint16 // AF_UNSPEC
	mac    [6]byte
	_      [16]byte
}

// ioctlGroup is SIOCADDMULTI or SIOCDELMULTI in the calling thread's namespace.
func ioctlGroup(name string, m classify.MAC, add bool) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	op := uintptr(unix.SIOCDELMULTI)
	if add {
		op = unix.SIOCADDMULTI
	}
	r := ifreqMAC{mac: m.Bytes()}
	copy(r.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), op, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return errno
	}
	return nil
}
