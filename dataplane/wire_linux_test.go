package dataplane_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/dataplane/wiretest"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

func TestWires(t *testing.T) {
	const ring, mmsg = dataplane.BackendRing, dataplane.BackendMmsg
	for _, c := range []struct {
		name string
		o    dataplane.WireOptions
	}{
		{"ring", dataplane.WireOptions{Backend: ring}},
		{"mmsg", dataplane.WireOptions{Backend: mmsg}},
		{"ring, no header", dataplane.WireOptions{Backend: ring, NoHeader: true}},
		{"mmsg, no header", dataplane.WireOptions{Backend: mmsg, NoHeader: true}},
		{"ring of 128", dataplane.WireOptions{Backend: ring, Slots: 128}},
		{"ring, small buffer", dataplane.WireOptions{Backend: ring, ReceiveBuffer: 200_000}},
		{"ring, old kernel", dataplane.HearOutgoing(dataplane.WireOptions{Backend: ring})},
		{"mmsg, old kernel", dataplane.HearOutgoing(dataplane.WireOptions{Backend: mmsg})},
	} {
		t.Run(c.name, func(t *testing.T) {
			wiretest.Run(t, wiretest.OnVeth(func() (dataplane.Wire, error) {
				w, _, err := dataplane.Open(wiretest.Parent, c.o)
				return w, err
			}))
		})
	}
}

func TestOpen(t *testing.T) {
	wiretest.Namespace(t)
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wire0"}, PeerName: "far0"}); err != nil {
		t.Fatal(err)
	}
	w, why, err := dataplane.Open("wire0", dataplane.WireOptions{})
	if err != nil || why != dataplane.BackendRing {
		t.Fatalf("%q, %v", why, err)
	}
	w.Close()
	// No ring has three slots.
	w, why, err = dataplane.Open("wire0", dataplane.WireOptions{Slots: 3})
	if err != nil || why == dataplane.BackendMmsg || why == dataplane.BackendRing {
		t.Errorf("without a ring: %q, %v", why, err)
	} else {
		w.Close()
	}
	if _, _, err := dataplane.Open("wire0", dataplane.WireOptions{Backend: "pcap"}); err == nil {
		t.Error("opened a backend that doesn't exist")
	}
	if _, _, err := dataplane.Open("nothere0", dataplane.WireOptions{}); err == nil {
		t.Error("opened a device that doesn't exist")
	}
}

