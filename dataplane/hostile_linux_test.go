package dataplane_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/dataplane/wiretest"
	"github.com/umacvlan/umacvlan/tap"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

var (
	attacker = [6]byte{2, 0, 0, 0, 1, 1}
	victim   = [6]byte{2, 0, 0, 0, 1, 2}
	nobody   = [6]byte{2, 0, 0, 0, 0xe, 1}
	everyone = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// lie is a virtio header that doesn't fit its frame.
type lie struct {
	flags, kind                         uint8
	hdrLen, size, csumStart, csumOffset uint16
}

func (l lie) before(frame []byte) []byte {
	raw := []byte{l.flags, l.kind}
	for _, v := range []uint16{l.hdrLen, l.size, l.csumStart, l.csumOffset} {
		raw = binary.NativeEndian.AppendUint16(raw, v)
	}
	return append(raw, frame...)
}

// lies are what the owner of a device may write before a frame: unknown flags
// and types, checksums outside the frame, headers longer than it, segments of
// nothing.
func lies() (list []lie) {
	for _, flags := range []uint8{0, 1, 2, 3, 0xff} {
		for _, kind := range []uint8{0, 1, 2, 3, 4, 5, 6, 0x7f, 0x80, 0x81, 0x84, 0xff} {
			for _, size := range []uint16{0, 1, 1448, 0xffff} {
				for _, at := range [][3]uint16{{0, 0, 0}, {54, 34, 16}, {0xffff, 0xffff, 0xffff}, {14, 13, 0}, {54, 53, 6}, {3, 34, 0xfff0}} {
					list = append(list, lie{flags, kind, at[0], size, at[1], at[2]})
				}
			}
		}
	}
	return list
}

// bodies are frames to put behind them, without their addresses.
func bodies(rng *rand.Rand) (list [][]byte) {
	ip4 := func(proto byte, total, header int) []byte {
		b := append([]byte{8, 0, 0x45, 0}, binary.BigEndian.AppendUint16(nil, uint16(total))...)
		b = append(b, 0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)
		return append(b, make([]byte, header)...)
	}
	list = append(list,
		nil, []byte{8}, []byte{8, 0}, []byte{0x88, 0xb5}, // 12 to 14 bytes
		ip4(6, 40, 20), ip4(6, 65535, 20), ip4(6, 0, 3000), ip4(17, 28, 8), ip4(17, 3, 1400), ip4(1, 20, 0), ip4(6, 40, 5),
		append([]byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64}, make([]byte, 52)...),
		append([]byte{0x86, 0xdd, 0x60, 0, 0, 0, 0xff, 0xff, 0, 64}, make([]byte, 40)...), // extension headers
		[]byte{0x81, 0}, []byte{0x81, 0, 0}, []byte{0x81, 0, 0, 1}, []byte{0x88, 0xa8, 0, 1, 0x81}, // half a tag
		append(bytes.Repeat([]byte{0x81, 0, 0, 1}, 20), 8, 0), bytes.Repeat([]byte{0x88, 0xa8, 0, 1}, 400),
		append(bytes.Repeat([]byte{0x81, 0, 0, 1}, 3), ip4(6, 40, 20)...),
		make([]byte, 65535), append(ip4(6, 65535, 20), make([]byte, 65480)...), make([]byte, dataplane.MaxRaw-vnet.HdrLen-12))
	for range 10 {
		b := make([]byte, rng.IntN(200))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		list = append(list, b)
	}
	return list
}

// What the owner of a vmac's device writes, header and frame, is delivered,
// refused by the kernel or dropped, and counted; nothing else comes to harm. With
// and without virtio headers on the parent and on the sibling that gets it.
func TestLyingHeader(t *testing.T) {
	for _, c := range []struct{ wirePlain, childPlain bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("plain wire %v, plain sibling %v", c.wirePlain, c.childPlain), func(t *testing.T) {
			lying(t, c.wirePlain, c.childPlain)
		})
	}
}

