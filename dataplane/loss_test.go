package dataplane

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
)

// picky is a Child that refuses some frames, pickyWire a Wire that does.
type picky struct {
	sink
	refuse func(*Frame) error
	got    *int
}

func (p picky) Send(frames []*Frame) (int, error) {
	for i, f := range frames {
		if err := p.refuse(f); err != nil {
			return i, err
		}
		*p.got++
	}
	return len(frames), nil
}

type pickyWire struct {
	sinkWire
	child picky
	wait  func()
}

func (w pickyWire) Send(frames []*Frame) (int, error) { return w.child.Send(frames) }
func (w pickyWire) WaitSend(int) error                { w.wait(); return nil }

// still is a switch whose loops don't run.
func still(t *testing.T, w Wire, spec *classify.Spec, children ...Child) (*Switch, []*Vmac) {
	t.Helper()
	sw, err := New(w, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sw.poll.close() })
	var vmacs []*Vmac
	for i, c := range children {
		vmacs = append(vmacs, NewVmac(spec.Vmacs[i].Name, c))
	}
	sw.Swap(spec, vmacs) // what is no descriptor can't be polled
	return sw, vmacs
}

// A frame that its receiver refuses is counted by reason, and those behind it
// are delivered.
func TestRefusedByChild(t *testing.T) {
	spec := &classify.Spec{Parent: parentMAC, BCLim: 1, Vmacs: []classify.Vmac{vmac(1, classify.Private)}}
	for err, want := range map[error]classify.Reason{
		unix.EIO: classify.TapDown, unix.EBADFD: classify.TapGone, net.ErrClosed: classify.TapGone,
		unix.ENOBUFS: classify.TapNoBuffer, unix.ENOMEM: classify.TapNoBuffer, unix.EAGAIN: classify.TapNoBuffer,
		unix.EINVAL: classify.TapRefused,
	} {
		got := 0
		bad := func(f *Frame) error {
			if f.Bytes()[14] == 'x' {
				return err
			}
			return nil
		}
		sw, v := still(t, sinkWire{}, spec, picky{sink{-1}, bad, &got})
		for _, c := range []byte("axxbxc") {
			sw.ingress(sw.snap.Load(), &Frame{Raw: frame(mac(1), mac(99), 0x88b5, []byte{c})})
		}
		sw.rx.flush()
		st := v[0].Stats()
		if got != 3 || st.RxPackets != 3 || st.RxBytes != 45 || st.Copies[classify.Delivered] != 3 || st.Copies[want] != 3 {
			t.Errorf("%v: %d arrived; %d packets, %d bytes, %d counted as %v", err, got, st.RxPackets, st.RxBytes, st.Copies[want], want)
		}
	}
}

// Before there is a vmac no queue is too full for a group.
func TestGroupBeforeVmacs(t *testing.T) {
	sw, _ := still(t, sinkWire{}, &classify.Spec{Parent: parentMAC, BCLim: 1})
	sw.ingress(sw.snap.Load(), &Frame{Raw: frame(classify.Broadcast, mac(99), 0x88b5, nil)})
	var frames [classify.NumReasons]uint64
	sw.rx.flush()
	sw.rx.count.frames.addTo(&frames)
	if frames[classify.BCQueueFull] != 0 {
		t.Error("counted as one that found no room")
	}
}

