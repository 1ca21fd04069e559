package tap

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

const minRaw = vnet.HdrLen + 14

func fromFD(fd int, plain bool) (*Device, error) {
	fail := func(err error) (*Device, error) {
		return nil, fmt.Errorf("adopt tap fd %d: %w", fd, err)
	}
	d := newDevice(fd, plain)
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return fail(err)
	}
	switch err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); {
	case err == nil:
		const kind = unix.IFF_TAP | unix.IFF_NO_PI
		flags := ifr.Uint16()
		if flags&kind != kind || (flags&unix.IFF_VNET_HDR == 0) != plain {
			return fail(unix.EINVAL)
		}
		d.setOffloads()
	case !errors.Is(err, unix.ENOTTY):
		return fail(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fail(err)
	}
	unix.CloseOnExec(fd)
	return d, nil
}

func newDevice(fd int, plain bool) *Device {
	d := &Device{plain: plain}
	d.fd.Store(int64(fd))
	return d
}

func (d *Device) read(raw []byte) (int, error) {
	fd := int(d.fd.Load())
	if fd < 0 {
		return 0, net.ErrClosed
	}
	if len(raw) < minRaw {
		return 0, unix.EINVAL
	}
	skip := 0
	if d.plain {
		skip = vnet.HdrLen
		clear(raw[:skip])
	}
	n, err := readNow(fd, raw[skip:])
	switch {
	case err != nil:
		return 0, err
	case skip+n < vnet.HdrLen || n == 0: // the other end of a socketpair has been closed
		return 0, unix.EBADFD
	}
	if d.tally != nil {
		d.tally.reads.Add(1)
	}
	return skip + n, nil
}

func (d *Device) write(raw []byte) error {
	fd := int(d.fd.Load())
	if fd < 0 {
		return net.ErrClosed
	}
	if len(raw) < minRaw {
		return unix.EINVAL
	}
	if d.plain {
		if raw[0]&vnet.FlagNeedsCsum != 0 || raw[1] != vnet.GSONone {
			return unix.EINVAL
		}
		raw = raw[vnet.HdrLen:]
	}
	_, err := writeNow(fd, raw)
	if err == nil && d.tally != nil {
		d.tally.writes.Add(1)
	}
	return err
}

// offloadLadder is tried from the top: a kernel refuses the whole set with
// EINVAL for one bit that it does not know (USO came with 6.2).
var offloadLadder = []uint{
	unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN | unix.TUN_F_USO4 | unix.TUN_F_USO6,
	unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN,
	unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6,
	unix.TUN_F_CSUM,
}

// setOffloads leaves d.offloads 0 if the kernel knows none: then frames come
// finished, which is slower and just as right.
func (d *Device) setOffloads() {
	if d.plain {
		return
	}
	const uso = unix.TUN_F_USO4 | unix.TUN_F_USO6
	for _, set := range offloadLadder {
		if set&uso != 0 && feature.Off(feature.USO) {
			continue
		}
		err := unix.IoctlSetInt(d.FD(), unix.TUNSETOFFLOAD, int(set))
		if set&uso != 0 {
			feature.Note(feature.USO, err)
		}
		if err == nil {
			d.offloads = set
			return
		}
	}
}

func (d *Device) offloadNames() []string {
	var names []string
	for _, o := range []struct {
		bit  uint
		name string
	}{
		{unix.TUN_F_CSUM, "csum"},
		{unix.TUN_F_TSO4, "tso4"},
		{unix.TUN_F_TSO6, "tso6"},
		{unix.TUN_F_TSO_ECN, "tso-ecn"},
		{unix.TUN_F_USO4, "uso4"},
		{unix.TUN_F_USO6, "uso6"},
	} {
		if d.offloads&o.bit != 0 {
			names = append(names, o.name)
		}
	}
	return names
}

// isUp asks poll: a TAP is writable exactly while it is up (tun_chr_poll), in
// whatever namespace it is.
func (d *Device) isUp() (bool, error) {
	p := []unix.PollFd{{Fd: int32(d.FD()), Events: unix.POLLOUT}}
	for {
		_, err := unix.Poll(p, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return false, d.fail("poll", err)
		case p[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
			return false, d.fail("poll", unix.EBADFD)
		}
		return p[0].Revents&unix.POLLOUT != 0, nil
	}
}

func (d *Device) setCarrier(on bool) error {
	err := error(unix.EINVAL) // what a kernel says to an ioctl that it doesn't know
	if !feature.Off(feature.SetCarrier) {
		err = unix.IoctlSetPointerInt(d.FD(), unix.TUNSETCARRIER, btoi(on))
	}
	switch err {
	case nil:
		feature.Note(feature.SetCarrier, nil)
	case unix.EINVAL:
		feature.Note(feature.SetCarrier, feature.ErrOld)
		_, err = d.ifname() // fails if the device is gone
	}
	if err != nil {
		return d.fail("set carrier of", err)
	}
	return nil
}

func closeFD(fd int) error {
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close tap fd %d: %w", fd, err)
	}
	return nil
}

// fail names the device as best it can.
func (d *Device) fail(op string, err error) error {
	if d.FD() < 0 {
		return fmt.Errorf("%s tap: %w", op, net.ErrClosed)
	}
	name, nerr := d.ifname()
	if nerr != nil {
		name = fmt.Sprintf("fd %d", d.FD())
	}
	return fmt.Errorf("%s tap %s: %w", op, name, err)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
