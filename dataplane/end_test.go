package dataplane

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/tap"
)

// What the transmit loop has read when it is told to end is counted: the
// accounts of a port outlive its switch.
func TestEndUnderLoad(t *testing.T) {
	wire, peer := NewPair(64, parentMAC)
	defer peer.Close()
	sw, err := New(wire, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := &port{t: t, sw: sw, peer: peer, spec: classify.Spec{Parent: parentMAC, BCLim: 1, FilterAll: true}}
	p.add(vmac(1, classify.Bridge), false)
	p.add(vmac(2, classify.Bridge), false)
	p.swap()
	defer unix.Close(p.fds[0])
	defer unix.Close(p.fds[1])
	p.fromVmac(0, frame(mac(99), mac(1), 0x88b5, nil))
	p.fromVmac(0, frame(mac(2), mac(1), 0x88b5, nil))
	p.fromVmac(0, frame(classify.Broadcast, mac(1), 0x88b5, nil))
	sw.poll.wake() // is reported in the same wait, behind the vmac
	if err := sw.transmit(); err != nil {
		t.Fatal(err)
	}
	if st := sw.Stats(); st.Read != 3 || imbalance(st) != "" || st.Planned != 2 {
		t.Errorf("%s: read %d, sent %v, planned %d", imbalance(st), st.Read, st.Sent, st.Planned)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sw.Run(ctx); err != nil {
		t.Error(err)
	}
}

// slowClose is a Child whose Close takes as long as it is told to.
type slowClose struct {
	Child
	entered, leave chan struct{}
}

func (c slowClose) Close() error {
	close(c.entered)
	<-c.leave
	return c.Child.Close()
}

// Drain returns when the child is closed, not when it is about to be.
func TestDrainWaitsForClose(t *testing.T) {
	p := newPort(t, 64, Options{})
	p.add(vmac(1, classify.Private), false)
	slow := slowClose{p.v[0].Child(), make(chan struct{}), make(chan struct{})}
	p.v[0] = NewVmac("v1", slow)
	p.swap()
	p.spec.Vmacs, p.v = nil, nil
	p.swap()
	<-slow.entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.sw.Drain(ctx); err == nil {
		t.Error("drained while a child was still open")
	}
	close(slow.leave)
	if err := p.sw.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// held is a Child whose Send holds the data thread until it is told to go on.
type held struct {
	Child
	once           sync.Once
	entered, leave chan struct{}
}

func (h *held) Send(frames []*Frame) (int, error) {
	h.once.Do(func() { close(h.entered) })
	<-h.leave
	return h.Child.Send(frames)
}

// A switch that ends closes what was swapped out, too, and Drain learns of it.
func TestDrainWhenSwitchEnds(t *testing.T) {
	p := newPort(t, 64, Options{})
	p.add(vmac(1, classify.Private), false)
	h := &held{Child: p.v[0].Child(), entered: make(chan struct{}), leave: make(chan struct{})}
	p.v[0] = NewVmac("v1", h)
	p.swap()
	p.fromWire(frame(mac(1), mac(99), 0x88b5, nil))
	<-h.entered
	p.spec.Vmacs, p.v = nil, nil
	p.swap()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- p.sw.Drain(ctx) }()
	ended := make(chan error, 1)
	go func() { ended <- p.stop() }()
	time.Sleep(50 * time.Millisecond)
	close(h.leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
	p.stop = func() error { return nil }
}

// Groups that still wait when the switch ends are lost, and counted.
func TestEndWithBroadcastsWaiting(t *testing.T) {
	p := newPort(t, 64, Options{})
	p.add(vmac(1, classify.Private), false)
	h := &held{Child: p.v[0].Child(), entered: make(chan struct{}), leave: make(chan struct{})}
	p.v[0] = NewVmac("v1", h)
	p.swap()
	bc := frame(classify.Broadcast, mac(99), 0x88b5, nil)
	p.fromWire(bc)
	<-h.entered
	for range 3 {
		p.fromWire(bc)
	}
	for p.sw.Stats().InQueue < 4 {
		time.Sleep(time.Millisecond)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.stop() }()
	time.Sleep(20 * time.Millisecond)
	close(h.leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	p.stop = func() error { return nil }
	st := p.sw.Stats()
	if st.InQueue != 0 || st.Planned != 4 || st.Copies[classify.Delivered]+st.Copies[classify.VmacGone] != 4 {
		t.Errorf("planned %d, delivered %d, gone %d, in queue %d", st.Planned,
			st.Copies[classify.Delivered], st.Copies[classify.VmacGone], st.InQueue)
	}
}

// What a storm has used is not kept for good.
func TestBroadcastQueueMemory(t *testing.T) {
	var q bcQueue
	q.init()
	q.setCap(1000)
	f := Frame{Raw: make([]byte, 1500)}
	for range 1000 {
		it := q.item()
		it.to = append(it.to, make([]bcCopy, 4096)...)
		q.put(nil, it, &f)
	}
	items, err := q.take(nil)
	if err != nil || len(items) != 1000 {
		t.Fatal(len(items), err)
	}
	q.recycle(items...)
	bytes := 0
	for _, it := range q.unused {
		bytes += cap(it.buf) + cap(it.to)*int(reflect.TypeFor[bcCopy]().Size())
	}
	if bytes > bcKeep || len(q.unused) < bcTurn/2 {
		t.Errorf("%d bytes kept in %d items", bytes, len(q.unused))
	}
	for range q.unused {
		q.item()
	}
	if q.kept != 0 {
		t.Errorf("%d bytes kept in no item", q.kept)
	}
}

// An event is about the vmac that was polled, not about the one that has got its
// slot since.
func TestSlotReused(t *testing.T) {
	wire, peer := NewPair(64, parentMAC)
	defer peer.Close()
	sw, err := New(wire, Options{})
	if err != nil {
		t.Fatal(err)
	}
	swap := func(v ...*Vmac) {
		t.Helper()
		spec := classify.Spec{Parent: parentMAC}
		for range v {
			spec.Vmacs = append(spec.Vmacs, vmac(1, classify.Private))
		}
		if err := sw.Swap(&spec, v); err != nil {
			t.Fatal(err)
		}
	}
	// A pipe without a writer reports what a TAP does that is no more: that alone.
	pipe := func() (v *Vmac, writer int) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		d, err := tap.FromFD(fds[0], false)
		if err != nil {
			t.Fatal(err)
		}
		return NewVmac("v1", NewTap(d)), fds[1]
	}
	old, oldWriter := pipe()
	next, nextWriter := pipe()
	defer unix.Close(nextWriter)
	swap(old)
	unix.Close(oldWriter)
	if n, err := sw.poll.wait(); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	slot, serial, gone := sw.poll.event(0)
	if v := sw.snap.Load().at(slot, serial); v != old || !gone {
		t.Fatalf("%p is gone: %v", v, gone)
	}
	swap()
	swap(next)
	if next.slot != slot {
		t.Fatalf("slot %d after %d", next.slot, slot)
	}
	if v := sw.snap.Load().at(slot, serial); v != nil {
		t.Error("another vmac is taken for the one that is gone")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sw.Run(ctx); err != nil {
		t.Error(err)
	}
}

// A parent that takes nothing costs one wait, whether or not it has headers.
func TestWireBusyPlain(t *testing.T) {
	p := newPort(t, 1, Options{}, vmac(1, classify.Private))
	p.sw.wire.(*MemWire).SetOffload(false)
	const frames = 30
	begin := time.Now()
	for range frames {
		p.fromVmac(0, frame(mac(99), mac(1), 0x88b5, nil))
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		st := p.sw.Stats()
		if st.Sent[classify.WireBusy]+st.Sent[classify.ToWire] == frames {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(begin); took > 5*txPatience {
		t.Errorf("%v for %d frames", took, frames)
	}
}
