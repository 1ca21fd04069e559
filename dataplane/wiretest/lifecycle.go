package wiretest

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
)

// soon is how long Close may take to wake somebody; measured, it is less than
// a millisecond.
const soon = 500 * time.Millisecond

func (l *link) closeSoon(done <-chan error) {
	l.t.Helper()
	time.Sleep(50 * time.Millisecond)
	select {
	case err := <-done:
		l.t.Fatalf("did not block: %v", err)
	default:
	}
	begin := time.Now()
	if err := l.w.Close(); err != nil {
		l.t.Errorf("Close: %v", err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			l.t.Errorf("woken with %v, want net.ErrClosed", err)
		}
	case <-time.After(soon):
		l.t.Fatal("Close woke nobody")
	}
	if d := time.Since(begin); d > soon {
		l.t.Errorf("Close took %v", d)
	}
}

func closeReceiving(t *testing.T, l *link) {
	done := make(chan error, 1)
	go func() { done <- l.w.Recv(&l.b) }()
	l.closeSoon(done)
}

// closeWaiting fills the parent until it says EAGAIN.
func closeWaiting(t *testing.T, l *link) {
	if l.dev != nil {
		// The far end of a veth would take everything at once.
		if err := l.dev.Shape(400_000); err != nil {
			t.Fatal(err)
		}
	}
	var frames []*dataplane.Frame
	for range 1000 {
		frames = append(frames, &dataplane.Frame{Raw: small(classify.Broadcast, mine, 1)})
	}
	fill := func() (sent int) {
		for {
			n, err := l.w.Send(frames)
			sent += n
			if errors.Is(err, unix.EAGAIN) {
				return sent
			}
			if err != nil {
				t.Fatal(err)
			}
			if sent > 1_000_000 {
				t.Fatal("the parent is never full")
			}
		}
	}
	sent := fill()
	begin := time.Now()
	if err := l.w.WaitSend(5); err != nil || time.Since(begin) < 4*time.Millisecond {
		t.Errorf("WaitSend(5) on a full wire: %v after %v", err, time.Since(begin))
	}
	if l.dev != nil {
		begin := time.Now()
		if err := l.w.WaitSend(5000); err != nil || time.Since(begin) > 4*time.Second {
			t.Errorf("WaitSend(5000) on a wire that empties: %v after %v", err, time.Since(begin))
		}
		// A small buffer would have room again before anybody could wait for it.
		if err := l.dev.Shape(8_000); err != nil {
			t.Fatal(err)
		}
		// On a busy machine frames that have left the queue, and wait for the far end's
		// processor, take up room for a while.
		for tries := 0; ; tries++ {
			n := fill()
			if sent += n; n <= 1 {
				break
			}
			if tries == 100 {
				t.Fatal("the parent is never full for long")
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	if s := l.w.Stats(); s.Sent != uint64(sent) {
		t.Errorf("%d sent, Send said %d", s.Sent, sent)
	}
	done := make(chan error, 1)
	go func() { done <- l.w.WaitSend(-1) }()
	l.closeSoon(done)
}

func closeBorrowed(t *testing.T, l *link) {
	if err := l.w.Program(classify.Addresses{Unicast: []classify.MAC{mine}}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.inject(small(group, ext, uint32(i)))
	}
	if err := l.recv(); err != nil {
		t.Fatal(err)
	}
	if err := l.w.Close(); err != nil {
		t.Fatal(err)
	}
	for i, f := range l.b.Frames {
		if n := number(f.Bytes()); n != uint32(i) {
			t.Fatalf("borrowed frame %d reads %d after Close", i, n)
		}
	}
	if l.dev != nil {
		l.forgotten()
	}
	if err := l.recv(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Recv after Close: %v", err)
	}
}

// closedUnread: what nobody received any more is accounted for.
func closedUnread(t *testing.T, l *link) {
	const frames = 5
	for i := range frames {
		l.inject(small(group, ext, uint32(i)))
	}
	for deadline := time.Now().Add(soon); l.w.Stats().Packets < frames && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if err := l.w.Close(); err != nil {
		t.Fatal(err)
	}
	if s := l.w.Stats(); s.Packets != frames {
		t.Errorf("%d packets of %d", s.Packets, frames)
	}
	l.balance()
}

func closed(t *testing.T, l *link) {
	for range 2 {
		if err := l.w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	l.w.Stats()
	_, sendErr := l.w.Send([]*dataplane.Frame{{Raw: small(ext, mine, 1)}})
	for what, err := range map[string]error{
		"Recv":     l.recv(),
		"Send":     sendErr,
		"WaitSend": l.w.WaitSend(-1),
		"Program":  l.w.Program(classify.Addresses{}),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v, want net.ErrClosed", what, err)
		}
	}
}

func ownFrames(t *testing.T, l *link) {
	dev := l.device()
	if err := l.w.Program(classify.Addresses{All: true}); err != nil {
		t.Fatal(err)
	}
	for _, dst := range []classify.MAC{classify.Broadcast, group, other, mine} {
		raw := small(dst, ext, 1)
		if err := dev.SendHost(raw); err != nil {
			t.Fatal(err)
		}
		l.capture()
		if n, err := l.w.Send([]*dataplane.Frame{{Raw: raw}}); n != 1 {
			t.Fatal(err)
		}
		l.capture()
		l.nothing("a frame that the host sent")
	}
	l.balance()
}

func downUp(t *testing.T, l *link) {
	dev := l.device()
	if err := l.w.Program(classify.Addresses{Unicast: []classify.MAC{mine}, Dst: []classify.MAC{mine}}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		l.inject(small(mine, ext, uint32(i)))
		l.receive(1)
		done := make(chan error, 1)
		go func() { done <- l.w.Recv(&l.b) }()
		if err := dev.SetUp(false); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			t.Fatalf("Recv while the parent is down: %v", err)
		case <-time.After(150 * time.Millisecond):
		}
		if n, err := l.w.Send([]*dataplane.Frame{{Raw: small(ext, mine, 1)}}); n != 0 || !errors.Is(err, unix.ENETDOWN) {
			t.Errorf("Send while the parent is down: %d, %v", n, err)
		}
		if err := dev.SetUp(true); err != nil {
			t.Fatal(err)
		}
		l.inject(small(mine, ext, 77))
		select {
		case err := <-done:
			if err != nil || len(l.b.Frames) != 1 || number(l.b.Frames[0].Bytes()) != 77 {
				t.Fatalf("Recv after the parent came up: %v, %d frames", err, len(l.b.Frames))
			}
			l.seen++
		case <-time.After(soon):
			t.Fatal("nothing received after the parent came up")
		}
	}
	l.balance()
}

func deleted(t *testing.T, l *link) { l.delete(func() {}) }

// deletedDown is a deletion that the kernel doesn't report to the socket.
func deletedDown(t *testing.T, l *link) {
	l.delete(func() {
		if err := l.device().SetUp(false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	})
}

func (l *link) delete(before func()) {
	dev := l.device()
	done := make(chan error, 1)
	go func() { done <- l.w.Recv(&l.b) }()
	time.Sleep(20 * time.Millisecond)
	before()
	begin := time.Now()
	if err := dev.Delete(); err != nil {
		l.t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, unix.ENODEV) {
			l.t.Errorf("Recv after the parent was deleted: %v, want ENODEV", err)
		}
		l.t.Logf("noticed %v after the deletion was begun", time.Since(begin).Round(time.Millisecond))
	case <-time.After(3 * time.Second):
		l.t.Fatal("the deletion was not noticed")
	}
	if err := l.recv(); !errors.Is(err, unix.ENODEV) {
		l.t.Errorf("the next Recv: %v, want ENODEV", err)
	}
	if n, err := l.w.Send([]*dataplane.Frame{{Raw: small(ext, mine, 1)}}); n != 0 || !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENODEV) {
		l.t.Errorf("Send: %d, %v", n, err)
	}
}

func memberships(t *testing.T, l *link) {
	dev := l.device()
	check := func(what string, promisc int, want ...classify.MAC) {
		t.Helper()
		n, err := dev.Promiscuity()
		if err != nil {
			t.Fatal(err)
		}
		if n != promisc {
			t.Errorf("%s: promiscuity %d, want %d", what, n, promisc)
		}
		got, err := dev.Addresses()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []classify.MAC{mine, other, group, group + 1<<40} {
			if slices.Contains(got, m) != slices.Contains(want, m) {
				t.Errorf("%s: address %v is in the parent's lists: %v", what, m, slices.Contains(got, m))
			}
		}
	}
	program := func(a classify.Addresses) {
		t.Helper()
		if err := l.w.Program(a); err != nil {
			t.Fatal(err)
		}
	}
	// The parent is a veth, which has no unicast filter: an address makes it
	// promiscuous.
	check("at first", 0)
	program(classify.Addresses{Unicast: []classify.MAC{mine}, Multicast: []classify.MAC{group}})
	check("one each", 1, mine, group)
	program(classify.Addresses{Unicast: []classify.MAC{mine, other}, Multicast: []classify.MAC{group, group + 1<<40}})
	check("two each", 1, mine, other, group, group+1<<40)
	program(classify.Addresses{Unicast: []classify.MAC{other}, Multicast: []classify.MAC{group + 1<<40}, Promisc: 1, Allmulti: 1})
	check("promisc", 2, other, group+1<<40)
	program(classify.Addresses{Unicast: []classify.MAC{other}, Promisc: 3, Allmulti: 2})
	check("promisc three times", 4, other)
	program(classify.Addresses{Promisc: 1})
	check("promisc alone", 1)
	program(classify.Addresses{})
	check("none", 0)

	many := classify.Addresses{}
	for i := range 4096 {
		many.Unicast = append(many.Unicast, 2|classify.MAC(i)<<24)
	}
	many.Dst = many.Unicast
	begin := time.Now()
	program(many)
	t.Logf("4096 addresses programmed in %v", time.Since(begin).Round(time.Millisecond))
	check("4096", 1)
	begin = time.Now()
	many.Unicast = append(many.Unicast[1:], mine)
	many.Dst = many.Unicast
	program(many)
	if d := time.Since(begin); d > time.Second {
		t.Errorf("changing one of 4096 addresses took %v", d)
	}
	check("4096, one changed", 1, mine)
	l.w.Close()
	l.forgotten()
}

// forgotten says that the parent has none of the port's addresses after Close.
func (l *link) forgotten() {
	l.t.Helper()
	n, err := l.dev.Promiscuity()
	if err != nil || n != 0 {
		l.t.Errorf("promiscuity %d after Close, %v", n, err)
	}
	got, err := l.dev.Addresses()
	if err != nil {
		l.t.Fatal(err)
	}
	if slices.Contains(got, mine) {
		l.t.Error("the address is still in the parent's list after Close")
	}
}
