package dataplane

import (
	"bytes"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

// ringTurns returns a turn of a kernel that fills a ring and a reader that walks
// it, 64 frames of each kind.
func ringTurns() map[string]func() int {
	const perTurn = 64
	turns := map[string]func() int{}
	for name, put := range map[string]func(k *fakeKernel){
		"size=60": func() func(*fakeKernel) {
			f := bytes.Repeat([]byte{7}, 60)
			return func(k *fakeKernel) { k.put(f, 0, 0, 0) }
		}(),
		"size=1514": func() func(*fakeKernel) {
			f := bytes.Repeat([]byte{7}, 1514)
			return func(k *fakeKernel) { k.put(f, 0, 0, 0) }
		}(),
		"size=60/tag=on": func() func(*fakeKernel) {
			f := bytes.Repeat([]byte{7}, 60)
			return func(k *fakeKernel) { k.put(f, statusVLAN|statusTPID, 7, 0x88a8) }
		}(),
	} {
		k := newFakeKernel(128, 2048)
		w := &ringWire{socket: &socket{offload: true}, ring: k.r}
		var b Batch
		turns[name] = func() (n int) {
			for range perTurn {
				put(k)
			}
			for n < perTurn {
				b.Frames = b.Frames[:0]
				w.ring.giveBack()
				w.fill(&b)
				if len(b.Frames) == 0 {
					return n
				}
				n += len(b.Frames)
			}
			w.ring.giveBack()
			return n
		}
	}
	return turns
}

func TestRingDoesNotAllocate(t *testing.T) {
	for name, turn := range ringTurns() {
		if n := turn(); n != 64 {
			t.Fatalf("%s: %d frames of 64", name, n)
		}
		if n := testing.AllocsPerRun(100, func() { turn() }); n != 0 {
			t.Errorf("%s: %v allocations per 64 frames", name, n)
		}
	}
}

// BenchmarkRing is what a slot costs, the copy into it included.
func BenchmarkRing(b *testing.B) {
	turns := ringTurns()
	for _, name := range []string{"size=60", "size=1514", "size=60/tag=on"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				turns[name]()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/frame")
		})
	}
}

// memTurns returns turns of a switch on one end of an in-memory pair: 64 frames
// from Recv to the vmacs, and 64 from a vmac to the other end.
func memTurns(t testing.TB) map[string]func() int {
	a, z := NewPair(256, parentMAC)
	sw, err := New(a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sw.poll.close(); a.Close(); z.Close() })
	spec := &classify.Spec{Parent: parentMAC, BCLim: 1, FilterAll: true, Vmacs: []classify.Vmac{vmac(1, classify.Bridge), vmac(2, classify.Bridge)}}
	vmacs := []*Vmac{NewVmac("v1", sink{sw.poll.ev}), NewVmac("v2", sink{sw.poll.ev})}
	sw.Swap(spec, vmacs) // the sinks can't be polled; nobody polls them
	sn := sw.snap.Load()
	if err := z.Program(classify.Addresses{All: true}); err != nil {
		t.Fatal(err)
	}
	frames := make([]Frame, 64)
	in := make([]*Frame, 64)
	for i := range in {
		in[i] = &Frame{Raw: frame(mac(1+i%2), mac(99), 0x88b5, make([]byte, 46))}
		frames[i].Raw = frame(mac(99), mac(1), 0x88b5, make([]byte, 46))
	}
	var got, back Batch
	var box outbox
	drain := func(w *MemWire, b *Batch) (n int) {
		for n < 64 {
			if err := w.Recv(b); err != nil {
				t.Fatal(err)
			}
			for i := range b.Frames {
				if w == a {
					sw.ingress(sn, &b.Frames[i])
				}
			}
			n += len(b.Frames)
		}
		return n
	}
	return map[string]func() int{
		"way=in": func() int {
			if n, err := z.Send(in); n != 64 {
				t.Fatal(n, err)
			}
			n := drain(a, &got)
			sw.rx.flush()
			return n
		},
		"way=out": func() int {
			for i := range frames {
				sw.egress(sn, vmacs[0], &frames[i], &box)
			}
			sw.tx.flush()
			sw.send(&box)
			return drain(z, &back)
		},
	}
}

func TestMemLoopsDontAllocate(t *testing.T) {
	for way, turn := range memTurns(t) {
		turn() // grows what is reused
		if n := turn(); n != 64 {
			t.Fatalf("%s: %d frames of 64", way, n)
		}
		if n := testing.AllocsPerRun(100, func() { turn() }); n != 0 {
			t.Errorf("%s: %v allocations per 64 frames", way, n)
		}
	}
}

// BenchmarkMemLoop is a switch between an in-memory wire and vmacs that take
// everything: Recv or Send included, system calls not.
func BenchmarkMemLoop(b *testing.B) {
	turns := memTurns(b)
	for _, way := range []string{"way=in", "way=out"} {
		b.Run(way, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				turns[way]()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/frame")
		})
	}
}
