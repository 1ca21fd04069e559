package dataplane_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/dataplane/wiretest"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// stealBed is a parent (wire0) with a far end, and what the parent's stack sees
// of frames of the ethertype 0x88b5.
type stealBed struct {
	t          *testing.T
	near, far  netlink.Link
	send       int
	stack, tap int
	seq        uint32
}

func newStealBed(t *testing.T) *stealBed {
	wiretest.Namespace(t)
	return stealBedHere(t)
}

func stealBedHere(t *testing.T) *stealBed {
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wire0"}, PeerName: "far0"}); err != nil {
		t.Fatal(err)
	}
	b := &stealBed{t: t}
	for name, l := range map[string]*netlink.Link{"wire0": &b.near, "far0": &b.far} {
		var err error
		if *l, err = netlink.LinkByName(name); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(*l); err != nil {
			t.Fatal(err)
		}
	}
	if err := netlink.SetPromiscOn(b.near); err != nil {
		t.Fatal(err)
	}
	b.send = packetSocket(t, b.far.Attrs().Index, 0)
	b.stack = packetSocket(t, b.near.Attrs().Index, 0x88b5)
	b.tap = packetSocket(t, b.near.Attrs().Index, unix.ETH_P_ALL)
	// The far end's queue is opened by link-watch, some time after its carrier is
	// on.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b.seq++
		if unix.Write(b.send, b.mark()); b.arrived(b.stack, 10) {
			return b
		}
		if time.Now().After(end) {
			t.Fatal("nothing comes through the veth")
		}
	}
}

func packetSocket(t *testing.T, index int, protocol uint16) int {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	var be [2]byte
	binary.BigEndian.PutUint16(be[:], protocol)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: binary.NativeEndian.Uint16(be[:])}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// passes sends a frame from the far end and says whether the parent's stack got
// it. veth delivers before or soon after send returns, so the parent's tap,
// which sees all that comes in, says when to look.
func (b *stealBed) passes(frame []byte) bool { return b.passesAt(frame, 14) }

// passesTagged does the same for one with a VLAN tag.
func (b *stealBed) passesTagged(frame []byte) bool { return b.passesAt(frame, 18) }

func (b *stealBed) passesAt(frame []byte, payload int) bool {
	b.t.Helper()
	b.seq++
	binary.BigEndian.PutUint32(frame[payload:], b.seq)
	if _, err := unix.Write(b.send, frame); err != nil {
		b.t.Fatal(err)
	}
	b.until(b.tap)
	// A frame that nothing takes is behind it.
	want := b.seq
	b.seq++
	if _, err := unix.Write(b.send, b.mark()); err != nil {
		b.t.Fatal(err)
	}
	for _, seq := range b.until(b.stack) {
		if seq == want {
			return true
		}
	}
	return false
}

// mark makes a frame that nothing takes.
func (b *stealBed) mark() []byte {
	f := make([]byte, 60)
	copy(f, []byte{1, 0, 0x5e, 9, 9, 9, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0x88, 0xb5})
	binary.BigEndian.PutUint32(f[14:], b.seq)
	return f
}

// arrived says whether anything does within a time.
func (b *stealBed) arrived(fd, millis int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := unix.Poll(p, millis)
	return n == 1
}

// until reads up to the frame sent last and returns the numbers of all.
func (b *stealBed) until(fd int) (seen []uint32) {
	b.t.Helper()
	buf := make([]byte, 2048)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			b.arrived(fd, 100)
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if n < 18 || buf[12] != 0x88 || buf[13] != 0xb5 {
			continue
		}
		seq := binary.BigEndian.Uint32(buf[14:])
		seen = append(seen, seq)
		if seq == b.seq {
			return seen
		}
	}
	b.t.Fatal("a frame that nothing takes didn't arrive")
	return nil
}

var stealRungs = []struct {
	name     string
	features []feature.Name
}{
	{dataplane.StealTCX, []feature.Name{feature.BPF, feature.TCX}},
	{dataplane.StealCls, []feature.Name{feature.BPF, feature.ClsBPF}},
	{dataplane.StealNFT, []feature.Name{feature.NFTNetdev}},
}

// onEachRung runs f on those that this kernel offers.
func onEachRung(t *testing.T, f func(t *testing.T, rung string)) {
	for _, r := range stealRungs {
		t.Run(r.name, func(t *testing.T) {
			for _, n := range r.features {
				if feature.Off(n) {
					t.Skipf("%s is switched off", n)
				}
			}
			f(t, r.name)
		})
	}
}

