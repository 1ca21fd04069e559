package tap

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

func (d *Device) name() (string, error) {
	name, err := d.ifname()
	if err != nil {
		return "", fmt.Errorf("get name of tap fd %d: %w", d.FD(), err)
	}
	return name, nil
}

func (d *Device) ifname() (string, error) {
	if d.FD() < 0 {
		return "", net.ErrClosed
	}
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	if err := unix.IoctlIfreq(d.FD(), unix.TUNGETIFF, ifr); err != nil {
		return "", err
	}
	return ifr.Name(), nil
}

func (d *Device) netns() (int, error) {
	fd, err := d.openNetns()
	if err != nil {
		return -1, d.fail("get netns of", err)
	}
	return fd, nil
}

func (d *Device) mac() ([6]byte, error) {
	mac, err := d.hwAddr()
	if err != nil {
		return mac, d.fail("get address of", err)
	}
	return mac, nil
}

func (d *Device) setMAC(mac [6]byte) error {
	if err := d.setHWAddr(mac); err != nil {
		return d.fail("set address of", err)
	}
	return nil
}

func (d *Device) index() (index int, err error) {
	err = d.control("get index of", func(r *route, i int, name string) error {
		index = i
		return nil
	})
	return index, err
}

func (d *Device) mtu() (mtu int, err error) {
	err = d.control("get mtu of", func(r *route, _ int, name string) error {
		mtu, err = r.mtu(name)
		return err
	})
	return mtu, err
}

func (d *Device) setMTU(mtu int) error {
	return d.set("set mtu of", 0, 0, attr32(unix.IFLA_MTU, mtu))
}

func (d *Device) setAlias(alias string) error {
	return d.set("set alias of", 0, 0, attr{unix.IFLA_IFALIAS, []byte(alias)})
}

func (d *Device) setUp(up bool) error {
	return d.set("set up", uint32(btoi(up))*unix.IFF_UP, unix.IFF_UP)
}

func (d *Device) set(op string, flags, change uint32, attrs ...attr) error {
	return d.control(op, func(r *route, index int, _ string) error {
		return r.set(index, flags, change, attrs...)
	})
}

// control runs f with a socket in the namespace that the device is in. A move
// or a rename that comes between makes f miss the device (ENODEV); as long as the
// device exists that is tried again.
func (d *Device) control(op string, f func(r *route, index int, name string) error) error {
	var err error
	for range 10 {
		if err = d.controlOnce(f); !errors.Is(err, unix.ENODEV) {
			break
		}
	}
	if err != nil {
		return d.fail(op, err)
	}
	return nil
}

func (d *Device) controlOnce(f func(r *route, index int, name string) error) error {
	name, err := d.ifname()
	if err != nil {
		return err
	}
	ns, err := d.openNetns()
	if err != nil {
		return err
	}
	r, err := openRouteIn(ns)
	unix.Close(ns)
	if err != nil {
		return err
	}
	defer r.close()
	index, err := r.index(name)
	if err != nil {
		return err
	}
	return f(r, index, name)
}
