package wiretest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
)

func countFDs() int {
	e, _ := os.ReadDir("/proc/self/fd")
	return len(e)
}

// Parent is the name of the device that a Veth gives to open a Wire on.
const Parent = "wire0"

// OnVeth opens a Wire on one end of a veth pair, in a network namespace of its
// own; the other end is the peer. It skips the test if there is no privilege
// for that.
func OnVeth(open func() (dataplane.Wire, error)) Open {
	return func(t *testing.T) (dataplane.Wire, Peer) {
		v := newVeth(t)
		w, err := open()
		if err != nil {
			t.Fatal(err)
		}
		return w, v
	}
}

// Namespace puts the test's thread into a new network namespace, which goes
// with the test.
func Namespace(t *testing.T) {
	t.Helper()
	// Never unlocked: the runtime ends the thread with its goroutine, and with
	// it goes the namespace.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs root: new network namespace: %v", err)
		}
		t.Skipf("needs root: new network namespace: %v", err)
	}
	// Or the stack would send router solicitations between our frames.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// veth is a pair in a namespace of its own. All but Inject, Capture and
// SendHost use the namespace of the test's thread.
type veth struct {
	nl        *netlink.Handle
	near, end netlink.Link
	far, host int // raw sockets at the far end, and on the parent
	iov       []byte
	oob       [64]byte
}

func newVeth(t *testing.T) *veth {
	Namespace(t)
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nl.Close)
	pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "far0"}
	pair.Name = Parent
	if err := nl.LinkAdd(pair); err != nil {
		t.Fatalf("add veth: %v", err)
	}
	v := &veth{nl: nl, iov: make([]byte, dataplane.MaxRaw)}
	if v.end, err = nl.LinkByName("far0"); err != nil {
		t.Fatal(err)
	}
	if v.near, err = nl.LinkByName(Parent); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(nl.LinkSetUp(v.end), v.SetUp(true)); err != nil {
		t.Fatal(err)
	}
	v.far = rawSocket(t, v.end.Attrs().Index, unix.ETH_P_ALL)
	v.host = rawSocket(t, v.near.Attrs().Index, 0)
	return v
}

// rawSocket is a socket with virtio headers; with protocol 0 it only sends.
func rawSocket(t *testing.T, ifindex int, protocol uint16) int {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	for _, opt := range []int{unix.PACKET_VNET_HDR, unix.PACKET_IGNORE_OUTGOING, unix.PACKET_AUXDATA} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, opt, 1); err != nil {
			t.Fatal(err)
		}
	}
	var be [2]byte
	binary.BigEndian.PutUint16(be[:], protocol)
	sa := &unix.SockaddrLinklayer{Ifindex: ifindex, Protocol: binary.NativeEndian.Uint16(be[:])}
	if err := unix.Bind(fd, sa); err != nil {
		t.Fatal(err)
	}
	return fd
}

func (v *veth) Inject(raw []byte) error {
	_, err := unix.Write(v.far, raw)
	return err
}

func (v *veth) SendHost(raw []byte) error {
	_, err := unix.Write(v.host, raw)
	return err
}

func (v *veth) Capture(wait time.Duration) ([]byte, error) {
	p := []unix.PollFd{{Fd: int32(v.far), Events: unix.POLLIN}}
	n, err := unix.Poll(p, int(wait.Milliseconds()))
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, ErrQuiet
	}
	n, oobn, _, _, err := unix.Recvmsg(v.far, v.iov, v.oob[:], 0)
	if err != nil {
		return nil, err
	}
	raw := append([]byte(nil), v.iov[:n]...)
	msgs, err := unix.ParseSocketControlMessage(v.oob[:oobn])
	if err != nil {
		return nil, err
	}
	for _, m := range msgs {
		e := binary.NativeEndian
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA ||
			e.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		raw = retag(raw, e.Uint16(m.Data[18:]), e.Uint16(m.Data[16:]))
	}
	return raw, nil
}

// retag is the peer's own way of putting a tag back, independent of the code
// under test.
func retag(raw []byte, tpid, tci uint16) []byte {
	out := append([]byte(nil), raw[:22]...)
	out = binary.BigEndian.AppendUint16(out, tpid)
	out = binary.BigEndian.AppendUint16(out, tci)
	out = append(out, raw[22:]...)
	le := binary.NativeEndian
	if out[0]&1 != 0 {
		le.PutUint16(out[6:], le.Uint16(out[6:])+4)
	}
	if hdrLen := le.Uint16(out[2:]); hdrLen != 0 {
		le.PutUint16(out[2:], hdrLen+4)
	}
	return out
}

// Discard takes one frame, without allocating.
func (v *veth) Discard() { unix.Read(v.far, v.iov) }

func (v *veth) SetUp(up bool) error {
	if !up {
		return v.nl.LinkSetDown(v.near)
	}
	if err := v.nl.LinkSetUp(v.near); err != nil {
		return err
	}
	// Until the kernel has noticed the carrier, a veth drops what it is given.
	for range 300 {
		ready := true
		for _, l := range []netlink.Link{v.near, v.end} {
			l, err := v.nl.LinkByIndex(l.Attrs().Index)
			if err != nil {
				return err
			}
			ready = ready && l.Attrs().OperState == netlink.OperUp
		}
		if ready {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("no carrier after 3 s")
}

func (v *veth) Shape(rate uint64) error {
	return v.nl.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: v.near.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT,
		},
		Rate: rate / 8, Limit: 64 << 20, Buffer: netlink.Xmittime(rate/8, 4096),
	})
}

func (v *veth) Delete() error { return v.nl.LinkDel(v.near) }

func (v *veth) Promiscuity() (int, error) {
	l, err := v.nl.LinkByIndex(v.near.Attrs().Index)
	if err != nil {
		return 0, err
	}
	return l.Attrs().Promisc, nil
}

// Addresses reads RTM_GETNEIGH of the bridge family, which lists a device's
// unicast and multicast addresses (ndo_dflt_fdb_dump).
func (v *veth) Addresses() ([]classify.MAC, error) {
	list, err := v.nl.NeighList(v.near.Attrs().Index, unix.AF_BRIDGE)
	if err != nil {
		return nil, fmt.Errorf("neighbours of the bridge family: %w", err)
	}
	var macs []classify.MAC
	for _, n := range list {
		if len(n.HardwareAddr) == len(net.HardwareAddr{0, 0, 0, 0, 0, 0}) {
			macs = append(macs, classify.MACFrom(n.HardwareAddr))
		}
	}
	return macs, nil
}