func openSteal(t *testing.T, rung string) dataplane.Taker {
	t.Helper()
	k, _, err := dataplane.OpenSteal("wire0", rung)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// TestStealLive holds what the parent's stack sees against the decision, on each
// rung, and that nothing is taken before the first Take and after Close.
func TestStealLive(t *testing.T) {
	onEachRung(t, func(t *testing.T, rung string) {
		b := newStealBed(t)
		k := openSteal(t, rung)
		r := rand.New(rand.NewPCG(3, 1))
		taken := 0
		if !b.passes(stealFrame(r, 4)) {
			t.Error("taken before anything was to be taken")
		}
		for round := range 25 {
			most := []int{1, 6, 6, 300}[r.IntN(4)]
			table, err := classify.NewTable(stealSpec(r, most))
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Take(table.Taken()); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				frame := stealFrame(r, most)
				_, v := table.Ingress(frame, classify.Meta{Type: classify.TypeOther}, nil)
				if got := b.passes(frame); got != v.Host {
					t.Fatalf("round %d: the stack gets it: %v, but the decision is %+v: frame %x", round, got, v, frame)
				}
				if !v.Host {
					taken++
				}
			}
		}
		if taken == 0 {
			t.Error("nothing was taken")
		}
		if err := k.Take(classify.Taken{Unicast: true}); err != nil {
			t.Fatal(err)
		}
		frame := stealFrame(r, 4)
		frame[0] &^= 1
		if b.passes(frame) {
			t.Error("a passthru port's unicast passes")
		}
		// The tag is no longer in the frame when it comes by.
		tagged := func(id byte) []byte {
			return append(append(append([]byte(nil), frame[:12]...), 0x81, 0, 0x20, id), append([]byte{0x88, 0xb5}, make([]byte, 46)...)...)
		}
		if b.passesTagged(tagged(10)) {
			t.Error("a VLAN without a device is not taken")
		}
		if err := k.Keep([]uint16{10, 4000}); err != nil {
			t.Fatal(err)
		}
		if !b.passesTagged(tagged(10)) || b.passesTagged(tagged(11)) || b.passes(frame) {
			t.Error("not just the VLAN that has a device passes")
		}
		var all []uint16
		for id := range uint16(4094) {
			all = append(all, id+1)
		}
		if err := k.Keep(all); err != nil {
			t.Fatal(err)
		}
		if !b.passesTagged(tagged(10)) || !b.passesTagged(tagged(11)) || b.passes(frame) {
			t.Error("every VLAN has a device, and not just they pass")
		}
		if err := k.Keep(nil); err != nil {
			t.Fatal(err)
		}
		if b.passesTagged(tagged(10)) {
			t.Error("a VLAN whose device is gone is not taken")
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		if !b.passes(frame) {
			t.Error("taken after Close")
		}
	})
}

// TestStealLadder: each rung says why it isn't the one above.
func TestStealLadder(t *testing.T) {
	newStealBed(t)
	k, why, err := dataplane.OpenSteal("wire0", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(why)
	if k == nil && !strings.Contains(why, "no nft: ") {
		t.Errorf("no rung, and no reason: %q", why)
	}
	for _, f := range []struct {
		feature feature.Name
		word    string
	}{{feature.TCX, "no tcx: switched off"}, {feature.ClsBPF, "no cls: switched off"}, {feature.BPF, "no cls: switched off"}} {
		if feature.Off(f.feature) && (strings.HasPrefix(why, dataplane.StealNFT) || strings.HasPrefix(why, dataplane.StealNone)) && !strings.Contains(why, f.word) {
			t.Errorf("%q doesn't say %q", why, f.word)
		}
	}
	if k != nil {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	if k, why, err := dataplane.OpenSteal("wire0", dataplane.StealNone); err != nil || k != nil || why == "" {
		t.Errorf("none: %v, %q, %v", k, why, err)
	}
	if _, _, err := dataplane.OpenSteal("wire0", "rope"); err == nil {
		t.Error("opened a rung that doesn't exist")
	}
	if _, _, err := dataplane.OpenSteal("nothere0", ""); err == nil {
		t.Error("opened a device that doesn't exist")
	}
}

// TestStealRenamed: a parent that is renamed is still taken from, and a device
// that is given its old name is not.
func TestStealRenamed(t *testing.T) {
	onEachRung(t, func(t *testing.T, rung string) {
		b := newStealBed(t)
		k := openSteal(t, rung)
		if err := k.Take(classify.Taken{Unicast: true}); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetName(b.near, "renamed0"); errors.Is(err, unix.EBUSY) {
			t.Skip("the kernel renames no device that is up (before 6.2)")
		} else if err != nil {
			t.Fatal(err)
		}
		if err := k.Rename("renamed0"); err != nil {
			t.Fatal(err)
		}
		frame := stealFrame(rand.New(rand.NewPCG(1, 1)), 4)
		frame[0] &^= 1
		if b.passes(frame) {
			t.Error("no longer taken")
		}
		if err := netlink.LinkSetName(b.far, "far1"); err != nil {
			t.Fatal(err)
		}
		if other := stealBedHere(t); !other.passes(frame) {
			t.Error("taken from a device that has the old name")
		}
		if b.passes(frame) {
			t.Error("no longer taken")
		}
	})
}