// The same for the parent.
func TestRefusedByWire(t *testing.T) {
	spec := &classify.Spec{Parent: parentMAC, BCLim: 1, Vmacs: []classify.Vmac{vmac(1, classify.Private)}}
	for err, want := range map[error]classify.Reason{
		unix.ENETDOWN: classify.WireDown, unix.ENXIO: classify.WireGone, unix.ENODEV: classify.WireGone,
		net.ErrClosed: classify.WireGone, unix.EMSGSIZE: classify.WireTooLong, unix.ENOBUFS: classify.WireNoBuffer,
		unix.ENOMEM: classify.WireNoBuffer, unix.EINVAL: classify.WireRefused,
	} {
		got := 0
		w := pickyWire{child: picky{got: &got, refuse: func(f *Frame) error {
			if f.Bytes()[14] == 'x' {
				return err
			}
			return nil
		}}}
		sw, v := still(t, w, spec, sink{-1})
		var out outbox
		for _, c := range []byte("axxbxc") {
			sw.egress(sw.snap.Load(), v[0], &Frame{Raw: frame(mac(99), mac(1), 0x88b5, []byte{c})}, &out)
		}
		sw.send(&out)
		st := v[0].Stats()
		if got != 3 || st.TxPackets != 3 || st.TxBytes != 45 || st.TxDropped != 3 || st.Sent[classify.ToWire] != 3 || st.Sent[want] != 3 {
			t.Errorf("%v: %d arrived; %d packets, %d bytes, %d dropped, %d counted as %v", err, got,
				st.TxPackets, st.TxBytes, st.TxDropped, st.Sent[want], want)
		}
	}
}

// A parent that takes little, but something, loses nothing.
func TestSlowWire(t *testing.T) {
	room, got := 1, 0
	w := pickyWire{
		wait: func() { time.Sleep(txPatience * 2 / 3); room = 1 },
		child: picky{got: &got, refuse: func(*Frame) error {
			if room == 0 {
				return unix.EAGAIN
			}
			room--
			return nil
		}},
	}
	spec := &classify.Spec{Parent: parentMAC, BCLim: 1, Vmacs: []classify.Vmac{vmac(1, classify.Private)}}
	sw, v := still(t, w, spec, sink{-1})
	var out outbox
	for range 4 {
		sw.egress(sw.snap.Load(), v[0], &Frame{Raw: frame(mac(99), mac(1), 0x88b5, nil)}, &out)
	}
	sw.send(&out)
	if st := v[0].Stats(); got != 4 || st.TxPackets != 4 || st.TxDropped != 0 {
		t.Errorf("%d arrived; %d packets, %d dropped", got, st.TxPackets, st.TxDropped)
	}
}

// The driver's accounts of what the other tests don't receive.
func TestIngressAccounts(t *testing.T) {
	source := vmac(1, classify.Source)
	spec := &classify.Spec{
		Parent: parentMAC, BCLim: 1, FilterAll: true,
		Vmacs:   []classify.Vmac{source, vmac(2, classify.Private)},
		Sources: []classify.SourceEntry{{Vmac: 0, MAC: mac(99)}},
	}
	got := 0
	all := picky{sink{-1}, func(*Frame) error { return nil }, &got}
	sw, v := still(t, sinkWire{}, spec, all, all)
	sn := sw.snap.Load()
	sw.ingress(sn, &Frame{Raw: frame(classify.Broadcast, mac(99), 0x88b5, make([]byte, 46))}) // a copy at once, a flood queued
	sw.ingress(sn, &Frame{Raw: frame(mac(2), mac(98), 0x8100, append([]byte{0, 10, 0x88, 0xb5}, make([]byte, 46)...)), Untagged: 4})
	sw.ingress(sn, &Frame{Raw: frame(mac(2), mac(98), 0x88b5, nil), Cut: true})
	sw.rx.flush()
	if st := v[0].Stats(); st.RxPackets != 1 || st.RxBytes != 60 || st.Multicast != 0 {
		t.Errorf("source copy: %d packets, %d bytes, %d multicast; want 1, 60, 0", st.RxPackets, st.RxBytes, st.Multicast)
	}
	if st := v[1].Stats(); st.RxPackets != 1 || st.RxBytes != 60 {
		t.Errorf("tagged: %d packets, %d bytes; want 1, 60", st.RxPackets, st.RxBytes)
	}
	if n := sw.rx.count.frames[classify.Truncated].Load(); got != 2 || n != 1 {
		t.Errorf("%d arrived; %d counted as cut", got, n)
	}
}

