package dataplane

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane/defrag"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// fragment is a raw frame with size octets of datagram id from at on; its last
// octets if last.
func fragment(dst, src classify.MAC, id, at, size int, last bool) []byte {
	h := []byte{0x45, 0, 0, 0, 0, byte(id), 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 239, 0, 0, 9}
	binary.BigEndian.PutUint16(h[2:], uint16(20+size))
	binary.BigEndian.PutUint16(h[6:], uint16(at/8))
	if !last {
		h[6] |= 0x20
	}
	return frame(dst, src, 0x0800, append(h, pattern(id, at, size)...))
}

func pattern(id, at, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(id*31 + at + i)
	}
	return b
}

// datagram is what its fragments make: header and data.
func datagram(id, size int) []byte {
	return append([]byte{0x45, 0, byte((20 + size) >> 8), byte(20 + size), 0, byte(id), 0, 0, 64, 17}, pattern(id, 0, size)...)
}

// isDatagram compares without what the other tests know: addresses and checksum.
func isDatagram(t *testing.T, raw []byte, id, size int) {
	t.Helper()
	if len(raw) != vnet.HdrLen+34+size {
		t.Fatalf("%d octets, want a datagram of %d", len(raw), 34+size)
	}
	ip := raw[vnet.HdrLen+14:]
	if got := append(append([]byte(nil), ip[:10]...), ip[20:]...); !bytes.Equal(got, datagram(id, size)) {
		t.Errorf("%x\nis not %x", got, datagram(id, size))
	}
}

type quietWire struct{ sinkWire }

func (quietWire) Stats() WireStats { return WireStats{} }

func TestFragments(t *testing.T) {
	spec := &classify.Spec{
		Parent: parentMAC, BCLim: -1, FilterAll: true,
		Vmacs: []classify.Vmac{vmac(1, classify.Bridge), vmac(2, classify.Private)},
	}
	var got [2][][]byte
	child := func(i int) Child {
		return picky{sink{-1}, func(f *Frame) error { got[i] = append(got[i], bytes.Clone(f.Raw)); return nil }, new(int)}
	}
	sw, v := still(t, quietWire{}, spec, child(0), child(1))
	sn := sw.snap.Load()
	receive := func(raws ...[]byte) {
		sw.rx.count.seen.Add(uint64(len(raws)))
		for _, raw := range raws {
			sw.ingress(sn, &Frame{Raw: raw, Type: classify.TypeBroadcast})
		}
		sw.rx.flush()
	}
	ext, own, all := mac(99), mac(2), classify.Broadcast

	// In one batch: a frame before, two datagrams whose fragments are mixed up, one
	// fragment twice, and one that stays alone.
	plain := frame(all, ext, 0x88b5, make([]byte, 46))
	receive(plain,
		fragment(all, ext, 1, 0, 800, false), fragment(all, ext, 2, 800, 100, true), fragment(all, ext, 1, 0, 800, false),
		fragment(all, ext, 1, 800, 333, true), fragment(all, ext, 2, 0, 800, false), fragment(all, ext, 3, 0, 800, false), plain)
	for i := range got {
		if len(got[i]) != 4 || !bytes.Equal(got[i][0], plain) || !bytes.Equal(got[i][3], plain) {
			t.Fatalf("vmac %d: %d frames", i, len(got[i]))
		}
		isDatagram(t, got[i][1], 1, 1133)
		isDatagram(t, got[i][2], 2, 900)
	}

	// One that is its sender's alone.
	receive(fragment(all, own, 4, 0, 8, false), fragment(all, own, 4, 8, 8, true))
	if len(got[0]) != 4 || len(got[1]) != 5 {
		t.Errorf("an echo: vmacs %d and %d", len(got[0]), len(got[1]))
	}
	// Overlaps, contradicts, cut by the socket.
	receive(fragment(all, ext, 5, 0, 16, false), fragment(all, ext, 5, 8, 16, false), fragment(all, ext, 6, 0, 0, false))
	sw.rx.count.seen.Add(1)
	sw.ingress(sn, &Frame{Raw: fragment(all, ext, 3, 800, 8, true), Cut: true})
	// Unicast, what the host sent, what is no fragment: not collected.
	receive(fragment(mac(1), ext, 3, 800, 8, true), frame(all, ext, 0x0800, datagram(7, 100)))
	sw.rx.count.seen.Add(2)
	for _, typ := range []classify.PacketType{classify.TypeOutgoing, classify.TypeLoopback} {
		sw.ingress(sn, &Frame{Raw: fragment(all, ext, 3, 800, 8, true), Type: typ})
	}
	sw.rx.flush()

	st := sw.Stats()
	want := map[classify.Reason]uint64{
		classify.Flooded: 2 + 2 + 1, classify.FragmentHeld: 3 + 1 + 1, classify.FragmentDuplicate: 1, classify.Echoed: 1,
		classify.FragmentOverlap: 1, classify.FragmentBad: 1, classify.Truncated: 1, classify.Unicast: 1, classify.OwnFrame: 2,
	}
	sum := uint64(0)
	for r, n := range st.Frames {
		if n != want[classify.Reason(r)] {
			t.Errorf("%v: %d, want %d", classify.Reason(r), n, want[classify.Reason(r)])
		}
		sum += n
	}
	if st.Seen != sum || st.Planned != st.Copies[classify.Delivered] {
		t.Errorf("seen %d, dispositions %d; planned %d, delivered %d", st.Seen, sum, st.Planned, st.Copies[classify.Delivered])
	}
	if n := v[0].Stats(); n.RxPackets != 6 || n.Multicast != 5 || n.RxBytes != 2*60+(34+1133)+(34+900)+(34+8)+14+110 {
		t.Errorf("vmac: %d packets, %d bytes, %d multicast", n.RxPackets, n.RxBytes, n.Multicast)
	}
	if s := sw.fragments.Stats(); s.Waiting != 1 || s.Datagrams != 3 || s.Discarded != 1 || s.Fragments != 11 {
		t.Errorf("%+v", s)
	}
}

