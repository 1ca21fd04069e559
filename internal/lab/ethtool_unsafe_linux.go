package lab

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

type ethtoolValue struct{ cmd, data uint32 }

type ifreqPtr struct {
	name [unix.IFNAMSIZ]byte
	ptr  unsafe.Pointer
	_    [16]byte
}

// ETHTOOL_SFLAGS bits (linux/ethtool.h).
const ethFlagVLAN = 1<<7 | 1<<8 // ETH_FLAG_TXVLAN, ETH_FLAG_RXVLAN

// SetOffloads turns checksum, segmentation, merging and VLAN offload on or off,
// as "ethtool -K" does. What the device cannot change stays as it is.
func (d *Device) SetOffloads(on bool) error {
	var v, flags uint32
	if on {
		v, flags = 1, ethFlagVLAN
	}
	return d.NS.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, e := range []ethtoolValue{
			{unix.ETHTOOL_STXCSUM, v}, {unix.ETHTOOL_SRXCSUM, v}, {unix.ETHTOOL_SSG, v},
			{unix.ETHTOOL_STSO, v}, {unix.ETHTOOL_SGSO, v}, {unix.ETHTOOL_SGRO, v},
			{unix.ETHTOOL_SFLAGS, flags},
		} {
			req := ifreqPtr{ptr: unsafe.Pointer(&e)}
			copy(req.name[:unix.IFNAMSIZ-1], d.Name)
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
			if errno != 0 && !errors.Is(errno, unix.EOPNOTSUPP) && !errors.Is(errno, unix.EINVAL) {
				return fmt.Errorf("offloads of %s (command %#x): %w", d.Name, e.cmd, errno)
			}
		}
		return nil
	})
}
