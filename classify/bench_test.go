package classify

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// randomPort has n up vmacs with random addresses, in all modes but passthru,
// one of them (a second one, if n is 1) in source mode with a list of eight.
func randomPort(n int, r *rand.Rand) *Spec {
	spec := &Spec{Parent: named("parent"), FilterAll: true, BCLim: DefaultBCLim}
	seen := map[MAC]bool{spec.Parent: true}
	address := func() MAC {
		for {
			m := MAC(r.Uint64())&Broadcast&^1 | 2
			if !seen[m] {
				seen[m] = true
				return m
			}
		}
	}
	for i := range n {
		spec.Vmacs = append(spec.Vmacs, Vmac{
			Name: fmt.Sprintf("v%d", i), Mode: []Mode{Bridge, Vepa, Private}[i%3], MAC: address(), Up: true, UpSeq: uint64(i), MTU: 1500, FilterKey: r.Uint32(),
		})
	}
	source := n / 2
	if n == 1 {
		source = 1
		spec.Vmacs = append(spec.Vmacs, Vmac{MAC: address(), Up: true, UpSeq: 1})
	}
	spec.Vmacs[source].Mode = Source
	for range 8 {
		spec.Sources = append(spec.Sources, SourceEntry{source, address()})
	}
	return spec
}

// shuffledFrames are unicast frames in one arena, in random order, as a ring
// has them: one in five to nobody here, one in twenty tagged, one in fifty from
// a listed sender.
func shuffledFrames(spec *Spec, n int, r *rand.Rand) [][]byte {
	const slot = 64
	arena := make([]byte, n*slot)
	frames := make([][]byte, n)
	for i := range frames {
		b := arena[i*slot : i*slot : (i+1)*slot]
		to := spec.Vmacs[r.IntN(max(1, len(spec.Vmacs)-1))].MAC
		if r.IntN(5) == 0 {
			to = MAC(r.Uint64()) & Broadcast &^ 1
		}
		from := MAC(r.Uint64()) & Broadcast &^ 1
		if r.IntN(50) == 0 {
			from = spec.Sources[r.IntN(len(spec.Sources))].MAC
		}
		b = b[:12]
		to.Put(b)
		from.Put(b[6:])
		if r.IntN(20) == 0 {
			b = binary.BigEndian.AppendUint32(b, 0x8100000a)
		}
		b = binary.BigEndian.AppendUint16(b, 0x0800)
		frames[i] = b[:60]
	}
	return frames
}

// BenchmarkIngress is the whole decision for a received frame. On a busy machine
// ns/op contains other people's time; p50-ns/frame is the median over chunks of
// 4096 frames.
func BenchmarkIngress(b *testing.B) {
	const chunk = 4096
	for _, n := range []int{1, 16, 1000, 65536} {
		b.Run(fmt.Sprintf("vmacs=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			spec := randomPort(n, r)
			table, err := NewTable(spec)
			if err != nil {
				b.Fatal(err)
			}
			frames := shuffledFrames(spec, 1<<18, r)
			dst := make([]Copy, 0, 16)
			times := make([]time.Duration, 0, b.N/chunk+1)
			direct := 0
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += chunk {
				at := done & (len(frames) - 1)
				part := frames[at : at+min(chunk, b.N-done)]
				start := time.Now()
				for _, f := range part {
					copies, v := table.Ingress(f, Meta{Type: TypeOther}, dst)
					if v.Reason == Unicast {
						direct += len(copies)
					}
				}
				if len(part) == chunk {
					times = append(times, time.Since(start))
				}
			}
			b.StopTimer()
			if b.N > chunk && (direct < b.N*7/10 || direct > b.N*9/10) {
				b.Fatalf("%d of %d frames reached a vmac", direct, b.N)
			}
			if len(times) > 0 {
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/chunk, "p50-ns/frame")
			}
		})
	}
}

// BenchmarkEgress is the whole decision for a frame that a bridge vmac sends:
// half of them to siblings.
func BenchmarkEgress(b *testing.B) {
	for _, n := range []int{16, 1000} {
		b.Run(fmt.Sprintf("vmacs=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			spec := randomPort(n, r)
			table, err := NewTable(spec)
			if err != nil {
				b.Fatal(err)
			}
			frames := shuffledFrames(spec, 1<<18, r)
			dst := make([]Copy, 0, 16)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				table.Egress(0, frames[i&(1<<18-1)], Meta{}, dst)
			}
		})
	}
}

// BenchmarkFlood is a broadcast from the wire; a copy's share is in ns/copy.
func BenchmarkFlood(b *testing.B) {
	for _, n := range []int{16, 1000, 65536} {
		b.Run(fmt.Sprintf("vmacs=%d", n), func(b *testing.B) {
			table, err := NewTable(randomPort(n, rand.New(rand.NewPCG(uint64(n), 1))))
			if err != nil {
				b.Fatal(err)
			}
			frame := make([]byte, 60)
			Broadcast.Put(frame)
			dst := make([]Copy, 0, n)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				table.Ingress(frame, Meta{Type: TypeBroadcast}, dst)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/copy")
		})
	}
}

// BenchmarkNewTable is what one change of the port costs.
func BenchmarkNewTable(b *testing.B) {
	for _, n := range []int{16, 1000, 65536} {
		b.Run(fmt.Sprintf("vmacs=%d", n), func(b *testing.B) {
			spec := randomPort(n, rand.New(rand.NewPCG(uint64(n), 1)))
			b.ReportAllocs()
			for range b.N {
				if _, err := NewTable(spec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
