package dataplane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/tap"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// port is a switch between one end of an in-memory wire and one end of a
// socketpair per vmac; the tests hold the other ends.
type port struct {
	t    testing.TB
	sw   *Switch
	peer *MemWire
	spec classify.Spec
	v    []*Vmac
	fds  []int // the tests' ends
	stop func() error
}

const parentMAC = classify.MAC(0x0a0000000002)

func mac(n int) classify.MAC {
	return classify.MACFrom([]byte{2, 0, 0, 0, byte(n >> 8), byte(n)})
}

func vmac(n int, mode classify.Mode) classify.Vmac {
	return classify.Vmac{Name: fmt.Sprintf("v%d", n), Mode: mode, MAC: mac(n), Up: true, UpSeq: uint64(n), MTU: 1500, BCQueueLen: 1000}
}

// newPort starts a switch with the given vmacs. The test fails if at its end
// the accounts don't balance.
func newPort(t testing.TB, limit int, o Options, vmacs ...classify.Vmac) *port {
	t.Helper()
	wire, peer := NewPair(limit, parentMAC)
	if err := peer.Program(classify.Addresses{All: true, Promisc: 1}); err != nil {
		t.Fatal(err)
	}
	sw, err := New(wire, o)
	if err != nil {
		t.Fatal(err)
	}
	p := &port{t: t, sw: sw, peer: peer, spec: classify.Spec{Parent: parentMAC, BCLim: 1, FilterAll: true}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sw.Run(ctx) }()
	p.stop = func() error { cancel(); return <-done }
	for _, v := range vmacs {
		p.add(v, false)
	}
	p.swap()
	t.Cleanup(func() {
		p.settle()
		if err := p.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		for _, fd := range p.fds {
			unix.Close(fd)
		}
		peer.Close()
	})
	return p
}

func (p *port) add(v classify.Vmac, plain bool) {
	p.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	d, err := tap.FromFD(fds[0], plain)
	if err != nil {
		p.t.Fatal(err)
	}
	tv := unix.Timeval{Sec: 2}
	unix.SetsockoptTimeval(fds[1], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	p.spec.Vmacs = append(p.spec.Vmacs, v)
	p.v = append(p.v, NewVmac(v.Name, NewTap(d)))
	p.fds = append(p.fds, fds[1])
}

func (p *port) swap() {
	p.t.Helper()
	if err := p.sw.Swap(&p.spec, p.v); err != nil {
		p.t.Fatal(err)
	}
}

// frame builds a raw frame with an all-zero virtio header.
func frame(dst, src classify.MAC, etherType uint16, payload []byte) []byte {
	raw := make([]byte, vnet.HdrLen+12, vnet.HdrLen+14+len(payload))
	for i := range 6 {
		raw[vnet.HdrLen+i] = byte(dst >> (8 * i))
		raw[vnet.HdrLen+6+i] = byte(src >> (8 * i))
	}
	raw = binary.BigEndian.AppendUint16(raw, etherType)
	return append(raw, payload...)
}

// fromWire sends a raw frame from the host at the other end of the wire.
func (p *port) fromWire(raw []byte) {
	p.t.Helper()
	for {
		n, err := p.peer.Send([]*Frame{{Raw: raw}})
		if n == 1 {
			return
		}
		if !errors.Is(err, unix.EAGAIN) {
			p.t.Fatal(err)
		}
		p.peer.WaitSend(100)
	}
}

// fromVmac sends one as the owner of vmac i.
func (p *port) fromVmac(i int, raw []byte) {
	p.t.Helper()
	if _, err := unix.Write(p.fds[i], raw); err != nil {
		p.t.Fatal(err)
	}
}

// atVmac expects raw at vmac i.
func (p *port) atVmac(i int, raw []byte) {
	p.t.Helper()
	buf := make([]byte, MaxRaw)
	n, err := unix.Read(p.fds[i], buf)
	if err != nil {
		p.t.Fatalf("vmac %d: %v", i, err)
	}
	if !bytes.Equal(buf[:n], raw) {
		p.t.Fatalf("vmac %d got\n%x, want\n%x", i, buf[:n], raw)
	}
}

// atWire expects raws at the other end of the wire, in order.
func (p *port) atWire(raws ...[]byte) {
	p.t.Helper()
	timeout := time.AfterFunc(2*time.Second, func() { p.peer.Close() })
	defer timeout.Stop()
	var b Batch
	for len(raws) > 0 {
		if err := p.peer.Recv(&b); err != nil {
			p.t.Fatalf("wire: %v", err)
		}
		for i := range b.Frames {
			if len(raws) == 0 {
				p.t.Fatalf("wire: more than expected: %x", b.Frames[i].Raw)
			}
			if !bytes.Equal(b.Frames[i].Raw, raws[0]) {
				p.t.Fatalf("wire got\n%x, want\n%x", b.Frames[i].Raw, raws[0])
			}
			raws = raws[1:]
		}
	}
}

// quiet expects nothing more at the vmacs.
func (p *port) quiet() {
	p.t.Helper()
	p.settle()
	for i, fd := range p.fds {
		buf := make([]byte, MaxRaw)
		if n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT); err == nil && n > 0 {
			p.t.Errorf("vmac %d got more than expected: %x", i, buf[:n])
		}
	}
}