// tapParent makes a TAP called wire0, whose far end is a descriptor: the way to
// give a parent frames that no packet socket may send.
func tapParent(t *testing.T) (fd int) {
	wiretest.Namespace(t)
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs /dev/net/tun: %v", err)
		}
		t.Skipf("needs /dev/net/tun: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	ifr, err := unix.NewIfreq("wire0")
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("wire0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestUnsupportedGSO: a frame that the virtio header cannot express is lost,
// and nothing else is for long. On 6.18 it stops a ring for good.
func TestUnsupportedGSO(t *testing.T) {
	for _, backend := range []string{dataplane.BackendRing, dataplane.BackendMmsg} {
		t.Run(backend, func(t *testing.T) {
			fd := tapParent(t)
			w, _, err := dataplane.Open("wire0", dataplane.WireOptions{Backend: backend})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			plain := make([]byte, vnet.HdrLen+60)
			for i := range 6 {
				plain[vnet.HdrLen+i] = 0xff
			}
			write := func(raw []byte) {
				t.Helper()
				if _, err := unix.Write(fd, raw); err != nil {
					t.Fatal(err)
				}
			}
			got := make(chan int, 1000)
			go func() {
				defer close(got)
				var b dataplane.Batch
				for w.Recv(&b) == nil {
					got <- len(b.Frames)
				}
			}()
			write(plain)
			<-got
			write(udpFragments(3000, 1400))
			sent, received := 2, 1
			for begin := time.Now(); received == 1; {
				write(plain)
				sent++
				select {
				case n := <-got:
					received += n
					t.Logf("receiving again after %v", time.Since(begin).Round(time.Millisecond))
				case <-time.After(30 * time.Millisecond):
				}
				if time.Since(begin) > 3*time.Second {
					t.Fatalf("nothing received any more: %+v", w.Stats())
				}
			}
			w.Close()
			for n := range got {
				received += n
			}
			s := w.Stats()
			if s.Packets != s.Received+s.Drops || s.Received != uint64(received) || s.Packets > uint64(sent) {
				t.Errorf("%+v after %d sent, %d received", s, sent, received)
			}
		})
	}
}

// TestErrorOfReceiver: an error that waits at the socket for Recv costs no frame
// that is sent, and is accounted for.
func TestErrorOfReceiver(t *testing.T) {
	fd := tapParent(t)
	w, _, err := dataplane.Open("wire0", dataplane.WireOptions{Backend: dataplane.BackendMmsg})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	plain := make([]byte, vnet.HdrLen+60)
	for i := range 6 {
		plain[vnet.HdrLen+i] = 0xff
	}
	send := func() {
		t.Helper()
		if n, err := w.Send([]*dataplane.Frame{{Raw: plain}}); n != 1 {
			t.Errorf("Send: %v", err)
		}
	}
	for _, raw := range [][]byte{plain, udpFragments(3000, 1400), plain} {
		if _, err := unix.Write(fd, raw); err != nil {
			t.Fatal(err)
		}
	}
	// Without virtio headers every frame can be expressed.
	first, second, lost := 1, 1, uint64(1)
	if !w.Offload() {
		first, second, lost = 3, 0, 0
	}
	var b dataplane.Batch
	if err := w.Recv(&b); err != nil || len(b.Frames) != first {
		t.Fatalf("%d frames, %v", len(b.Frames), err)
	}
	send()
	if second > 0 {
		if err := w.Recv(&b); err != nil || len(b.Frames) != second {
			t.Fatalf("%d frames, %v", len(b.Frames), err)
		}
	}
	if s := w.Stats(); s.Packets != 3 || s.Received != 3-lost || s.Drops != lost {
		t.Errorf("%+v", s)
	}
	link, err := netlink.LinkByName("wire0")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netlink.LinkSetDown(link), netlink.LinkSetUp(link)); err != nil {
		t.Fatal(err)
	}
	send()
}

// TestTooLong: a frame larger than 64 KiB (BIG TCP) is marked as cut, and the
// next one is whole.
func TestTooLong(t *testing.T) {
	for _, backend := range []string{dataplane.BackendRing, dataplane.BackendMmsg} {
		t.Run(backend, func(t *testing.T) {
			w, p := wiretest.OnVeth(func() (dataplane.Wire, error) {
				w, _, err := dataplane.Open(wiretest.Parent, dataplane.WireOptions{Backend: backend})
				return w, err
			})(t)
			defer w.Close()
			for _, name := range []string{wiretest.Parent, "far0"} {
				link, err := netlink.LinkByName(name)
				if err != nil {
					t.Fatal(err)
				}
				if err := netlink.LinkSetGSOMaxSize(link, 200_000); err != nil {
					t.Skipf("needs BIG TCP (Linux 5.19): %v", err)
				}
			}
			long := tcp6(100_000, 1400)
			short := tcp6(50_000, 1400)
			for _, raw := range [][]byte{long, short} {
				if err := p.Inject(raw); err != nil {
					t.Fatal(err)
				}
			}
			var b dataplane.Batch
			var got []dataplane.Frame
			for len(got) < 2 {
				if err := w.Recv(&b); err != nil {
					t.Fatal(err)
				}
				got = append(got, b.Frames...)
			}
			if len(got) != 2 || !got[0].Cut || got[1].Cut || len(got[1].Raw) != len(short) {
				t.Errorf("%d frames: %d bytes, cut %v; %d bytes, cut %v", len(got),
					len(got[0].Raw), got[0].Cut, len(got[1].Raw), got[1].Cut)
			}
			if s := w.Stats(); s.Packets != 2 || s.Received != 2 || s.Stuck != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// tcp6 is a TCP super-frame over IPv6, whose length a frame may exceed.
func tcp6(payload, mss int) []byte {
	raw := make([]byte, vnet.HdrLen+14+60+payload)
	e := raw[vnet.HdrLen:]
	copy(e, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60})
	e[14+6], e[14+7] = 6, 64
	e[54+12], e[54+13] = 0x50, 0x10
	vnet.Hdr{Flags: vnet.FlagNeedsCsum, GSOType: vnet.GSOTCPv6, HdrLen: 74, GSOSize: uint16(mss),
		CsumStart: 54, CsumOffset: 16}.Put(raw)
	return raw
}

// udpFragments is a super-frame that is to become IP fragments (UFO), which
// kernels accept from a TAP and have no virtio header for.
func udpFragments(payload, size int) []byte {
	raw := make([]byte, vnet.HdrLen+14+28+payload)
	e := raw[vnet.HdrLen:]
	for i := range 6 {
		e[i] = 0xff
	}
	copy(e[12:], []byte{8, 0, 0x45, 0, byte((28 + payload) >> 8), byte(28 + payload)})
	e[14+8], e[14+9] = 64, 17
	e[14+12], e[14+16] = 10, 10
	e[34+4], e[34+5] = byte((8+payload)>>8), byte(8+payload)
	vnet.Hdr{Flags: vnet.FlagNeedsCsum, GSOType: vnet.GSOUFO, HdrLen: 42, GSOSize: uint16(size),
		CsumStart: 34, CsumOffset: 6}.Put(raw)
	return raw
}

// TestUnicastUnfiltered: where the addresses don't fit, all unicast is let through.
func TestUnicastUnfiltered(t *testing.T) {
	tapParent(t)
	w, _, err := dataplane.Open("wire0", dataplane.WireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	unfiltered := w.(interface{ UnicastUnfiltered() bool }).UnicastUnfiltered
	for _, c := range []struct {
		n    int
		want bool
	}{{10, false}, {1000, false}, {4096, true}, {10, false}} {
		var a classify.Addresses
		for i := range c.n {
			a.Dst = append(a.Dst, classify.MAC(uint32(i)*0x9e37_79b1)<<16|2)
		}
		if err := w.Program(a); err != nil {
			t.Fatal(err)
		}
		if unfiltered() != c.want {
			t.Errorf("%d addresses: unfiltered %v", c.n, !c.want)
		}
	}
}

// TestProgramError: an address that could not be added is reported each time.
func TestProgramError(t *testing.T) {
	tapParent(t)
	w, _, err := dataplane.Open("wire0", dataplane.WireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := netlink.LinkDel(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: "wire0"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Program(classify.Addresses{Unicast: []classify.MAC{2}}); !errors.Is(err, unix.ENODEV) {
			t.Errorf("Program on a parent that is gone: %v", err)
		}
	}
	if err := w.Program(classify.Addresses{}); err != nil {
		t.Errorf("Program with nothing: %v", err)
	}
}