func lying(t *testing.T, wirePlain, childPlain bool) {
	w, peer := wiretest.OnVeth(func() (dataplane.Wire, error) {
		w, _, err := dataplane.Open(wiretest.Parent, dataplane.WireOptions{NoHeader: wirePlain})
		return w, err
	})(t)
	sibling, err := tap.Create(tap.Config{Name: "sib0", MAC: victim, Plain: childPlain})
	if err != nil {
		t.Fatal(err)
	}
	if err := sibling.SetUp(true); err != nil {
		t.Fatal(err)
	}
	far, own := owner(t)
	sw, err := dataplane.New(w, dataplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sw.Run(ctx) }()
	vmacs := []*dataplane.Vmac{dataplane.NewVmac("own0", dataplane.NewTap(own)), dataplane.NewVmac("sib0", dataplane.NewTap(sibling))}
	spec := classify.Spec{BCLim: 1, FilterAll: true}
	for i, mac := range [][6]byte{attacker, victim} {
		spec.Vmacs = append(spec.Vmacs, classify.Vmac{
			Name: vmacs[i].Name(), MAC: classify.MACFrom(mac[:]), Mode: classify.Bridge, Up: true, MTU: 1500,
			BCQueueLen: 1000,
		})
	}
	if err := sw.Swap(&spec, vmacs); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.Close()
	}()

	rng := rand.New(rand.NewPCG(1, 2))
	sent := uint64(0)
	write := func(raw []byte) {
		t.Helper()
		if _, err := unix.Write(far, raw); err != nil {
			t.Fatalf("%d bytes: %v", len(raw), err)
		}
		sent++
	}
	for n := vnet.HdrLen; n < vnet.HdrLen+14; n++ { // frames of 0 to 13 bytes
		write(append(make([]byte, vnet.HdrLen), victim[:]...)[:min(n, vnet.HdrLen+6)])
	}
	all, list := lies(), bodies(rng)
	for i, b := range list {
		for _, dst := range [][6]byte{victim, nobody, everyone} {
			frame := append(append(dst[:], attacker[:]...), b...)
			write(lie{}.before(frame))
			for range 20 { // enough that each lie meets some frame
				write(all[(i*997+int(sent)*31)%len(all)].before(frame))
			}
		}
	}
	st := sw.Stats()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		st = sw.Stats()
		if vmacs[0].Stats().Read == sent && total(st.Sent) == st.Read && total(st.Copies)+st.InQueue == st.Planned && st.InQueue == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d frames written, %d read; the accounts don't balance: %+v", sent, vmacs[0].Stats().Read, st)
		}
	}
	for r, n := range st.Sent {
		if n > 0 {
			t.Logf("sent: %d %v", n, classify.Reason(r))
		}
	}
	for r, n := range st.Copies {
		if n > 0 {
			t.Logf("copies: %d %v", n, classify.Reason(r))
		}
	}
	if st.Sent[classify.Runt] == 0 && st.Sent[classify.ToWire] == 0 {
		t.Error("no frame came to anything")
	}

	// What is right goes on.
	good := append(append(append(nobody[:], attacker[:]...), 0x88, 0xb5), "still there"...)
	write(lie{}.before(good))
	for end := time.Now().Add(10 * time.Second); ; {
		raw, err := peer.Capture(time.Second)
		if err == nil && bytes.HasPrefix(raw[vnet.HdrLen:], good) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("an honest frame doesn't arrive: %v", err)
		}
	}
	before := vmacs[1].Stats().RxPackets
	write(lie{}.before(append(append(append(victim[:], attacker[:]...), 0x88, 0xb5), good[14:]...)))
	for end := time.Now().Add(10 * time.Second); vmacs[1].Stats().RxPackets == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the sibling gets no honest frame")
		}
	}
	if l, err := netlink.LinkByName("sib0"); err != nil || l.Attrs().Flags == 0 {
		t.Errorf("the sibling: %v", err)
	}
}

// owner returns a device whose other end is the test's.
func owner(t *testing.T) (far int, d *tap.Device) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	for _, fd := range fds {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20)
	}
	unix.SetsockoptTimeval(fds[1], unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 20})
	if d, err = tap.FromFD(fds[0], false); err != nil {
		t.Fatal(err)
	}
	return fds[1], d
}

func total(by [classify.NumReasons]uint64) (n uint64) {
	for _, v := range by {
		n += v
	}
	return n
}