// settle waits until the accounts balance, which they must on a quiet switch.
func (p *port) settle() SwitchStats {
	p.t.Helper()
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		st := p.sw.Stats()
		off := imbalance(st)
		if off == "" && st.InQueue == 0 {
			return st
		}
		if time.Now().After(deadline) {
			p.t.Errorf("ledger: %s in %+v", off, st)
			return st
		}
	}
}

func imbalance(st SwitchStats) string {
	sum := func(by [classify.NumReasons]uint64) (n uint64) {
		for _, v := range by {
			n += v
		}
		return n
	}
	switch {
	case st.Wire.Packets != st.Wire.Received+st.Wire.Drops:
		return "ring"
	case st.Wire.Received != st.Seen || st.Seen != sum(st.Frames):
		return "frame"
	case st.Planned != sum(st.Copies)+st.InQueue:
		return "copy"
	case st.Read != sum(st.Sent):
		return "tx"
	}
	return ""
}

func TestIngress(t *testing.T) {
	p := newPort(t, 64, Options{}, vmac(1, classify.Private), vmac(2, classify.Bridge))
	uni := frame(mac(1), mac(99), 0x88b5, bytes.Repeat([]byte{1}, 46))
	p.fromWire(uni)
	p.atVmac(0, uni)
	bc := frame(classify.Broadcast, mac(99), 0x88b5, bytes.Repeat([]byte{2}, 46))
	p.fromWire(bc)
	p.atVmac(0, bc)
	p.atVmac(1, bc)
	p.fromWire(frame(mac(77), mac(99), 0x88b5, nil)) // nobody's: kept out by the filter
	p.fromWire(frame(classify.Broadcast, mac(1), 0x88b5, []byte("echo")))
	p.atVmac(0, frame(classify.Broadcast, mac(1), 0x88b5, []byte("echo")))
	p.quiet()

	st := p.v[0].Stats()
	if st.RxPackets != 3 || st.RxBytes != 120 || st.Multicast != 1 {
		t.Errorf("private: %d packets, %d bytes, %d multicast; want 3, 120 (the echo counts none), 1", st.RxPackets, st.RxBytes, st.Multicast)
	}
	sw := p.sw.Stats()
	for r, want := range map[classify.Reason]uint64{classify.Unicast: 1, classify.Flooded: 1, classify.Echoed: 1} {
		if sw.Frames[r] != want {
			t.Errorf("%v: %d, want %d", r, sw.Frames[r], want)
		}
	}
}

