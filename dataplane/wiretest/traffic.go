package wiretest

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

func order(t *testing.T, l *link) {
	const bursts, burst = 40, 50
	for i := range bursts {
		for j := range burst {
			l.inject(small(group, ext, uint32(i*burst+j)))
		}
		for j, f := range l.receive(burst) {
			if n := number(f.Bytes()); n != uint32(i*burst+j) {
				t.Fatalf("frame %d, want %d", n, i*burst+j)
			}
			if f.Type != classify.TypeMulticast || f.Untagged != 0 || f.Cut {
				t.Fatalf("frame %+v", f)
			}
		}
	}
	l.balance()
}

func borrow(t *testing.T, l *link) {
	const n = 20
	for round := range 200 { // often enough for a ring to come round
		for i := range n {
			l.inject(small(group, ext, uint32(round*n+i)))
		}
		if err := l.recv(); err != nil {
			t.Fatal(err)
		}
		var was [][]byte
		for _, f := range l.b.Frames {
			was = append(was, bytes.Clone(f.Raw))
		}
		left := n - len(was)
		for i := range n {
			l.inject(tcp(group, nil, 1400, 1460)[:vnet.HdrLen+60+i])
		}
		for i, f := range l.b.Frames {
			if !bytes.Equal(f.Raw, was[i]) {
				t.Fatalf("round %d: borrowed frame %d changed", round, i)
			}
		}
		l.receive(left + n)
	}
	l.balance()
}

func send(t *testing.T, l *link) {
	var frames []*dataplane.Frame
	for i := range 100 {
		frames = append(frames, &dataplane.Frame{Raw: small(ext, mine, uint32(i))})
	}
	const bad = 70
	frames[bad].Raw = frames[bad].Raw[:vnet.HdrLen+5]
	n, err := l.w.Send(frames)
	if n != bad || !errors.Is(err, unix.EINVAL) {
		t.Fatalf("Send with a runt at %d: %d, %v", bad, n, err)
	}
	rest := frames[bad+1:]
	if n, err := l.w.Send(rest); n != len(rest) || err != nil {
		t.Fatalf("Send behind it: %d of %d, %v", n, len(rest), err)
	}
	for i := range frames {
		if i == bad {
			continue
		}
		if n := number(l.capture()[vnet.HdrLen:]); n != uint32(i) {
			t.Fatalf("frame %d on the wire, want %d", n, i)
		}
	}
	if s := l.w.Stats(); s.Sent != 99 {
		t.Errorf("%d sent, want 99", s.Sent)
	}
	if l.dev != nil {
		long := &dataplane.Frame{Raw: make([]byte, vnet.HdrLen+1600)}
		putMAC(long.Bytes(), ext)
		if n, err := l.w.Send([]*dataplane.Frame{frames[0], long, frames[1]}); n != 1 || !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("Send of 1600 bytes: %d, %v", n, err)
		}
	}
}

// same compares headers by what they say: hdr_len is only a hint, which the
// kernel sets anew, and it may add that a checksum is valid.
func same(got, want []byte) bool {
	g, w := vnet.Parse(got), vnet.Parse(want)
	g.HdrLen, w.HdrLen = 0, 0
	g.Flags &^= vnet.FlagDataValid
	return g == w && bytes.Equal(got[vnet.HdrLen:], want[vnet.HdrLen:])
}

func (l *link) expect(what string, f dataplane.Frame, raw []byte) {
	l.t.Helper()
	want := raw
	if !l.w.Offload() {
		want = finish(raw)
	}
	if f.Cut || !same(f.Raw, want) {
		l.t.Fatalf("%s: received %d bytes, header %+v, % x, cut %v\nwant %d bytes, header %+v, % x", what,
			len(f.Raw), vnet.Parse(f.Raw), head(f.Raw[vnet.HdrLen:]), f.Cut,
			len(want), vnet.Parse(want), head(want[vnet.HdrLen:]))
	}
}

func superFrames(t *testing.T, l *link) {
	// The last is as large as the kernel lets pass unsegmented (gso_features_check).
	sizes := []int{2000, 1448 * 3, 30000, 65000, 65535 - 54}
	for range 20 {
		var sent [][]byte
		for _, n := range sizes {
			sent = append(sent, tcp(group, nil, n, 1448), tcp(group, nil, 600, 1448))
		}
		for _, raw := range sent {
			l.inject(raw)
		}
		for i, f := range l.receive(len(sent)) {
			l.expect("super-frame", f, sent[i])
		}
	}
	l.balance()
	if !l.w.Offload() {
		return
	}
	for _, n := range sizes {
		raw := tcp(ext, nil, n, 1448)
		if n, err := l.w.Send([]*dataplane.Frame{{Raw: raw}}); n != 1 {
			t.Fatalf("Send: %v", err)
		}
		if got := l.capture(); !same(got, raw) {
			t.Fatalf("sent %d bytes, header %+v; on the wire %d, %+v",
				len(raw), vnet.Parse(raw), len(got), vnet.Parse(got))
		}
	}
}

func checksum(t *testing.T, l *link) {
	for _, n := range []int{0, 1, 7, 1000, 1460} {
		raw := tcp(group, nil, n, 1460)
		l.inject(raw)
		l.expect("unfinished checksum", l.receive(1)[0], raw)
	}
}