// Switches whose parents are in one namespace put together what came to both.
func TestFragmentsShared(t *testing.T) {
	shared := NewFragments()
	var arrived [2]int
	var sw [2]*Switch
	for i := range sw {
		spec := &classify.Spec{Parent: parentMAC, BCLim: -1, FilterAll: true, Vmacs: []classify.Vmac{vmac(1, classify.Bridge)}}
		sw[i], _ = still(t, sinkWire{}, spec, picky{sink{-1}, func(*Frame) error { return nil }, &arrived[i]})
		sw[i].fragments = shared
	}
	for i, raw := range [][]byte{fragment(classify.Broadcast, mac(99), 1, 0, 8, false), fragment(classify.Broadcast, mac(99), 1, 8, 8, true)} {
		sw[i].ingress(sw[i].snap.Load(), &Frame{Raw: raw, Type: classify.TypeBroadcast})
		sw[i].rx.flush()
	}
	if arrived != [2]int{0, 1} || !shared.Expire() {
		t.Errorf("arrived %v, %+v", arrived, shared.Stats())
	}
}

// Without a vmac there is no driver on the parent.
func TestFragmentsNoVmac(t *testing.T) {
	sw, _ := still(t, sinkWire{}, &classify.Spec{Parent: parentMAC, FilterAll: true})
	sw.ingress(sw.snap.Load(), &Frame{Raw: fragment(classify.Broadcast, mac(99), 1, 0, 8, false)})
	sw.rx.flush()
	if n := sw.rx.count.frames[classify.FragmentHeld].Load(); n != 0 || !sw.fragments.Expire() {
		t.Errorf("%d held", n)
	}
}

// What is known of the checksum is what is known of all fragments.
func TestFragmentsChecksum(t *testing.T) {
	for _, c := range []struct{ first, last, want byte }{
		{1, 1, 1}, {2, 2, 2}, {1, 0, 0}, {0, 1, 0}, {2, 1, 0}, {0, 0, 0},
	} {
		a, b := fragment(classify.Broadcast, mac(99), 1, 0, 32, false), fragment(classify.Broadcast, mac(99), 1, 32, 8, true)
		vnet.Hdr{Flags: c.first, CsumStart: 34, CsumOffset: 6}.Put(a)
		vnet.Hdr{Flags: c.last}.Put(b)
		h := NewFragments()
		var buf []byte
		h.add(&Frame{Raw: b, Type: classify.TypeMulticast}, &buf)
		whole, ok, _ := h.add(&Frame{Raw: a, Type: classify.TypeBroadcast, Untagged: 4}, &buf)
		got := vnet.Parse(whole.Raw)
		if !ok || got.Flags != c.want || (c.want == 0) != (got.CsumStart == 0) || whole.Type != classify.TypeBroadcast || whole.Untagged != 4 {
			t.Errorf("%+v: %v, %+v, type %v", c, ok, got, whole.Type)
		}
	}
}

// A group's datagram that is no fragment costs a few comparisons.
func TestFragmentsDontAllocate(t *testing.T) {
	n := 0
	sw, _ := still(t, sinkWire{}, &classify.Spec{Parent: parentMAC, BCLim: -1, FilterAll: true, Vmacs: []classify.Vmac{vmac(1, classify.Bridge)}},
		picky{sink{-1}, func(*Frame) error { return nil }, &n})
	sn := sw.snap.Load()
	f := &Frame{Raw: frame(classify.Broadcast, mac(99), 0x0800, datagram(1, 500))}
	if a := testing.AllocsPerRun(100, func() {
		sw.fragments.Expire()
		sw.ingress(sn, f)
		sw.rx.flush()
	}); a != 0 || n == 0 {
		t.Errorf("%v allocations, %d arrived", a, n)
	}
	if s := sw.fragments.Stats(); s != (defrag.Stats{}) {
		t.Errorf("%+v", s)
	}
}
