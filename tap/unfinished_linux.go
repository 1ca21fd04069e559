package tap

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

func unfinished() (map[int]string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list unfinished taps: %w", err)
	}
	list := map[int]string{}
	prefix := strings.TrimSuffix(birthName, "%d")
	for _, i := range all {
		if number, ok := strings.CutPrefix(i.Name, prefix); ok && strings.Trim(number, "0123456789") == "" {
			list[i.Index] = i.Name
		}
	}
	return list, nil
}

func removeUnfinished(seen map[int]string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now, err := unfinished()
	if err != nil {
		return err
	}
	for index, name := range seen {
		if now[index] == name {
			err = errors.Join(err, removeUnattached(name))
		}
	}
	return err
}

// removeUnattached attaches a queue, which only works for a TAP that has none,
// and takes the device along when it closes it.
func removeUnattached(name string) error {
	fd, err := openTun()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	switch err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err {
	case nil:
	case unix.EBUSY, unix.EINVAL: // somebody's after all, or no TAP
		return nil
	default:
		return fmt.Errorf("attach to unfinished tap %s: %w", name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0); err != nil {
		return fmt.Errorf("remove unfinished tap %s: %w", name, err)
	}
	return nil
}
