package dataplane

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// fakeKernel fills slots of a ring as tpacket_rcv does.
type fakeKernel struct {
	r    slotRing
	head uint32
}

func newFakeKernel(slots, size int) *fakeKernel {
	return &fakeKernel{r: newSlotRing(make([]byte, slots*size), slots, size)}
}

const fakeMAC = 82 // tp_mac with slotReserve and a virtio header

func (k *fakeKernel) put(frame []byte, status uint32, tci, tpid uint16) bool {
	slot := k.r.slot(k.head)
	if slotStatus(slot) != 0 {
		return false
	}
	snap := min(len(frame), len(slot)-fakeMAC)
	e := binary.NativeEndian
	e.PutUint32(slot[4:], uint32(len(frame)))
	e.PutUint32(slot[8:], uint32(snap))
	e.PutUint16(slot[12:], fakeMAC)
	e.PutUint16(slot[24:], tci)
	e.PutUint16(slot[26:], tpid)
	slot[42] = byte(classify.TypeOther)
	copy(slot[fakeMAC:], frame[:snap])
	setSlotStatus(slot, statusUser|status)
	k.head++
	return true
}

// take is what fill does, over a fake kernel's ring.
func take(k *fakeKernel) (frames []Frame) {
	w := &ringWire{socket: &socket{offload: true}, ring: k.r}
	var b Batch
	w.fill(&b)
	k.r = w.ring
	return b.Frames
}

func TestRing(t *testing.T) {
	k := newFakeKernel(128, 2048)
	frame := bytes.Repeat([]byte{7}, 100)
	sent, got := 0, 0
	for range 1000 {
		for k.put(append(frame, byte(sent)), 0, 0, 0) {
			sent++
		}
		for _, f := range take(k) {
			if b := f.Bytes(); len(b) != 101 || b[100] != byte(got) || f.Type != classify.TypeOther || f.Cut {
				t.Fatalf("frame %d: %d bytes, %+v", got, len(b), f)
			}
			got++
		}
		if k.r.held != ringBatch {
			t.Fatalf("%d borrowed, want %d", k.r.held, ringBatch)
		}
		if k.put(frame, 0, 0, 0) {
			t.Fatal("the kernel got a borrowed slot")
		}
		k.r.giveBack()
	}
}

func TestRingFrames(t *testing.T) {
	k := newFakeKernel(128, 2048)
	small := bytes.Repeat([]byte{7}, 60)
	large := bytes.Repeat([]byte{8}, 3000)
	k.put(small, statusVLAN|statusTPID, 0x0123, 0x88a8)
	k.put(small, statusVLAN, 0x0456, 0) // before Linux 3.14
	k.put(large, 0, 0, 0)               // no room in the queue
	k.put(small, 0, 0, 0)
	setSlotStatus(k.r.slot(k.head), 0)
	f := take(k)
	if len(f) != 4 {
		t.Fatalf("%d frames", len(f))
	}
	for i, tag := range [][]byte{{0x88, 0xa8, 0x01, 0x23}, {0x81, 0x00, 0x04, 0x56}} {
		if b := f[i].Bytes(); len(b) != 64 || !bytes.Equal(b[12:16], tag) || f[i].Untagged != 4 {
			t.Errorf("tag %x: % x, untagged %d", tag, b[:20], f[i].Untagged)
		}
	}
	if !f[2].Cut || len(f[2].Raw) < vnet.HdrLen {
		t.Error("a frame without its end is not marked as cut")
	}
	if f[3].Cut || f[3].Untagged != 0 || !bytes.Equal(f[3].Bytes(), small) {
		t.Errorf("%+v", f[3])
	}
}

func TestRingHole(t *testing.T) {
	k := newFakeKernel(128, 2048)
	if k.r.hole() {
		t.Error("an empty ring has a hole")
	}
	k.head++
	k.put(make([]byte, 60), 0, 0, 0)
	if !k.r.hole() || len(take(k)) != 0 {
		t.Error("no hole before a filled slot")
	}
	k.r.next++
	if k.r.hole() || len(take(k)) != 1 {
		t.Error("the frame behind the hole was not found")
	}
}

// TestRingGarbage: a slot that contradicts itself is a cut frame and no panic.
func TestRingGarbage(t *testing.T) {
	for _, mac := range []uint16{0, 13, 65, 2040, 0xffff} {
		for _, snap := range []uint32{0, 60, 2048, 0xffff_ffff} {
			k := newFakeKernel(128, 2048)
			k.put(make([]byte, 60), statusVLAN, 1, 1)
			slot := k.r.slot(0)
			binary.NativeEndian.PutUint16(slot[12:], mac)
			binary.NativeEndian.PutUint32(slot[8:], snap)
			for _, f := range take(k) {
				if !f.Cut || len(f.Raw) < vnet.HdrLen {
					t.Errorf("mac %d, snaplen %d: %d bytes, cut %v", mac, snap, len(f.Raw), f.Cut)
				}
			}
		}
	}
}

// FuzzRing: whatever a ring's memory holds, the frames in it lie in their slots,
// and every slot goes back.
func FuzzRing(f *testing.F) {
	k := newFakeKernel(128, 2048)
	k.put(make([]byte, 60), statusVLAN|statusTPID, 1, 0x8100)
	k.put(make([]byte, 3000), statusCsumNotReady, 0, 0)
	f.Add(k.r.mem[:4096], true, uint8(2))
	f.Fuzz(func(t *testing.T, mem []byte, offload bool, ready uint8) {
		k := newFakeKernel(128, 2048)
		copy(k.r.mem, mem)
		for i := range uint32(ready) {
			slot := k.r.slot(i)
			setSlotStatus(slot, slotStatus(slot)&^statusCopy|statusUser) // there is no socket to read
		}
		for i := uint32(ready); i < 128; i++ {
			setSlotStatus(k.r.slot(i), 0)
		}
		w := &ringWire{socket: &socket{offload: offload}, ring: k.r}
		var b Batch
		w.fill(&b)
		if len(b.Frames) != int(min(ready, ringBatch)) {
			t.Fatalf("%d frames of %d slots", len(b.Frames), ready)
		}
		for i, f := range b.Frames {
			if len(f.Raw) < vnet.HdrLen || len(f.Raw) > 2048 {
				t.Errorf("slot %d: %d bytes", i, len(f.Raw))
			}
		}
		w.ring.giveBack()
		for i := range b.Frames {
			if slotStatus(w.ring.slot(uint32(i))) != 0 {
				t.Errorf("slot %d was not given back", i)
			}
		}
	})
}
