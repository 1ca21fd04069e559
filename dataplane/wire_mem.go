package dataplane

import (
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// MemWire is one end of an in-memory pair, for tests: what one end sends, the
// other receives, if its own Program lets it.
type MemWire struct {
	peer  *MemWire
	mac   classify.MAC
	limit int

	ready chan struct{} // holds a token when the queue may have frames
	room  chan struct{} // holds a token when the peer's queue may have room
	done  chan struct{} // closed by Close and by Delete

	mu      sync.Mutex
	queue   [][]byte // received, oldest first
	lent    [][]byte // borrowed
	free    [][]byte
	offload bool
	addrs   classify.Addresses
	dst     map[classify.MAC]bool
	src     map[classify.MAC]bool
	end     error // after Close or Delete
	stats   WireStats
}

// NewPair returns two ends with offload, each of which holds at most limit
// frames that it has not yet given out. Frames that a receives are typed as on
// a device with the address mac, those that b receives as on one with none.
func NewPair(limit int, mac classify.MAC) (a, b *MemWire) {
	a, b = newMemWire(limit, mac), newMemWire(limit, 0)
	a.peer, b.peer = b, a
	return a, b
}

func newMemWire(limit int, mac classify.MAC) *MemWire {
	return &MemWire{
		mac: mac, limit: limit, offload: true,
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// memBatch is how many frames one Recv gives at most.
const memBatch = 64

func (w *MemWire) Recv(b *Batch) error {
	b.Frames = b.Frames[:0]
	for {
		w.mu.Lock()
		w.free = append(w.free, w.lent...)
		w.lent = w.lent[:0]
		if w.end != nil {
			w.mu.Unlock()
			return w.end
		}
		n := min(len(w.queue), memBatch)
		if n > 0 {
			w.lent = append(w.lent, w.queue[:n]...)
			w.queue = append(w.queue[:0], w.queue[n:]...)
			for _, raw := range w.lent {
				b.Frames = append(b.Frames, w.frame(raw))
			}
			w.stats.Received += uint64(n)
			w.mu.Unlock()
			token(w.peer.room)
			return nil
		}
		w.mu.Unlock()
		select {
		case <-w.ready:
		case <-w.done:
		}
	}
}

func (w *MemWire) frame(raw []byte) Frame {
	f := Frame{Raw: raw, Type: classify.TypeOther}
	e := f.Bytes()
	switch dst := classify.MACFrom(e); {
	case dst == classify.Broadcast:
		f.Type = classify.TypeBroadcast
	case dst.IsGroup():
		f.Type = classify.TypeMulticast
	case dst == w.mac:
		f.Type = classify.TypeHost
	}
	if tpid := uint16(e[12])<<8 | uint16(e[13]); tpid == 0x8100 || tpid == 0x88a8 {
		f.Untagged = tagLen
	}
	if !w.offload && vnet.Parse(raw) != (vnet.Hdr{}) {
		clear(raw[:vnet.HdrLen])
		_ = vnet.CompleteUnmarked(e)
	}
	return f
}

// Send refuses a frame that no Ethernet device would take with EINVAL.
func (w *MemWire) Send(frames []*Frame) (int, error) {
	w.mu.Lock()
	end := w.end
	w.mu.Unlock()
	if end != nil {
		return 0, end
	}
	n, err := w.peer.take(frames)
	w.mu.Lock()
	w.stats.Sent += uint64(n)
	w.mu.Unlock()
	return n, err
}

// take queues copies of frames as far as there is room.
func (w *MemWire) take(frames []*Frame) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, f := range frames {
		if len(f.Raw) < vnet.HdrLen+14 || len(f.Raw) > MaxRaw {
			return i, unix.EINVAL
		}
		if !w.passes(f.Bytes()) {
			continue
		}
		if len(w.queue) >= w.limit && w.end == nil {
			return i, unix.EAGAIN
		}
		w.stats.Packets++
		if w.end != nil {
			w.stats.Drops++ // as a wire on which nobody listens any more
			continue
		}
		var buf []byte
		if last := len(w.free) - 1; last >= 0 {
			buf, w.free = w.free[last], w.free[:last]
		}
		w.queue = append(w.queue, append(buf[:0], f.Raw...))
		token(w.ready)
	}
	return len(frames), nil
}

func (w *MemWire) passes(e []byte) bool {
	dst := classify.MACFrom(e)
	return w.addrs.All || dst.IsGroup() || w.dst[dst] || w.src[classify.MACFrom(e[6:])]
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// WaitSend returns when the other end has taken frames out of its queue.
func (w *MemWire) WaitSend(timeoutMillis int) error {
	var after <-chan time.Time
	if timeoutMillis >= 0 {
		t := time.NewTimer(time.Duration(timeoutMillis) * time.Millisecond)
		defer t.Stop()
		after = t.C
	}
	w.peer.mu.Lock()
	full := len(w.peer.queue) >= w.limit
	w.peer.mu.Unlock()
	if full {
		select {
		case <-w.room:
		case <-after:
		case <-w.done:
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end
}

// Program remembers a, for Programmed, and filters by it.
func (w *MemWire) Program(a classify.Addresses) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end != nil {
		return w.end
	}
	w.addrs = a
	w.dst, w.src = make(map[classify.MAC]bool), make(map[classify.MAC]bool)
	for _, m := range a.Dst {
		w.dst[m] = true
	}
	for _, m := range a.Src {
		w.src[m] = true
	}
	return nil
}

// Programmed returns what the last Program was given; after Close, nothing.
func (w *MemWire) Programmed() classify.Addresses {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.addrs
}

// SetOffload makes this end one with or without virtio headers. Not for use
// while frames move.
func (w *MemWire) SetOffload(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offload = on
}

func (w *MemWire) Offload() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.offload
}

func (w *MemWire) Stats() WireStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Delete is the parent's deletion: from now on calls return unix.ENODEV.
func (w *MemWire) Delete() { w.stop(fmt.Errorf("receive from memory: %w", unix.ENODEV)) }

func (w *MemWire) Close() error {
	w.stop(net.ErrClosed)
	return nil
}

func (w *MemWire) stop(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end == nil {
		close(w.done)
		w.stats.Drops += uint64(len(w.queue))
		w.queue = nil
	}
	w.end = err
	w.addrs, w.dst, w.src = classify.Addresses{}, nil, nil
	token(w.peer.room)
}
