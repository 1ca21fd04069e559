package tap

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
)

// birthName is what a device is called until it has its queue.
const birthName = "umac-new%d"

const defaultTxQLen = 1000

// create goes by way of a name of its own and a rename, because TUNSETIFF
// attaches to a persistent TAP that happens to have the name asked for: a look
// beforehand would leave a gap. A name with %d is always given to a new device,
// and a rename to a name in use fails with EEXIST.
func create(c Config) (_ *Device, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() {
		if err != nil {
			err = fmt.Errorf("create tap %s: %w", c.Name, err)
		}
	}()
	if c.Name == "" || len(c.Name) >= unix.IFNAMSIZ {
		return nil, fmt.Errorf("a name has 1 to %d bytes: %w", unix.IFNAMSIZ-1, unix.EINVAL)
	}
	r, err := openRoute()
	if err != nil {
		return nil, err
	}
	defer r.close()
	// Not needed for safety; it spares the usual mistake a device that comes and
	// goes before everybody's eyes.
	if !strings.Contains(c.Name, "%") {
		if _, err := r.index(c.Name); err == nil {
			return nil, unix.EEXIST
		}
	}
	fd, err := openTun()
	if err != nil {
		return nil, err
	}
	d := newDevice(fd, c.Plain || feature.Off(feature.VnetHdr) || !hasVnetHdr(fd))
	if d.plain && !c.Plain {
		feature.Note(feature.USO, errNoHeader)
	}
	index, err := d.makeAndAttach(r)
	if err == nil {
		err = d.configure(r, index, c)
	}
	if err == nil {
		err = d.settle()
	}
	if err != nil {
		d.forget()
		unix.Close(fd)
		return nil, err
	}
	return d, nil
}

// makeAndAttach makes a persistent device through water and attaches d's queue
// to it, because water cannot ask for IFF_VNET_HDR and a queue cannot get it
// later, while the first queue attached to a device without queues can. Then the
// device is no longer persistent. A process killed in between leaves a device
// named birthName. The time without a queue is also time without a carrier
// (__tun_detach, tun_attach), which is what makes the device show state UP when
// it is up; a TAP whose carrier has never changed shows UNKNOWN.
//
// water opens without O_CLOEXEC, so no child process may be started before its
// queue is closed: it would inherit the queue, and attaching ours would fail with
// EBUSY.
func (d *Device) makeAndAttach(r *route) (_ int, err error) {
	syscall.ForkLock.RLock()
	index, name, err := born(r)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.remove(index))
		}
	}()
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if !d.plain {
		flags |= unix.IFF_VNET_HDR
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(d.FD(), unix.TUNSETIFF, ifr); err != nil {
		return 0, fmt.Errorf("attach queue: %w", err)
	}
	// Had somebody renamed or deleted the device, TUNSETIFF would have made
	// another one, which goes when the caller closes the queue.
	if now, err := r.index(name); err != nil || now != index {
		return 0, fmt.Errorf("attach queue: %w", unix.ENODEV)
	}
	if err := unix.IoctlSetInt(d.FD(), unix.TUNSETPERSIST, 0); err != nil {
		return 0, fmt.Errorf("clear persist: %w", err)
	}
	return index, nil
}

func (d *Device) configure(r *route, index int, c Config) error {
	d.setOffloads()
	if err := d.setHWAddr(c.MAC); err != nil {
		return fmt.Errorf("set address %x: %w", c.MAC, err)
	}
	if c.TxQLen == 0 {
		c.TxQLen = defaultTxQLen
	}
	attrs := []attr{attr32(unix.IFLA_TXQLEN, c.TxQLen)}
	if c.MTU != 0 {
		attrs = append(attrs, attr32(unix.IFLA_MTU, c.MTU))
	}
	if c.Alias != "" {
		attrs = append(attrs, attr{unix.IFLA_IFALIAS, []byte(c.Alias)})
	}
	if err := r.set(index, 0, 0, attrs...); err != nil {
		return fmt.Errorf("set mtu %d, txqueuelen %d and alias %q: %w", c.MTU, c.TxQLen, c.Alias, err)
	}
	// The name comes last: whoever waits for it sees the device complete.
	return r.set(index, 0, 0, attr{unix.IFLA_IFNAME, append([]byte(c.Name), 0)})
}

var errNoHeader = errors.New("no virtio headers")

const tunPath = "/dev/net/tun"

// openTun opens a queue that is not attached yet, and looks for permission
// beforehand: water leaks a descriptor when TUNSETIFF refuses it (and, which is left,
// when somebody deletes the device before it is persistent).
func openTun() (fd int, err error) {
	fd, err = unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w (get it with: modprobe tun; mkdir -p /dev/net; mknod /dev/net/tun c 10 200; in a container: --device /dev/net/tun --cap-add NET_ADMIN)", tunPath, err)
	}
	// A device of no kind: TUNSETIFF looks at the permission, capable(CAP_NET_ADMIN)
	// over the namespace, before it finds the kind missing (tun_set_iff).
	ifr, err := unix.NewIfreq(birthName)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err == unix.EPERM {
		unix.Close(fd)
		return -1, fmt.Errorf("%w (needs CAP_NET_ADMIN in the network namespace's user namespace: be root, or in a container: --cap-add NET_ADMIN)", err)
	}
	return fd, nil
}

func probe() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := openTun()
	if err != nil {
		return fmt.Errorf("probe tap: %w", err)
	}
	return closeFD(fd)
}

func hasVnetHdr(fd int) bool {
	features, err := unix.IoctlGetUint32(fd, unix.TUNGETFEATURES)
	return err == nil && features&unix.IFF_VNET_HDR != 0
}
