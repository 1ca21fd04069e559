package defrag

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
)

// part is a fragment.
type part struct {
	id              uint16
	src, proto      byte
	start, size     int
	more, df, rf    bool
	tos, ttl, fill  byte
	options, pad    int
	tagged          bool
	broadcast       bool
	from            byte // last octet of the sender's address
	badSum, unicast bool
}

func (p part) frame() []byte {
	b := []byte{1, 0, 0x5e, 0, 0, 9, 2, 0, 0, 0, 0, p.from}
	if p.broadcast {
		copy(b, []byte{255, 255, 255, 255, 255, 255})
	}
	if p.unicast {
		b[0] = 2
	}
	if p.tagged {
		b = append(b, 0x81, 0, 0, 10)
	}
	b = append(b, 8, 0)
	ip := len(b)
	header := 20 + p.options
	field := uint16(p.start / 8)
	for bit, set := range map[uint16]bool{0x2000: p.more, 0x4000: p.df, 0x8000: p.rf} {
		if set {
			field |= bit
		}
	}
	b = append(b, byte(0x40|header/4), p.tos)
	b = binary.BigEndian.AppendUint16(b, uint16(header+p.size))
	b = binary.BigEndian.AppendUint16(b, p.id)
	b = binary.BigEndian.AppendUint16(b, field)
	b = append(b, p.ttl, p.proto, 0, 0, 10, 0, 0, p.src, 239, 0, 0, 9)
	b = append(b, bytes.Repeat([]byte{1}, p.options)...)
	checksum(b[ip:])
	if p.badSum {
		b[ip+10] ^= 0xff
	}
	for i := range p.size {
		b = append(b, byte(p.start+i)^byte((p.start+i)>>8)^p.fill)
	}
	return append(b, bytes.Repeat([]byte{0xee}, p.pad)...)
}

// data is what fragments carry together.
func data(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)
	}
	return b
}

func add(t *testing.T, d *Queues, p part, now time.Duration) ([]byte, classify.Reason) {
	t.Helper()
	frame, _, whole, reason := d.Add(nil, p.frame(), 0, Beside{}, now)
	if whole != (frame != nil) {
		t.Fatalf("whole %v, %d octets", whole, len(frame))
	}
	return frame, reason
}

// The corpus of internal/lab has the kernel's behaviour, fragment by fragment,
// and the model there uses this package. Here is what scenarios can't say: time
// and memory.

func TestTime(t *testing.T) {
	l := DefaultLimits()
	first, last := part{size: 16, more: true}, part{start: 16, size: 8}
	for _, c := range []struct {
		name string
		at   time.Duration
		want classify.Reason
	}{
		{"in time", l.Time - 1, classify.Delivered},
		{"too late", l.Time, classify.FragmentHeld},
	} {
		d := New(l)
		add(t, d, first, time.Hour)
		// What comes between doesn't make it longer.
		add(t, d, part{size: 16, more: true}, time.Hour+l.Time/2)
		if _, got := add(t, d, last, time.Hour+c.at); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}

	d := New(l)
	if d.Limits() != l {
		t.Errorf("%+v", d.Limits())
	}
	for id := range uint16(10) {
		p := first
		p.id = id
		add(t, d, p, time.Duration(id)*time.Second)
	}
	d.Expire(l.Time + 4*time.Second)
	if s := d.Stats(); s.Expired != 5 || s.Waiting != 5 || d.Empty() {
		t.Errorf("after the fifth: %+v", s)
	}
	// One whose time was set shorter does not wait for older ones.
	d.SetLimits(Limits{Memory: l.Memory, Time: time.Second, Distance: 64})
	p := first
	p.id = 99
	now := l.Time + 4*time.Second
	add(t, d, p, now)
	p.start, p.more = 16, false
	if _, got := add(t, d, p, now+time.Second); got != classify.FragmentHeld {
		t.Errorf("the last one came in time, it seems: %v", got)
	}
	d.Expire(time.Hour)
	if s := d.Stats(); !d.Empty() || s.Memory != 0 || s.Waiting != 0 || s.Expired != 12 {
		t.Errorf("after an hour: %+v", s)
	}
}

