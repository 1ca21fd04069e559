package dataplane

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

const (
	// txBudget is how many frames one vmac may send before the others have
	// their turn.
	txBudget = 64
	// txArena holds the frames of one turn: at least 15 super-frames, or any
	// number of small ones that the budgets allow.
	txArena = 1 << 20
	// txPatience bounds how long the transmit loop waits for a parent that
	// takes nothing before it drops what it holds.
	txPatience = 200 * time.Millisecond
)

// outgoing is a frame on its way to the parent.
type outgoing struct {
	from   *Vmac
	reason classify.Reason // if the parent takes it
}

// transmit is the loop from the vmacs to the parent and to bridge siblings.
func (s *Switch) transmit() error {
	var (
		b     Batch
		w     = &s.tx
		arena = make([]byte, txArena)
		rest  = arena
		out   = &outbox{}
	)
	turn := func() {
		w.flush()
		s.send(out)
		b.Frames, rest = b.Frames[:0], arena
	}
	for {
		w.epoch.park()
		n, err := s.poll.wait()
		if err != nil {
			return err
		}
		sn := w.epoch.enter(&s.snap)
		for i := range n {
			slot, serial, gone := s.poll.event(i)
			if slot == wakeSlot {
				turn()
				return nil
			}
			v := sn.at(slot, serial)
			if v == nil {
				continue
			}
			if gone {
				s.lost(v)
				continue
			}
			if len(rest) < MaxRaw || len(b.Frames)+txBudget > cap(b.Frames) {
				turn()
				if cap(b.Frames) < 4*txBudget {
					b.Frames = make([]Frame, 0, 4*txBudget)
				}
			}
			start := len(b.Frames)
			if rest, err = v.child.Recv(&b, rest, txBudget); err != nil {
				s.lost(v)
			}
			v.tx.read.Add(uint64(len(b.Frames) - start))
			s.read.Add(uint64(len(b.Frames) - start))
			for j := start; j < len(b.Frames); j++ {
				s.egress(sn, v, &b.Frames[j], out)
			}
		}
		turn()
	}
}

// lost reports, once, that the device behind v no longer exists, and stops
// polling it.
func (s *Switch) lost(v *Vmac) {
	if v.lost {
		return
	}
	v.lost = true
	s.poll.remove(v.child.FD())
	if s.opt.Gone != nil {
		s.opt.Gone(v)
	}
}

// egress decides one frame from v (macvlan_queue_xmit) and stages its copies.
func (s *Switch) egress(sn *snapshot, v *Vmac, f *Frame, out *outbox) {
	w := &s.tx
	frame := f.Bytes()
	m := classify.Meta{GSO: vnet.Parse(f.Raw).IsGSO()}
	var verdict classify.Verdict
	w.copies, verdict = sn.table.Egress(int(sn.index[v.slot]), frame, m, w.copies[:0])
	if len(w.copies) > 0 {
		length := len(frame)
		if verdict.Wire {
			length += etherHeader // macvlan_broadcast_one counts the header twice
		} else {
			length -= strippedTag(frame) // reception on the parent takes the tag off first
		}
		s.spread(w, sn, f, false, length)
	}
	switch {
	case verdict.Wire:
		out.add(f, outgoing{v, verdict.Reason})
	case verdict.Reason == classify.ToLocal, verdict.Reason == classify.VLANTruncated:
		v.sent(s, verdict.Reason, 1, len(frame)) // whatever the parent's receive path makes of it
	default:
		v.unsent(s, verdict.Reason)
	}
}

const etherHeader = 14

// strippedTag returns the length of the VLAN tag that the kernel takes off a frame
// before macvlan sees it.
func strippedTag(frame []byte) int {
	if len(frame) >= 18 {
		switch binary.BigEndian.Uint16(frame[12:]) {
		case 0x8100, 0x88a8:
			return 4
		}
	}
	return 0
}