// A super-frame is not measured against a sibling's MTU, as it is cut up before
// it meets one (is_skb_forwardable).
func TestFloodSuperFrame(t *testing.T) {
	p := newPort(t, 64, Options{}, vmac(1, classify.Bridge), vmac(2, classify.Bridge))
	super := superFrame(classify.Broadcast, mac(1), 20000)
	p.fromVmac(0, super)
	p.atVmac(1, super)
	p.atWire(super)
	p.quiet()
}

// greedy is a Child that always has frames, and remembers how many it was asked
// for.
type greedy struct {
	Child
	most *atomic.Int64
}

func (g greedy) Recv(b *Batch, arena []byte, max int) ([]byte, error) {
	g.most.Store(int64(max))
	return g.Child.Recv(b, arena, max)
}

// A vmac that never stops sending gets its turn, and no more; what it sends is
// whole even where one turn doesn't hold it.
func TestTurns(t *testing.T) {
	p := newPort(t, 1024, Options{})
	var most atomic.Int64
	const vmacs, frames, size = 3, 30, 60000
	for i := range vmacs {
		p.add(vmac(i+1, classify.Private), false)
		if err := unix.SetsockoptInt(p.fds[i], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16<<20); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("a send buffer of 16 MiB: %v", err)
			}
			t.Skipf("needs CAP_NET_ADMIN for a send buffer of 16 MiB: %v", err)
		}
		p.v[i] = NewVmac(p.v[i].Name(), greedy{p.v[i].Child(), &most})
		for j := range frames {
			p.fromVmac(i, frame(mac(99), mac(i+1), 0x88b5, append([]byte{byte(j)}, bytes.Repeat([]byte{byte(i*frames + j)}, size)...)))
		}
	}
	p.swap()
	var b Batch
	next := map[classify.MAC]byte{}
	for n := 0; n < vmacs*frames; n += len(b.Frames) {
		if err := p.peer.Recv(&b); err != nil {
			t.Fatal(err)
		}
		for _, f := range b.Frames {
			e := f.Bytes()
			from := classify.MACFrom(e[6:])
			want := byte(int(from>>40)-1)*frames + next[from]
			if e[14] != next[from] || len(e) != 15+size || bytes.Count(e[15:], []byte{want}) != size {
				t.Fatalf("from %v: frame %d of %d bytes, or other bytes; want %d", from, e[14], len(e), next[from])
			}
			next[from]++
		}
	}
	if n := most.Load(); n != txBudget {
		t.Errorf("a vmac was asked for %d frames a turn", n)
	}
}

// Run says why it has ended.
func TestParentGone(t *testing.T) {
	wire, peer := NewPair(64, parentMAC)
	defer peer.Close()
	sw, err := New(wire, Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- sw.Run(t.Context()) }()
	wire.Delete()
	select {
	case err := <-done:
		if !errors.Is(err, unix.ENODEV) {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("Run goes on without a parent")
	}
	if err := sw.Swap(&classify.Spec{}, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Swap: %v", err)
	}
}

// TestEpoch closes generations as the reaper does, while a thread enters and
// parks as fast as it can.
func TestEpoch(t *testing.T) {
	var (
		e      epoch
		cur    atomic.Pointer[snapshot]
		closed atomic.Uint64 // generations below it
		quit   atomic.Bool
	)
	cur.Store(&snapshot{gen: 1})
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for !quit.Load() {
			sn := e.enter(&cur)
			for range 3 {
				if c := closed.Load(); c > sn.gen {
					done <- fmt.Errorf("entered generation %d, %d was closed", sn.gen, c-1)
					return
				}
			}
			e.park()
		}
	}()
	for gen, end := uint64(2), time.Now().Add(200*time.Millisecond); time.Now().Before(end); gen++ {
		cur.Store(&snapshot{gen: gen})
		if e.oldest() >= gen {
			closed.Store(gen)
		}
	}
	quit.Store(true)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