// A queue that begins anew waits anew, and remembers how large its fragments were
// (observed on 6.18).
func TestTooFarBeginsAnew(t *testing.T) {
	l := DefaultLimits()
	l.Distance = 2
	d := New(l)
	add(t, d, part{size: 64, more: true}, 0)
	for range 2 {
		add(t, d, part{id: 1, size: 8, more: true}, l.Time-1)
	}
	if _, got := add(t, d, part{start: 16, size: 8, df: true}, l.Time-1); got != classify.FragmentHeld {
		t.Fatal(got)
	}
	frame, got := add(t, d, part{size: 16, more: true, df: true}, 2*l.Time-2)
	if got != classify.Delivered || len(frame) != 34+24 {
		t.Fatalf("%v, %d octets", got, len(frame))
	}
	if frame[20] != 0 {
		t.Errorf("may not be fragmented, though the largest fragment might be: %#x", frame[20])
	}
	if s := d.Stats(); s.Discarded != 1 {
		t.Errorf("%+v", s)
	}
}

func TestMemory(t *testing.T) {
	l := DefaultLimits()
	l.Memory = 3 * 1032
	d := New(l)
	p := part{size: 8, more: true}
	for id := range uint16(4) { // the fourth crosses the limit
		p.id = id
		if _, got := add(t, d, p, 0); got != classify.FragmentHeld {
			t.Fatalf("%d: %v", id, got)
		}
	}
	p.id = 5
	if _, got := add(t, d, p, 0); got != classify.FragmentNoRoom {
		t.Errorf("a fifth: %v", got)
	}
	p = part{id: 1, start: 8, size: 8}
	if _, got := add(t, d, p, 0); got != classify.FragmentNoRoom {
		t.Errorf("one that would make a datagram whole: %v", got)
	}
	if _, got := add(t, d, p, l.Time); got != classify.FragmentHeld {
		t.Errorf("when all are gone: %v", got)
	}
	for _, none := range []int{0, -1} {
		d = New(Limits{Memory: none, Time: time.Second})
		if _, got := add(t, d, p, 0); got != classify.FragmentNoRoom {
			t.Errorf("a limit of %d: %v", none, got)
		}
	}
}

// What the kernel charged a fragment of that many octets of data, as
// /proc/net/sockstat shows it: a veth's skb, sent by a packet socket, in a queue
// of its own.
func TestCharge(t *testing.T) {
	for size, want := range map[int]int{8: 1032, 64: 1032, 200: 1480, 400: 1480, 600: 2504, 1000: 2504, 1400: 2504} {
		d := New(DefaultLimits())
		add(t, d, part{size: size, more: true}, 0)
		if got := d.Stats().Memory; got != want {
			t.Errorf("%d octets of data: charged %d, want %d", size, got, want)
		}
	}
}

// Where the next larger buffer begins.
func TestTruesize(t *testing.T) {
	for frame, want := range map[int]int{160: 832, 161: 1280, 608: 1280, 609: 2304, 1632: 2304, 1633: 4352} {
		if got := truesize(frame); got != want {
			t.Errorf("%d octets: %d, want %d", frame, got, want)
		}
	}
}

// ip_frag_ecn_table, by what occurred: 1 is Not-ECT, 2 ECT(1), 4 ECT(0), 8 CE.
func TestCongestion(t *testing.T) {
	for seen := range uint8(16) {
		bits, valid := congestion(seen)
		wantValid := seen&1 == 0 || seen == 1
		wantBits := uint8(0)
		if wantValid && seen >= 8 {
			wantBits = 3
		}
		if bits != wantBits || valid != wantValid {
			t.Errorf("%04b: %d, %v", seen, bits, valid)
		}
	}
}

// A flood of fragments that never become whole needs no more than was charged.
func TestHeldIsBounded(t *testing.T) {
	d := New(DefaultLimits())
	n := 0
	for i := range 10000 {
		p := part{id: uint16(i), src: byte(i >> 16), start: 8, size: 1400, more: true}
		if _, got := add(t, d, p, 0); got == classify.FragmentHeld {
			n++
		}
	}
	if s := d.Stats(); s.Memory > 4<<20+2504 || s.Waiting != n || n > 1700 || n < 1600 {
		t.Errorf("%d held: %+v", n, s)
	}
}

