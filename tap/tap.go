// Package tap makes TAP devices, one per vmac, and moves raw frames through
// them. It goes on working after somebody has renamed a device or moved it into
// another network namespace.
//
// Errors read "op object: cause" and unwrap to the kernel's error number.
package tap

import (
	"net"
	"sync"
	"sync/atomic"
)

// Config says what a device shall be like when it is made. It is made down.
type Config struct {
	// Name is at most 15 bytes. It may contain one %d, which becomes the lowest
	// number that is free.
	Name string

	// MAC is required. A multicast or zero address is refused by the kernel
	// (EADDRNOTAVAIL).
	MAC [6]byte

	// MTU in bytes, 68 to 65521; 0 is the kernel's default, 1500.
	MTU int

	// Alias is what "ip link" shows as alias; at most 255 bytes.
	Alias string

	// TxQLen is how many frames wait for Read before the kernel drops them; 0
	// is 1000, as macvlan has it.
	TxQLen int

	// Plain asks for a device without virtio headers: no super-frame and no
	// unfinished checksum passes in either direction. Also what a kernel
	// without IFF_VNET_HDR gives.
	Plain bool
}

// Device is a TAP device with its one queue attached. It exists for as long as
// it is open, and dies with the process.
//
// All methods but Close may be called from any number of goroutines, which need
// not be in the device's network namespace. Methods other than Read, Write, FD,
// Offload and Offloads are for control: some of them take a socket into the
// device's namespace and take about 0.1 ms.
type Device struct {
	fd       atomic.Int64 // -1 once closed
	asked    sync.RWMutex // held while a method of control uses fd
	plain    bool
	offloads uint // TUN_F_ bits

	// Where it was seen last, on kernels that don't tell; under the lock of spots.
	spot  spot
	path  string
	sure  bool // that it isn't one that is alike
	tally *tally
}

// tally is what a device that has to be searched for has passed since it was
// made, by which it is told from others.
type tally struct{ reads, writes atomic.Uint64 }

// spot is a place for a device.
type spot struct {
	netns uint64 // inode
	index int
}

// Create makes a device in the network namespace of the calling thread; the
// goroutine should be locked to it. A name in use is refused with EEXIST: a
// device that is already there is never taken over. After an error nothing is
// left behind.
func Create(c Config) (*Device, error) { return create(c) }

// Unfinished lists the devices, by index, of the network namespace of the
// calling thread that a Create has not given their name yet. Create takes
// milliseconds; what is there for longer was left by a process that was killed
// within it.
func Unfinished() (map[int]string, error) { return unfinished() }

// RemoveUnfinished deletes those of seen that still are as Unfinished found them
// and that no process holds. It works in the network namespace of the calling
// thread; seen should be a second old, so that nobody's Create fails.
func RemoveUnfinished(seen map[int]string) error { return removeUnfinished(seen) }

// Probe reports why Create would fail for want of /dev/net/tun or of
// permission in the network namespace of the calling thread, in a line that
// says what to do about it.
func Probe() error { return probe() }

// FromFD makes a Device of an attached queue that somebody else has given up,
// and owns fd. plain says that the queue has no virtio header; for a real TAP of
// the other kind it returns EINVAL. fd may also be one end of a SOCK_SEQPACKET
// pair: Read and Write then work as on a TAP, IsUp says true until the other end
// is closed, and everything else fails. On an error fd is still the caller's.
func FromFD(fd int, plain bool) (*Device, error) { return fromFD(fd, plain) }

// FD returns the descriptor, for polling. Readable means that Read has a frame,
// EPOLLERR that the device is gone. It is the same until Close.
func (d *Device) FD() int { return int(d.fd.Load()) }

// Offload reports whether raw frames carry virtio headers in both directions.
func (d *Device) Offload() bool { return !d.plain }

// Offloads names what the kernel may leave unfinished in frames that Read
// gives: "csum", "tso4", "tso6", "tso-ecn", "uso4", "uso6".
func (d *Device) Offloads() []string { return d.offloadNames() }

