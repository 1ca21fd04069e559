package defrag

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
)

// op is one fragment of a fuzzed sequence, as eight octets say it.
type op struct {
	frame  []byte
	beside Beside
	wait   time.Duration
}

// head is what stands before each frame.
var head = []byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab}

func decode(b []byte) op {
	p := part{
		id: uint16(b[0] & 3), src: b[0] >> 2 & 1, tagged: b[0]&0x20 != 0, broadcast: b[0]&0x40 != 0, proto: 17 + b[0]>>7,
		start: int(b[1]&15) * 8, size: int(b[2] & 63), more: b[3]&1 != 0, df: b[3]&2 != 0, rf: b[3]&4 != 0,
		tos: b[4], options: int(b[5]&3) * 4, pad: int(b[5] >> 4), fill: b[6] & 1,
	}
	if b[3]&0xc0 == 0xc0 { // now and then near the end of what there can be
		p.start = 0xfff8 - p.start
	}
	if b[3]&0x30 == 0x30 { // and large, to fill gaps at once
		p.size = p.size * 1024 % 65000
	}
	if !p.more && p.start == 0 {
		p.more = true
	}
	return op{
		frame: append(bytes.Clone(head), p.frame()...), wait: time.Duration(b[7]&15) * time.Second,
		beside: Beside{Type: classify.PacketType(b[6] >> 1 & 3), Untagged: b[6] >> 3 & 4, Checksum: Checksum(b[6] >> 6 % 3)},
	}
}

// FuzzAdd plays sequences on the fast and on the slow one.
func FuzzAdd(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		b := make([]byte, 3+8*r.IntN(30))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Add([]byte{0, 64, 0 /**/, 0, 0, 16, 1, 0, 0, 0, 0 /**/, 0, 2, 8, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 3 {
			return
		}
		compare(t, in)
	})
}

// TestAgainstSlow does the same with sequences that are more likely to fit.
func TestAgainstSlow(t *testing.T) {
	whole, reasons := 0, map[classify.Reason]int{}
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		in := []byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}
		for range r.IntN(60) {
			o := [8]byte{}
			size := byte(8 * (1 + r.IntN(2)))
			at := byte(r.IntN(4))
			o[0], o[1], o[2] = byte(r.IntN(3)), at, size
			if at < 3 {
				o[3] = 1
			}
			switch r.IntN(40) {
			case 0, 1:
				o[3] |= byte(r.Uint32()) & 0xc6
			case 2, 3:
				o[4], o[5], o[6] = byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())
			case 4:
				o[0], o[2] = byte(r.Uint32()), byte(r.Uint32())
			}
			if r.IntN(12) == 0 {
				o[7] = byte(r.Uint32())
			}
			in = append(in, o[:]...)
		}
		w, list := compare(t, in)
		whole += w
		for _, reason := range list {
			reasons[reason]++
		}
		if t.Failed() {
			return
		}
	}
	if whole < 1000 {
		t.Errorf("only %d datagrams became whole", whole)
	}
	for _, reason := range []classify.Reason{classify.FragmentHeld, classify.FragmentDuplicate, classify.FragmentOverlap, classify.FragmentBad, classify.FragmentNoRoom} {
		if reasons[reason] < 100 {
			t.Errorf("%v occurred %d times only", reason, reasons[reason])
		}
	}
}

func compare(t *testing.T, in []byte) (whole int, reasons []classify.Reason) {
	l := Limits{Memory: 4 << 20, Time: 20 * time.Second, Distance: int(in[1] & 31)}
	if in[0]&1 != 0 {
		l.Memory = int(in[0]) * 64
	}
	fast, ref := New(l), &slow{limits: l, queues: map[key]*slowQueue{}}
	now := time.Duration(in[2]) * time.Second
	var buf []byte
	most := 0
	for in = in[3:]; len(in) >= 8; in = in[8:] {
		o := decode(in)
		now += o.wait
		if _, ok := classify.Fragment(o.frame[len(head):]); !ok {
			t.Fatalf("%x is none", o.frame)
		}
		before := bytes.Clone(o.frame)
		wantFrame, wantBeside, wantWhole, wantReason := ref.add(bytes.Clone(o.frame), len(head), o.beside, now)
		frame, beside, done, reason := fast.Add(append(buf[:0], 'x'), o.frame, len(head), o.beside, now)
		buf = frame
		if !bytes.Equal(before, o.frame) {
			t.Fatal("the fragment was changed")
		}
		if done != wantWhole || reason != wantReason {
			t.Fatalf("%x: whole %v, %v; want %v, %v", o.frame, done, reason, wantWhole, wantReason)
		}
		if done {
			whole++
			if frame[0] != 'x' || !bytes.Equal(frame[1:], wantFrame) || beside != wantBeside {
				t.Fatalf("%x, %+v\nwant %x, %+v", frame, beside, wantFrame, wantBeside)
			}
		} else {
			reasons = append(reasons, reason)
			if len(frame) != 1 || beside != (Beside{}) {
				t.Fatal("something was appended, or came with it")
			}
		}
		s := fast.Stats()
		if s.Memory != ref.memory() || s.Waiting != ref.pieces() || fast.Empty() != (len(ref.queues) == 0) {
			t.Fatalf("%d octets of %d fragments held, want %d of %d", s.Memory, s.Waiting, ref.memory(), ref.pieces())
		}
		most = max(most, truesize(len(o.frame)))
		if s.Memory > l.Memory+queueSize+most {
			t.Fatalf("%d octets held, %d may be", s.Memory, l.Memory)
		}
	}
	fast.Expire(now + l.Time)
	if s := fast.Stats(); !fast.Empty() || s.Waiting != 0 || s.Memory != 0 || len(fast.peers) != 0 || len(fast.byKey) != 0 {
		t.Fatalf("after all that: %+v, %d peers, %d queues", s, len(fast.peers), len(fast.byKey))
	}
	return whole, reasons
}

// FuzzFrame gives any octets at all to the predicate, and what it lets through to
// a reassembly.
func FuzzFrame(f *testing.F) {
	f.Add(part{size: 8, more: true}.frame())
	f.Add(part{size: 8, more: true, tagged: true, options: 8}.frame())
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, ok := classify.Fragment(b)
		if !ok {
			if _, _, whole, _ := New(DefaultLimits()).Add(nil, b, 0, Beside{}, 0); whole {
				t.Fatal("no fragment, but whole")
			}
			return
		}
		if b[0]&1 == 0 || binary.BigEndian.Uint16(b[ip-2:]) != 0x0800 || ip != 14 && ip != 18 {
			t.Fatalf("%x is no fragment of a group", b)
		}
		d := New(DefaultLimits())
		for range 3 {
			d.Add(nil, b, 0, Beside{}, 0)
		}
		d.Expire(time.Hour)
		if !d.Empty() || d.Stats().Memory != 0 {
			t.Fatalf("%+v", d.Stats())
		}
	})
}