func TestLargest(t *testing.T) {
	for _, c := range []struct {
		options, size int
		want          classify.Reason
	}{
		{0, 65515 - 65008, classify.Delivered}, {0, 65516 - 65008, classify.FragmentBad},
		{40, 65475 - 65008, classify.Delivered}, {40, 65476 - 65008, classify.FragmentBad},
	} {
		d := New(DefaultLimits())
		add(t, d, part{size: 65008, more: true, options: c.options, tagged: true}, 0)
		frame, got := add(t, d, part{start: 65008, size: c.size}, 0)
		if got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
		if frame != nil && (len(frame) != 18+65535 || !bytes.Equal(frame[38+c.options:], data(65515-c.options))) {
			t.Errorf("%+v: %d octets", c, len(frame))
		}
		if s := d.Stats(); !d.Empty() || s.Waiting != 0 || s.Memory != 0 {
			t.Errorf("%+v: %+v", c, s)
		}
	}
}

// What isn't a fragment is refused rather than believed.
func TestNone(t *testing.T) {
	for _, p := range []part{{size: 8}, {size: 8, more: true, unicast: true}, {size: 8, rf: true}, {size: 8, df: true}} {
		if _, ok := classify.Fragment(p.frame()); ok {
			t.Errorf("%+v is none", p)
		}
		d := New(DefaultLimits())
		if _, got := add(t, d, p, 0); got != classify.FragmentBad || !d.Empty() {
			t.Errorf("%+v: %v", p, got)
		}
		if dst, beside, _, _ := d.Add([]byte{7}, p.frame(), 0, Beside{Untagged: 4}, 0); !bytes.Equal(dst, []byte{7}) || beside != (Beside{}) {
			t.Errorf("%+v: %x, %+v came back", p, dst, beside)
		}
	}
	whole := part{size: 8, more: true, tagged: true}.frame()
	for n := range whole {
		if _, ok := classify.Fragment(whole[:n]); ok {
			t.Errorf("%d octets of %d are enough", n, len(whole))
		}
	}
	if _, ok := classify.Fragment(whole); !ok {
		t.Error("all of it is none")
	}
}

// The checksum of a datagram is only known if it is of all its fragments.
func TestBeside(t *testing.T) {
	for _, c := range []struct{ first, last, want Checksum }{
		{ChecksumPartial, ChecksumPartial, ChecksumPartial}, {ChecksumUnnecessary, ChecksumUnnecessary, ChecksumUnnecessary},
		{ChecksumPartial, ChecksumNone, ChecksumNone}, {ChecksumNone, ChecksumUnnecessary, ChecksumNone},
		{ChecksumUnnecessary, ChecksumPartial, ChecksumNone},
	} {
		d := New(DefaultLimits())
		d.Add(nil, part{start: 16, size: 8}.frame(), 0, Beside{classify.TypeBroadcast, 4, c.last}, 0)
		_, got, whole, _ := d.Add(nil, part{size: 16, more: true}.frame(), 0, Beside{classify.TypeMulticast, 0, c.first}, 0)
		if want := (Beside{classify.TypeMulticast, 0, c.want}); !whole || got != want {
			t.Errorf("%v %v: %+v, want %+v", c.first, c.last, got, want)
		}
	}
	// What is cut off was part of what was to be summed up; what was verified stays so.
	for sum, want := range map[Checksum]Checksum{ChecksumPartial: ChecksumNone, ChecksumUnnecessary: ChecksumUnnecessary} {
		d := New(DefaultLimits())
		d.Add(nil, part{size: 17, more: true}.frame(), 0, Beside{Checksum: sum}, 0)
		_, got, whole, _ := d.Add(nil, part{start: 16, size: 8}.frame(), 0, Beside{Checksum: sum}, 0)
		if !whole || got.Checksum != want {
			t.Errorf("%v: %v", sum, got.Checksum)
		}
	}
}

// A frame that is no fragment costs nothing, and neither does looking for what
// has expired when there is nothing.
func TestAllocations(t *testing.T) {
	d := New(DefaultLimits())
	plain := part{size: 1000}.frame()
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := classify.Fragment(plain); ok {
			t.Fatal("a fragment")
		}
		d.Expire(time.Hour)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTwo(b *testing.B) {
	d := New(DefaultLimits())
	first, last := part{size: 1480, more: true}.frame(), part{start: 1480, size: 600}.frame()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		d.Add(nil, first, 0, Beside{}, 0)
		var whole bool
		if buf, _, whole, _ = d.Add(buf[:0], last, 0, Beside{}, 0); !whole {
			b.Fatal("not whole")
		}
	}
}

func BenchmarkNone(b *testing.B) {
	f := part{size: 1000}.frame()
	for b.Loop() {
		if _, ok := classify.Fragment(f); ok {
			b.Fatal("a fragment")
		}
	}
}