// Read reads one raw frame: header and Ethernet frame. That may be shorter than
// an Ethernet header if the owner has attached a steering program that trims
// frames. Read does not block: with no frame waiting it returns EAGAIN. A frame longer than
// raw is cut without notice, so raw should have room for 64 KiB and headers. On
// a plain device the header is zero. EBADFD means that the device is gone; after
// Close it is net.ErrClosed. Errors are bare error numbers. It does not allocate.
func (d *Device) Read(raw []byte) (n int, err error) { return d.read(raw) }

// Write gives one raw frame to the device, as if it had been received there; it
// runs the receiver's protocol stack and returns. EIO means that the device is
// down, EBADFD that it is gone, EINVAL that the kernel does not take such a
// frame (under 14 bytes, a header that lies, or, on a plain device, a header
// that asks for anything). After Close it is net.ErrClosed. Errors are bare
// error numbers. It retains nothing and does not allocate.
func (d *Device) Write(raw []byte) error { return d.write(raw) }

// Name returns the device's present name.
func (d *Device) Name() (string, error) {
	defer d.use()()
	return d.name()
}

// Index returns the device's present interface index. A move into another
// namespace can change it.
func (d *Device) Index() (int, error) {
	defer d.use()()
	return d.index()
}

// Netns returns a new descriptor of the network namespace that the device is
// in. The caller closes it. Before Linux 5.2 namespaces are searched for the
// device's name, address and counters; ESTALE means that it is in none that could
// be found. After a move that Moved was not told of, another process's device
// with the same name and address can be taken for it until frames have passed.
func (d *Device) Netns() (fd int, err error) {
	defer d.use()()
	return d.netns()
}

// Moved says that the caller has just moved the device to a namespace, of which
// netns is a descriptor. Where namespaces are searched, another process's device
// of the same name and address is not taken for it then. If the device is not
// there, or can't be looked at, it is searched for as if nothing had been said.
func (d *Device) Moved(netns int) {
	defer d.use()()
	d.moved(netns)
}

// MAC returns the device's address.
func (d *Device) MAC() ([6]byte, error) {
	defer d.use()()
	return d.mac()
}

// SetMAC changes the device's address, also while it is up.
func (d *Device) SetMAC(mac [6]byte) error {
	defer d.use()()
	return d.setMAC(mac)
}

// MTU returns the device's MTU in bytes.
func (d *Device) MTU() (int, error) {
	defer d.use()()
	return d.mtu()
}

// SetMTU changes the device's MTU.
func (d *Device) SetMTU(mtu int) error {
	defer d.use()()
	return d.setMTU(mtu)
}

// SetAlias changes what "ip link" shows as alias; "" takes it away.
func (d *Device) SetAlias(alias string) error {
	defer d.use()()
	return d.setAlias(alias)
}

// IsUp reports whether the device is administratively up.
func (d *Device) IsUp() (bool, error) {
	defer d.use()()
	return d.isUp()
}

// SetUp sets the device administratively up or down.
func (d *Device) SetUp(up bool) error {
	defer d.use()()
	return d.setUp(up)
}

// SetCarrier says whether there is a link, which is so when the device is new.
// Without one the device's owner sees NO-CARRIER and its frames are dropped;
// Write still works. Before Linux 5.0 it has no effect: there always is a link.
func (d *Device) SetCarrier(on bool) error {
	defer d.use()()
	return d.setCarrier(on)
}

// use keeps Close from giving the descriptor's number away while a method asks it
// something.
func (d *Device) use() (done func()) {
	d.asked.RLock()
	return d.asked.RUnlock
}

// Close deletes the device. Nobody may be in Read or Write, or call them with
// the descriptor's number: the number is used again. Of the other methods it waits
// for those that have begun. A second Close returns net.ErrClosed.
func (d *Device) Close() error {
	d.asked.Lock()
	fd := d.fd.Swap(-1)
	d.asked.Unlock()
	if fd < 0 {
		return net.ErrClosed
	}
	d.forget()
	return closeFD(int(fd))
}
