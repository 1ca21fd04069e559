package dataplane

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/tap/vnet"
)

// ringWire receives from a TPACKET_V2 ring. Slots are small, so that the ones in
// use stay in cache; larger frames come whole by the socket's ordinary queue
// (PACKET_COPY_THRESH), one read each, in the order of their slots.
type ringWire struct {
	*socket
	ring  slotRing
	slots int
	size  int
	big   [ringBig][]byte
	used  int // of big

	// resync says that slots and queue no longer agree, which takes a slot
	// that was given up as a hole and filled after all.
	resync bool

	holeSince time.Time

	idle      int    // timeouts in a row, without a frame
	idleDrops uint64 // what the kernel had dropped at the last of them
}

const (
	ringBatch = 64 // frames of one Recv
	ringBig   = 8  // large ones among them: half a megabyte, which a cache holds

	// A block is what the kernel allocates in one piece.
	ringBlock = 64 << 10

	minSlots  = 2 * ringBatch // half of them may be borrowed
	smallSlot = 2048
	largeSlot = 128 << 10
)

func newRingWire(s *socket, o WireOptions) (*ringWire, error) {
	r := &ringWire{socket: s, slots: o.Slots, size: smallSlot}
	if r.slots == 0 {
		r.slots = defaultSlots
	}
	if r.slots < minSlots || r.slots&(r.slots-1) != 0 {
		return nil, fmt.Errorf("ring of %d slots: not a power of two from %d on", r.slots, minSlots)
	}
	// Jumbo frames are ordinary frames on such a parent, so their slots are
	// made to fit.
	if need := s.mtu + 14 + 2*tagLen + slotOverhead; need > r.size {
		r.size = min(1<<bits.Len(uint(need-1)), largeSlot)
	}
	rcvbuf, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return nil, fmt.Errorf("SO_RCVBUF: %w", err)
	}
	if rcvbuf < minReceiveBuffer {
		// The queue would cut super-frames, so every slot holds one.
		r.size = largeSlot
	}
	if o.Slots == 0 {
		// At most 32 MiB.
		r.slots = min(r.slots, 32<<20/r.size)
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_RESERVE, slotReserve); err != nil {
		return nil, fmt.Errorf("PACKET_RESERVE: %w", err)
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_COPY_THRESH, 1); err != nil {
		return nil, fmt.Errorf("PACKET_COPY_THRESH: %w", err)
	}
	for {
		err := r.mapRing()
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOMEM) || r.slots/2 < minSlots {
			return nil, err
		}
		r.slots /= 2
	}
	for i := range r.big {
		r.big[i] = make([]byte, tagLen+MaxRaw)
	}
	return r, nil
}

func (r *ringWire) mapRing() error {
	total := r.slots * r.size
	block := min(max(ringBlock, r.size), max(total, unix.Getpagesize()))
	req := unix.TpacketReq{
		Block_size: uint32(block),
		Block_nr:   uint32(max(total/block, 1)),
		Frame_size: uint32(r.size),
		Frame_nr:   uint32(r.slots),
	}
	if err := unix.SetsockoptTpacketReq(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("PACKET_RX_RING of %d slots of %d bytes: %w", r.slots, r.size, err)
	}
	mem, err := unix.Mmap(r.fd, 0, total, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		// Or there could be no smaller one (EBUSY).
		none := unix.SetsockoptTpacketReq(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{})
		return errors.Join(fmt.Errorf("mmap ring: %w", err), none)
	}
	r.ring = newSlotRing(mem, r.slots, r.size)
	return nil
}

func (r *ringWire) unmap() {
	if r.ring.mem != nil {
		unix.Munmap(r.ring.mem)
		r.ring.mem = nil
	}
}

func (r *ringWire) Recv(b *Batch) error {
	r.life.RLock()
	defer r.life.RUnlock()
	if r.closed.Load() {
		r.unmap()
		return net.ErrClosed
	}
	b.Frames = b.Frames[:0]
	r.ring.giveBack()
	r.used = 0
	if r.resync {
		r.stuck.Add(1)
		if err := r.remap(); err != nil {
			return err
		}
	}
	for r.turns.begin(); ; {
		r.fill(b)
		if len(b.Frames) > 0 {
			r.idle = 0
			r.received.Add(uint64(len(b.Frames)))
			return nil
		}
		if r.ring.hole() {
			r.waitHole()
			continue
		}
		r.holeSince = time.Time{}
		if r.idle == 0 && r.turns.give() {
			continue
		}
		timeout := pollUp
		if r.idle < 2 {
			timeout = pollIdle
		}
		idle, err := r.wait(timeout)
		if err == nil && idle {
			err = r.unstick()
		}
		if err != nil {
			return err
		}
	}
}

// fill borrows the slots that the kernel has filled.
func (r *ringWire) fill(b *Batch) {
	for len(b.Frames) < ringBatch {
		slot := r.ring.slot(r.ring.next)
		status := slotStatus(slot)
		if status&statusUser == 0 || status&statusCopy != 0 && r.used == len(r.big) {
			return
		}
		b.Frames = append(b.Frames, r.frame(slot, status))
		r.ring.next++
		r.ring.held++
	}
}