func TestEgress(t *testing.T) {
	p := newPort(t, 64, Options{}, vmac(1, classify.Bridge), vmac(2, classify.Bridge), vmac(3, classify.Private))
	out := frame(mac(99), mac(1), 0x88b5, []byte("to the wire"))
	p.fromVmac(0, out)
	p.atWire(out)
	local := frame(mac(2), mac(1), 0x88b5, bytes.Repeat([]byte{3}, 46))
	p.fromVmac(0, local)
	p.atVmac(1, local)
	both := frame(classify.Broadcast, mac(1), 0x88b5, bytes.Repeat([]byte{4}, 46))
	p.fromVmac(0, both)
	p.atVmac(1, both)
	p.atWire(both)
	private := frame(mac(2), mac(3), 0x88b5, []byte("private goes to the wire"))
	p.fromVmac(2, private)
	p.atWire(private)
	tagged := append(frame(mac(2), mac(1), 0x8100, []byte{0, 10, 0x88, 0xb5}), make([]byte, 46)...)
	p.fromVmac(0, tagged)
	p.atVmac(1, tagged)
	p.quiet()

	st := p.v[1].Stats()
	// 60 local, 60+14 flooded, 60 for the tagged one: reception takes its tag off.
	if st.RxPackets != 3 || st.RxBytes != 194 || st.Multicast != 1 {
		t.Errorf("sibling: %d packets, %d bytes, %d multicast; want 3, 194, 1", st.RxPackets, st.RxBytes, st.Multicast)
	}
	st = p.v[0].Stats()
	if want := uint64(len(out) + len(local) + len(both) + len(tagged) - 4*vnet.HdrLen); st.TxPackets != 4 || st.TxBytes != want || st.TxDropped != 0 {
		t.Errorf("sender: %d packets, %d bytes, %d dropped; want 4, %d, 0", st.TxPackets, st.TxBytes, st.TxDropped, want)
	}
}

func TestBroadcastQueueFull(t *testing.T) {
	v := vmac(1, classify.Bridge)
	v.BCQueueLen = 0
	p := newPort(t, 64, Options{}, v)
	for range 3 {
		p.fromWire(frame(classify.Broadcast, mac(99), 0x88b5, nil))
	}
	p.fromWire(frame(0x33_22_11_5e_00_01, mac(99), 0x88b5, nil)) // a group that nobody wants
	uni := frame(mac(1), mac(99), 0x88b5, []byte("unicast is not queued"))
	p.fromWire(uni)
	p.atVmac(0, uni)
	p.quiet()
	if st := p.sw.Stats(); st.Frames[classify.BCQueueFull] != 4 || st.Copies[classify.BCQueueFull] != 3 {
		t.Errorf("%d frames, %d copies dropped; want 4, 3", st.Frames[classify.BCQueueFull], st.Copies[classify.BCQueueFull])
	}
}

// A sibling whose MTU is too small doesn't get a flooded frame, and counts it
// as the kernel does.
func TestFloodOverMTU(t *testing.T) {
	small := vmac(2, classify.Bridge)
	small.MTU = 1000
	p := newPort(t, 64, Options{}, vmac(1, classify.Bridge), small)
	for _, n := range []int{1004, 1005} {
		f := frame(classify.Broadcast, mac(1), 0x88b5, make([]byte, n))
		p.fromVmac(0, f)
		p.atWire(f)
		if n == 1004 {
			p.atVmac(1, f)
		}
	}
	p.quiet()
	if st := p.v[1].Stats(); st.RxPackets != 1 || st.RxErrors != 1 || st.RxDropped != 2 {
		t.Errorf("%d packets, %d errors, %d dropped; want 1, 1, 2", st.RxPackets, st.RxErrors, st.RxDropped)
	}
}

// Toward a slow parent the switch waits; nothing is lost.
func TestBackPressure(t *testing.T) {
	p := newPort(t, 4, Options{}, vmac(1, classify.Private))
	const frames = 500
	go func() {
		for i := range frames {
			unix.Write(p.fds[0], frame(mac(99), mac(1), 0x88b5, binary.BigEndian.AppendUint32(nil, uint32(i))))
		}
	}()
	for i := range frames {
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
		p.atWireOne(uint32(i))
	}
	if st := p.settle(); st.Sent[classify.ToWire] != frames {
		t.Errorf("%d sent, want %d", st.Sent[classify.ToWire], frames)
	}
}

var inbox = map[*port][]uint32{} // frames that a Recv gave beyond the one asked for

func (p *port) atWireOne(want uint32) {
	p.t.Helper()
	if len(inbox[p]) == 0 {
		var b Batch
		if err := p.peer.Recv(&b); err != nil {
			p.t.Fatal(err)
		}
		for i := range b.Frames {
			inbox[p] = append(inbox[p], binary.BigEndian.Uint32(b.Frames[i].Bytes()[14:]))
		}
	}
	if got := inbox[p][0]; got != want {
		p.t.Fatalf("frame %d, want %d", got, want)
	}
	inbox[p] = inbox[p][1:]
}

