package dataplane

import (
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

// sink is a Child that takes everything, so that what is measured is the switch
// and not a system call.
type sink struct{ fd int }

func (s sink) FD() int                                                   { return s.fd }
func (sink) Recv(_ *Batch, arena []byte, _ int) (rest []byte, err error) { return arena, nil }
func (sink) Send(frames []*Frame) (int, error)                           { return len(frames), nil }
func (sink) Offload() bool                                               { return true }
func (sink) Close() error                                                { return nil }

// sinkWire is a Wire that takes everything.
type sinkWire struct{ Wire }

func (sinkWire) Send(frames []*Frame) (int, error) { return len(frames), nil }
func (sinkWire) Offload() bool                     { return true }
func (sinkWire) Program(classify.Addresses) error  { return nil }

// loops returns one turn of each way through a switch of two bridge vmacs, 64
// frames each.
func loops(t testing.TB) map[string]func() {
	sw, err := New(sinkWire{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sw.poll.close() })
	spec := &classify.Spec{Parent: parentMAC, BCLim: 1, FilterAll: true, Vmacs: []classify.Vmac{vmac(1, classify.Bridge), vmac(2, classify.Bridge)}}
	vmacs := []*Vmac{NewVmac("v1", sink{sw.poll.ev}), NewVmac("v2", sink{sw.poll.ev})}
	sw.Swap(spec, vmacs) // the sinks can't be polled; nobody polls them
	sn := sw.snap.Load()
	batch := func(dst, src classify.MAC) []Frame {
		frames := make([]Frame, 64)
		for i := range frames {
			frames[i].Raw = frame(dst, src, 0x88b5, make([]byte, 46))
		}
		return frames
	}
	in, bc := batch(mac(1), mac(99)), batch(classify.Broadcast, mac(99))
	out, local := batch(mac(99), mac(1)), batch(mac(2), mac(1))
	var back []*bcItem
	var box outbox
	return map[string]func(){
		"way=in": func() {
			for i := range in {
				sw.ingress(sn, &in[i])
			}
			sw.rx.flush()
		},
		"way=broadcast": func() {
			for i := range bc {
				sw.ingress(sn, &bc[i])
			}
			sw.rx.flush()
			items, _ := sw.queue.take(back)
			sw.broadcastTurn(items)
			back = items
		},
		"way=out": func() {
			for i := range out {
				sw.egress(sn, vmacs[0], &out[i], &box)
			}
			sw.tx.flush()
			sw.send(&box)
		},
		"way=sibling": func() {
			for i := range local {
				sw.egress(sn, vmacs[0], &local[i], &box)
			}
			sw.tx.flush()
		},
	}
}

// counted is a sink that says how many frames it has taken.
type counted struct {
	sink
	n *int
}

func (c counted) Send(frames []*Frame) (int, error) { *c.n += len(frames); return len(frames), nil }

// A unicast that stands before a broadcast in one batch is delivered before the
// broadcast is in the queue, from where another thread may deliver it at once.
func TestUnicastBeforeBroadcast(t *testing.T) {
	sw, err := New(sinkWire{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sw.poll.close() })
	n := 0
	spec := &classify.Spec{Parent: parentMAC, BCLim: 1, FilterAll: true, Vmacs: []classify.Vmac{vmac(1, classify.Bridge)}}
	sw.Swap(spec, []*Vmac{NewVmac("v1", counted{sink{sw.poll.ev}, &n})})
	sn := sw.snap.Load()
	sw.ingress(sn, &Frame{Raw: frame(mac(1), mac(99), 0x88b5, nil)})
	sw.ingress(sn, &Frame{Raw: frame(classify.Broadcast, mac(99), 0x88b5, nil)})
	if items, _ := sw.queue.take(nil); len(items) != 1 || n != 1 {
		t.Errorf("%d in the queue, %d delivered; want 1, 1", len(items), n)
	}
}

func TestLoopsDontAllocate(t *testing.T) {
	for way, turn := range loops(t) {
		turn() // grows what is reused
		turn()
		if n := testing.AllocsPerRun(100, turn); n != 0 {
			t.Errorf("%s: %v allocations per 64 frames", way, n)
		}
	}
}

func BenchmarkLoop(b *testing.B) {
	ways := loops(b)
	for _, way := range []string{"way=in", "way=out", "way=sibling", "way=broadcast"} {
		b.Run(way, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ways[way]()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/frame")
		})
	}
}