func (r *ringWire) frame(slot []byte, status uint32) Frame {
	in, ok := readSlot(slot, status)
	f := Frame{Type: in.typ}
	switch {
	case status&statusCopy != 0:
		buf, whole := r.readBig(in.length)
		if !whole {
			f.Raw, f.Cut = buf[tagLen:], true
			return f
		}
		restore(&f, buf, status, in.tci, in.tpid, r.offload)
	case !ok || in.snaplen < in.length:
		// The queue had no room for the whole frame, and tpacket_rcv then
		// counts no drop.
		f.Raw, f.Cut = slot[:vnet.HdrLen:vnet.HdrLen], true
		if ok {
			f.Raw = slot[in.start : in.start+vnet.HdrLen+in.snaplen]
		}
	default:
		end := in.start + vnet.HdrLen + in.snaplen
		restore(&f, slot[in.start-tagLen:end:end], status, in.tci, in.tpid, r.offload)
	}
	return f
}

// readBig takes the next frame, of the given length, from the socket's queue.
// It returns it as restore wants it.
func (r *ringWire) readBig(length int) (buf []byte, whole bool) {
	buf = r.big[r.used]
	r.used++
	dst := buf[tagLen+r.skip:]
	for {
		n, err := recvNow(r.fd, dst)
		switch err {
		case nil:
			end := tagLen + r.skip + n
			// Longer than a buffer (BIG TCP), or not the slot's frame.
			whole := n == length+vnet.HdrLen-r.skip
			if !whole && n < len(dst) {
				r.resync = true
			}
			return buf[:end:end], whole
		case unix.EINTR:
		case unix.ENETDOWN: // an error that was waiting; the frame still is
			r.down.Store(true)
		default:
			r.resync = true
			return buf[: tagLen+vnet.HdrLen : tagLen+vnet.HdrLen], false
		}
	}
}

// holePatience is how long a CPU may take to fill a slot while others have
// filled later ones, before the slot is taken for one that nobody fills.
const holePatience = 100 * time.Millisecond

// waitHole waits for the next slot while the one after it is ready, which
// poll(2) would not do, and steps over it in the end.
func (r *ringWire) waitHole() {
	if r.holeSince.IsZero() {
		r.holeSince = time.Now()
	}
	if time.Since(r.holeSince) < holePatience {
		time.Sleep(50 * time.Microsecond)
		return
	}
	r.holeSince = time.Time{}
	r.stuck.Add(1)
	r.ring.next++
}

// pollIdle is the timeout in milliseconds of the first waits after a frame, so
// that a stuck ring is noticed soon.
const pollIdle = 100

// unstick makes the ring anew if the kernel has dropped frames from one timeout
// to the next while the ring was empty. On current kernels (seen on 6.18), one
// frame whose GSO type the virtio header cannot express, such as SCTP's, leaves
// its slot marked as being filled (tpacket_rcv, rx_owner_map), and from then on
// every frame is dropped.
func (r *ringWire) unstick() error {
	r.readStatistics()
	r.stats.Lock()
	drops := r.stats.drops
	r.stats.Unlock()
	more := drops != r.idleDrops
	r.idleDrops = drops
	r.idle++
	if r.idle == 1 || !more || slotStatus(r.ring.slot(r.ring.next))&statusUser != 0 {
		return nil
	}
	r.stuck.Add(1)
	return r.remap()
}

// remap replaces the ring by a fresh one. Nothing may be borrowed. A filter
// that drops everything keeps frames away from the moments without a ring.
func (r *ringWire) remap() error {
	r.filterMu.Lock()
	defer r.filterMu.Unlock()
	if err := attachProgram(r.fd, []insn{{opReturn, 0, 0, 0}}); err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	r.unmap()
	if err := unix.SetsockoptTpacketReq(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{}); err != nil {
		return fmt.Errorf("PACKET_RX_RING: %w", err)
	}
	if err := r.mapRing(); err != nil {
		return err
	}
	// What arrived between the last look at the old ring and the filter went
	// with it.
	r.writeOff()
	r.resync, r.holeSince = false, time.Time{}
	_, err := attachFilter(r.fd, r.filter, r.dropOutgoing)
	return err
}

// Close leaves the ring mapped if frames are borrowed, since whoever has them
// may be reading; the next Recv unmaps it. As the mapping keeps the socket
// alive, Close takes from it what it does in the kernel.
func (r *ringWire) Close() error {
	if !r.stop() {
		return nil
	}
	defer r.life.Unlock()
	if r.ring.held == 0 {
		r.unmap()
		return r.closeFDs()
	}
	err := attachProgram(r.fd, []insn{{opReturn, 0, 0, 0}})
	err = errors.Join(err, r.program.members.apply(r.fd, r.ifindex, memberships{}))
	return errors.Join(err, r.closeFDs())
}