// A parent that takes nothing for long costs what the switch holds, counted,
// and what comes later passes.
func TestWireBusy(t *testing.T) {
	p := newPort(t, 1, Options{}, vmac(1, classify.Private))
	for range 3 {
		p.fromVmac(0, frame(mac(99), mac(1), 0x88b5, nil))
	}
	for deadline := time.Now().Add(5 * time.Second); p.sw.Stats().Sent[classify.WireBusy] == 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	st := p.settle()
	if st.Sent[classify.WireBusy] == 0 || st.Sent[classify.WireBusy]+st.Sent[classify.ToWire] != 3 {
		t.Errorf("%d busy, %d to the wire; want 3 in all, some of them busy", st.Sent[classify.WireBusy], st.Sent[classify.ToWire])
	}
	p.atWire(frame(mac(99), mac(1), 0x88b5, nil))
}

// A super-frame with an unfinished checksum passes untouched where both sides
// have offloads, and cut up and finished where one lacks them.
func TestSoftwareOffload(t *testing.T) {
	for _, plainChild := range []bool{false, true} {
		for _, plainWire := range []bool{false, true} {
			t.Run(fmt.Sprintf("child=%v/wire=%v", !plainChild, !plainWire), func(t *testing.T) {
				p := newPort(t, 64, Options{})
				p.add(vmac(1, classify.Bridge), plainChild)
				p.swap()
				p.sw.wire.(*MemWire).SetOffload(!plainWire)
				super := superFrame(mac(99), mac(1), 20000)
				if !plainChild {
					p.fromVmac(0, super)
					if !plainWire {
						p.atWire(super)
					} else {
						p.atWire(segments(t, super)...)
					}
				}
				if !plainWire {
					super = superFrame(mac(1), mac(99), 20000)
					p.fromWire(super)
					want := [][]byte{super}
					if plainChild {
						want = segments(t, super)
						for i := range want {
							want[i] = want[i][vnet.HdrLen:]
						}
					}
					for _, w := range want {
						p.atVmac(0, w)
					}
					p.settle()
					if st := p.v[0].Stats(); st.RxPackets != 1 || st.RxBytes != uint64(len(super)-vnet.HdrLen) {
						t.Errorf("%d packets, %d bytes; a super-frame counts once, whole", st.RxPackets, st.RxBytes)
					}
				}
				p.quiet()
			})
		}
	}
}

// superFrame is a TCP segment of n payload bytes, to be cut into 1448.
func superFrame(dst, src classify.MAC, n int) []byte {
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+n))
	copy(ip[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	tcp := make([]byte, 20)
	tcp[12], tcp[13] = 5<<4, 0x10
	payload := make([]byte, n)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	raw := frame(dst, src, 0x0800, append(append(ip, tcp...), payload...))
	vnet.Hdr{Flags: vnet.FlagNeedsCsum, GSOType: vnet.GSOTCPv4, HdrLen: 54, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}.Put(raw)
	return raw
}

func segments(t *testing.T, raw []byte) [][]byte {
	t.Helper()
	segs, _, err := vnet.Segment(raw, make([]byte, 4*MaxRaw), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(segs) < 10 {
		t.Fatalf("%d segments", len(segs))
	}
	return segs
}

// A device that vanishes is reported once, and its number is not closed under
// a thread that may still write to it.
func TestGone(t *testing.T) {
	var gone atomic.Int32
	p := newPort(t, 64, Options{Gone: func(*Vmac) { gone.Add(1) }}, vmac(1, classify.Private), vmac(2, classify.Private))
	unix.Close(p.fds[0])
	for deadline := time.Now().Add(2 * time.Second); gone.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	uni := frame(mac(2), mac(99), 0x88b5, nil)
	p.fromWire(uni)
	p.atVmac(1, uni)
	if gone.Load() != 1 {
		t.Errorf("reported %d times", gone.Load())
	}
	if err := unix.EpollCtl(p.sw.poll.ep, unix.EPOLL_CTL_DEL, p.v[0].Child().FD(), nil); err != unix.ENOENT {
		t.Errorf("what is gone is still polled: %v", err)
	}
	p.spec.Vmacs, p.v, p.fds = p.spec.Vmacs[1:], p.v[1:], p.fds[1:]
	p.swap()
	if err := p.sw.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	p.fromWire(uni)
	p.atVmac(0, uni)
}
