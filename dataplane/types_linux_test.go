package dataplane_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/dataplane/wiretest"
	"github.com/umacvlan/umacvlan/tap"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// stackType writes a frame to the device and returns the packet type that
// protocol handlers see it as.
func stackType(t *testing.T, d *tap.Device, stack int, to classify.MAC, tags ...uint16) classify.PacketType {
	t.Helper()
	raw := make([]byte, vnet.HdrLen+12, vnet.HdrLen+80)
	to.Put(raw[vnet.HdrLen:])
	copy(raw[vnet.HdrLen+6:], []byte{2, 0, 0, 0, 0x0e, 1})
	for _, vid := range tags {
		raw = binary.BigEndian.AppendUint16(raw, 0x8100)
		raw = binary.BigEndian.AppendUint16(raw, vid)
	}
	raw = binary.BigEndian.AppendUint16(raw, 0x88b5)
	raw = append(raw, make([]byte, 46)...)
	if err := d.Write(raw); err != nil {
		t.Fatal(err)
	}
	p := []unix.PollFd{{Fd: int32(stack), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, 10_000); n != 1 || err != nil {
		t.Fatalf("the stack got nothing: %v", err)
	}
	_, from, err := unix.Recvfrom(stack, make([]byte, 100), 0)
	if err != nil {
		t.Fatal(err)
	}
	return classify.PacketType(from.(*unix.SockaddrLinklayer).Pkttype)
}

func TestTypes(t *testing.T) {
	wiretest.Namespace(t)
	own, parent, other := classify.MACFrom([]byte{2, 0, 0, 0, 1, 1}), classify.MACFrom([]byte{2, 0, 0, 0, 0, 0xa}), classify.MACFrom([]byte{2, 0, 0, 0, 0x77, 0x77})
	group := classify.MACFrom([]byte{1, 0, 0x5e, 1, 2, 3})
	types, err := dataplane.OpenTypes()
	if err != nil {
		t.Skip(err) // TestStealProgram says whether it may be missing
	}
	t.Cleanup(types.Close)
	d, err := tap.Create(tap.Config{Name: "vmac0", MAC: own.Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	l, err := netlink.LinkByName("vmac0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	home := packetSocket(t, l.Attrs().Index, 0x88b5)
	if got := stackType(t, d, home, other); got != classify.TypeOther {
		t.Errorf("without the program: %v", got)
	}
	start := time.Now()
	again, err := types.Attach(l.Attrs().Index)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("attached in %v, again %v", time.Since(start), again)

	source := &classify.Spec{Parent: parent, Vmacs: []classify.Vmac{{Mode: classify.Source, MAC: own, Up: true}, {Mode: classify.Bridge, MAC: other}}}
	passthru := &classify.Spec{Parent: own, Vmacs: []classify.Vmac{{Mode: classify.Passthru, MAC: own, Up: true}}}
	check := func(where string, stack int) {
		t.Helper()
		for _, c := range []struct {
			spec *classify.Spec
			to   classify.MAC
			want classify.PacketType
		}{
			{source, own, classify.TypeHost}, {source, parent, classify.TypeHost}, {source, other, classify.TypeOther},
			{source, group, classify.TypeMulticast}, {source, classify.Broadcast, classify.TypeBroadcast}, {source, 0, classify.TypeOther},
			{passthru, own, classify.TypeHost}, {passthru, parent, classify.TypeHost}, {passthru, other, classify.TypeHost},
			{passthru, group, classify.TypeMulticast}, {passthru, classify.Broadcast, classify.TypeBroadcast}, {passthru, 0, classify.TypeHost},
		} {
			if err := types.Set(c.spec); err != nil {
				t.Fatal(err)
			}
			if got := stackType(t, d, stack, c.to); got != c.want {
				t.Errorf("%s: %v to %v: %v, want %v", where, c.spec.Vmacs[0].Mode, c.to, got, c.want)
			}
		}
		// __netif_receive_skb_core, once nobody has taken the tag.
		if got := stackType(t, d, stack, own, 5); got != classify.TypeOther {
			t.Errorf("%s: in a VLAN: %v", where, got)
		}
	}
	check("at home", home)

	// Moved, as its owner may do at any time, and back.
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	away, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	if err := netns.Set(here); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetNsFd(l, int(away)); err != nil {
		t.Fatal(err)
	}
	if err := netns.Set(away); err != nil {
		t.Fatal(err)
	}
	os.WriteFile("/proc/sys/net/ipv6/conf/vmac0/disable_ipv6", []byte("1"), 0)
	if l, err = netlink.LinkByName("vmac0"); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	stack := packetSocket(t, l.Attrs().Index, 0x88b5)
	if again {
		if _, err := types.Attach(l.Attrs().Index); err != nil {
			t.Fatal(err)
		}
	}
	check("away", stack)
	if err := netns.Set(here); err != nil {
		t.Fatal(fmt.Errorf("back: %w", err))
	}
}

// TestTypesClosed: what is closed is attached to nothing any more, whoever asks.
func TestTypesClosed(t *testing.T) {
	types, err := dataplane.OpenTypes()
	if err != nil {
		t.Skip("no program: ", err) // TestTypes says whether that is all right
	}
	types.Close()
	if _, err := types.Attach(1 << 30); !errors.Is(err, net.ErrClosed) {
		t.Errorf("attach: %v", err)
	}
	if err := types.Set(&classify.Spec{Parent: 1}); err != nil {
		t.Errorf("set: %v", err)
	}
	types.Close()
}