// sent counts frames that v has transmitted, unsent one that was lost.
func (v *Vmac) sent(s *Switch, r classify.Reason, frames, bytes int) {
	v.tx.packets.Add(uint64(frames))
	v.tx.bytes.Add(uint64(bytes))
	v.tx.sent[r].Add(uint64(frames))
	s.sent[r].Add(uint64(frames))
}

func (v *Vmac) unsent(s *Switch, r classify.Reason) {
	v.tx.dropped.Add(1)
	v.tx.sent[r].Add(1)
	s.sent[r].Add(1)
}

// outbox collects a turn's frames for the parent.
type outbox struct {
	frames []*Frame
	meta   []outgoing
}

func (o *outbox) add(f *Frame, m outgoing) {
	o.frames = append(o.frames, f)
	o.meta = append(o.meta, m)
}

func (o *outbox) reset() {
	clear(o.frames)
	clear(o.meta)
	o.frames, o.meta = o.frames[:0], o.meta[:0]
}

// send hands the outbox to the parent. While the parent takes nothing it waits,
// and what the vmacs send meanwhile stays in their devices' own queues: the
// back-pressure that a NIC's full ring would be.
func (s *Switch) send(out *outbox) {
	defer out.reset()
	frames, meta := out.frames, out.meta
	plain := !s.wire.Offload()
	for len(frames) > 0 {
		if plain {
			err := s.sendPlain(frames[0], meta[0])
			frames, meta = frames[1:], meta[1:]
			if errors.Is(err, unix.EAGAIN) {
				s.giveUp(meta)
				return
			}
			continue
		}
		n, err := s.sendAll(frames)
		s.countSent(frames[:n], meta[:n])
		if n == len(frames) {
			return
		}
		meta[n].from.unsent(s, wireReason(err))
		frames, meta = frames[n+1:], meta[n+1:]
		if errors.Is(err, unix.EAGAIN) {
			s.giveUp(meta)
			return
		}
	}
}

// giveUp drops what is left for a parent that takes nothing.
func (s *Switch) giveUp(meta []outgoing) {
	for _, m := range meta {
		m.from.unsent(s, classify.WireBusy)
	}
}

// countSent counts what the parent took, runs of equal frames at once.
func (s *Switch) countSent(frames []*Frame, meta []outgoing) {
	for start := 0; start < len(frames); {
		end, bytes := start, 0
		for end < len(frames) && meta[end] == meta[start] {
			bytes += len(frames[end].Bytes())
			end++
		}
		meta[start].from.sent(s, meta[start].reason, end-start, bytes)
		start = end
	}
}

// sendPlain sends one frame to a parent without virtio headers, and counts it:
// as sent if all of its pieces were.
func (s *Switch) sendPlain(f *Frame, m outgoing) error {
	pieces, err := s.tx.soft.plain(f)
	if err != nil {
		m.from.unsent(s, classify.BadOffload)
		return err
	}
	if n, err := s.sendAll(pieces); n < len(pieces) {
		m.from.unsent(s, wireReason(err))
		return err
	}
	m.from.sent(s, m.reason, 1, len(f.Bytes()))
	return nil
}

// sendAll is Wire.Send, patient with EAGAIN: it returns that only after the
// parent has taken nothing for txPatience.
func (s *Switch) sendAll(frames []*Frame) (int, error) {
	var stuck time.Time // when the parent last took something, once it doesn't
	for done := 0; ; {
		n, err := s.wire.Send(frames[done:])
		done += n
		if done == len(frames) || !errors.Is(err, unix.EAGAIN) {
			return done, err
		}
		if n > 0 || stuck.IsZero() {
			stuck = time.Now()
		}
		left := txPatience - time.Since(stuck)
		if left <= 0 {
			return done, err
		}
		if err := s.wire.WaitSend(int(left/time.Millisecond) + 1); err != nil {
			return done, err
		}
	}
}
