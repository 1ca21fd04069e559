// Package wiretest is the suite that every Wire must pass.
package wiretest

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
)

// Peer is the other end of a Wire's link. Raw frames are a virtio header and
// an Ethernet frame with its tag in place, as on a Wire.
type Peer interface {
	// Inject sends a raw frame towards the Wire.
	Inject(raw []byte) error

	// Capture returns the next raw frame that came out of the parent, or
	// ErrQuiet if there is none for as long as wait. It is the caller's.
	Capture(wait time.Duration) ([]byte, error)
}

// ErrQuiet is Capture's answer when no frame came.
var ErrQuiet = errors.New("no frame")

// Device is implemented by a Peer whose Wire stands on a real parent.
type Device interface {
	Peer

	// SendHost sends a raw frame out of the parent as the host itself does,
	// past the Wire.
	SendHost(raw []byte) error

	// Shape gives the parent a queue that empties at so many bits per second.
	Shape(rate uint64) error

	SetUp(up bool) error
	Delete() error
	Promiscuity() (int, error)

	// Addresses returns what the parent's unicast and multicast lists hold.
	Addresses() ([]classify.MAC, error)
}

// Open returns a new Wire, on which nothing has been received, and its peer.
// It leaves cleaning up after the peer to t.Cleanup; the suite closes the Wire.
type Open func(t *testing.T) (dataplane.Wire, Peer)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	// The runtime's poller keeps descriptors of its own from its first use on.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *link)
	}{
		{"order", order},
		{"borrow", borrow},
		{"send", send},
		{"super-frames", superFrames},
		{"checksum", checksum},
		{"vlan", vlan},
		{"filter", filter},
		{"close while receiving", closeReceiving},
		{"close while waiting to send", closeWaiting},
		{"close while frames are borrowed", closeBorrowed},
		{"closed", closed},
		{"closed with frames unread", closedUnread},
		{"stalled reader", stalled},
		{"allocations", allocations},
		{"own frames", ownFrames},
		{"parent down and up", downUp},
		{"parent deleted", deleted},
		{"parent deleted while down", deletedDown},
		{"memberships", memberships},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := resources()
			t.Cleanup(func() { noLeaks(t, before) }) // runs last
			w, p := open(t)
			l := &link{t: t, w: w, p: p}
			t.Cleanup(func() { w.Close() })
			l.dev, _ = p.(Device)
			c.run(t, l)
			w.Close()
		})
	}
}

// link is a Wire under test and its peer.
type link struct {
	t    *testing.T
	w    dataplane.Wire
	p    Peer
	dev  Device // nil for a Wire without a device
	b    dataplane.Batch
	seen uint64 // frames that Recv gave
}

func (l *link) device() Device {
	if l.dev == nil {
		l.t.Skip("this Wire has no device")
	}
	return l.dev
}

func (l *link) inject(raw []byte) {
	l.t.Helper()
	if err := l.p.Inject(raw); err != nil {
		l.t.Fatalf("inject: %v", err)
	}
}

// recv fails the test if Recv doesn't return in time: a Wire that blocks here
// would otherwise hang the whole run.
func (l *link) recv() error {
	l.t.Helper()
	done := make(chan error, 1)
	go func() { done <- l.w.Recv(&l.b) }()
	select {
	case err := <-done:
		l.seen += uint64(len(l.b.Frames))
		return err
	case <-time.After(5 * time.Second):
		l.t.Fatal("Recv has blocked for 5 s")
		return nil
	}
}

// receive returns copies of the next n frames.
func (l *link) receive(n int) []dataplane.Frame {
	l.t.Helper()
	var got []dataplane.Frame
	for len(got) < n {
		if err := l.recv(); err != nil {
			l.t.Fatalf("Recv after %d of %d frames: %v", len(got), n, err)
		}
		for _, f := range l.b.Frames {
			f.Raw = bytes.Clone(f.Raw)
			got = append(got, f)
		}
	}
	if len(got) != n {
		l.t.Fatalf("%d frames, want %d", len(got), n)
	}
	return got
}

// nothing says that Recv gives no frame but the marker that it injects.
func (l *link) nothing(what string) {
	l.t.Helper()
	mark := small(classify.Broadcast, ext, 0xdead)
	l.inject(mark)
	if f := l.receive(1)[0]; !bytes.Equal(f.Bytes(), mark[10:]) {
		l.t.Fatalf("%s: received % x", what, head(f.Bytes()))
	}
}

func (l *link) capture() []byte {
	l.t.Helper()
	raw, err := l.p.Capture(2 * time.Second)
	if err != nil {
		l.t.Fatalf("capture: %v", err)
	}
	return raw
}

// balance asserts the first equation of the ledger on a drained Wire.
func (l *link) balance() {
	l.t.Helper()
	s := l.w.Stats()
	if s.Packets != s.Received+s.Drops {
		l.t.Errorf("%d packets = %d received + %d drops doesn't hold", s.Packets, s.Received, s.Drops)
	}
	if s.Received != l.seen {
		l.t.Errorf("received counts %d, Recv gave %d", s.Received, l.seen)
	}
}

type usage struct{ fds, goroutines int }

func resources() usage { return usage{countFDs(), runtime.NumGoroutine()} }

func noLeaks(t *testing.T, before usage) {
	var now usage
	for range 100 {
		if now = resources(); now.fds <= before.fds && now.goroutines <= before.goroutines {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("leak: %d descriptors and %d goroutines, before: %d and %d",
		now.fds, now.goroutines, before.fds, before.goroutines)
}

func head(b []byte) []byte { return b[:min(len(b), 32)] }