func vlan(t *testing.T, l *link) {
	for _, tags := range [][]tag{
		{{0x8100, 100}},
		{{0x8100, 0xe000 | 1}}, // priority
		{{0x8100, 0}},          // priority tag
		{{0x88a8, 200}},
		{{0x88a8, 200}, {0x8100, 100}},
		{{0x8100, 7}, {0x8100, 100}},
	} {
		for _, n := range []int{20, 1440, 40000} {
			raw := tcp(group, tags, n, 1440)
			l.inject(raw)
			f := l.receive(1)[0]
			l.expect("tagged", f, raw)
			if f.Untagged != 4 {
				t.Errorf("tags %x: untagged %d, want 4", tags, f.Untagged)
			}
			if h := vnet.Parse(f.Raw); h.IsGSO() && int(h.HdrLen) < 14+4*len(tags)+40 {
				t.Errorf("tags %x: hdr_len %d", tags, h.HdrLen)
			}
			if n > 1440 && !l.w.Offload() {
				continue
			}
			out := raw
			if !l.w.Offload() {
				out = finish(raw)
			}
			if n, err := l.w.Send([]*dataplane.Frame{{Raw: out}}); n != 1 {
				t.Fatalf("tags %x: Send: %v", tags, err)
			}
			if got := l.capture(); !same(got, out) {
				t.Fatalf("tags %x: on the wire % x", tags, head(got))
			}
		}
	}
}

func filter(t *testing.T, l *link) {
	probes := []struct {
		name     string
		dst, src classify.MAC
	}{
		{"broadcast", classify.Broadcast, ext},
		{"group", group, ext},
		{"to mine", mine, ext},
		{"to another", other, ext},
		{"from listed", other, mine + 1<<40},
	}
	for _, c := range []struct {
		a    classify.Addresses
		want []string
	}{
		{classify.Addresses{}, []string{"broadcast", "group"}},
		{classify.Addresses{Dst: []classify.MAC{mine}}, []string{"broadcast", "group", "to mine"}},
		{classify.Addresses{Src: []classify.MAC{mine + 1<<40}}, []string{"broadcast", "group", "from listed"}},
		{classify.Addresses{All: true}, []string{"broadcast", "group", "to mine", "to another", "from listed"}},
		{classify.Addresses{Dst: []classify.MAC{other}}, []string{"broadcast", "group", "to another", "from listed"}},
		{classify.Addresses{}, []string{"broadcast", "group"}},
	} {
		if err := l.w.Program(c.a); err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, p := range probes {
			l.inject(small(p.dst, p.src, uint32(i)))
		}
		for _, f := range l.receive(len(c.want)) {
			got = append(got, probes[number(f.Bytes())].name)
		}
		l.nothing("beside what was programmed")
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: received %q, want %q", c.a, got, c.want)
		}
	}
	l.balance()
}

// stalled fills whatever the Wire has for frames that nobody fetches.
func stalled(t *testing.T, l *link) {
	big := tcp(group, nil, 65000, 1448)
	sent := 0
	for ; sent < 5000; sent++ {
		raw := small(group, ext, uint32(sent))
		if sent%4 == 0 {
			raw = big
		}
		if l.p.Inject(raw) != nil {
			break // a link that bears back-pressure
		}
	}
	want := big
	if !l.w.Offload() {
		want = finish(big)
	}
	whole, cut, next := 0, 0, uint32(0)
	for deadline := time.Now().Add(20 * time.Second); ; {
		s := l.w.Stats()
		if s.Packets == s.Received+s.Drops {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not drained: %+v", s)
		}
		if err := l.recv(); err != nil {
			t.Fatal(err)
		}
		for i := range l.b.Frames {
			switch f := &l.b.Frames[i]; {
			case f.Cut:
				cut++
			case len(f.Bytes()) == 60:
				if n := number(f.Bytes()); n < next {
					t.Fatalf("frame %d after %d", n, next)
				} else {
					next = n + 1
				}
				whole++
			default:
				if !same(f.Raw, want) {
					t.Fatalf("a frame of %d bytes is neither whole nor marked as cut", len(f.Bytes()))
				}
				whole++
			}
		}
	}
	l.balance()
	if s := l.w.Stats(); s.Packets != uint64(sent) || whole+cut+int(s.Drops) != sent {
		t.Errorf("sent %d: %+v, %d whole, %d cut", sent, s, whole, cut)
	}
	t.Logf("of %d frames %d whole, %d cut, %d dropped", sent, whole, cut, l.w.Stats().Drops)
	l.nothing("after the stall")
}

func allocations(t *testing.T, l *link) {
	raw := small(group, ext, 1)
	big := tcp(group, nil, 30000, 1448)
	tagged := tcp(group, []tag{{0x88a8, 5}}, 1000, 1448)
	out := []*dataplane.Frame{{Raw: small(ext, mine, 1)}, {Raw: small(ext, mine, 2)}}
	round := func() {
		for range 4 {
			l.p.Inject(raw)
			l.p.Inject(big)
			l.p.Inject(tagged)
		}
		for n := 0; n < 12; n += len(l.b.Frames) {
			if err := l.w.Recv(&l.b); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := l.w.Send(out); n != len(out) {
			t.Fatal(err)
		}
		for range out {
			if drain, ok := l.p.(interface{ Discard() }); ok {
				drain.Discard()
			}
		}
	}
	round()
	if n := testing.AllocsPerRun(50, round); n > 0 {
		t.Errorf("%v allocations per Recv and Send", n)
	}
}
