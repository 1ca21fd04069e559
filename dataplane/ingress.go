package dataplane

import (
	"github.com/umacvlan/umacvlan/classify"
)

// receive is the loop from the parent to the vmacs.
func (s *Switch) receive() error {
	var b Batch
	for {
		s.rx.epoch.park()
		if err := s.wire.Recv(&b); err != nil {
			return err
		}
		sn := s.rx.epoch.enter(&s.snap)
		s.rx.count.seen.Add(uint64(len(b.Frames)))
		s.fragments.Expire()
		for i := range b.Frames {
			s.ingress(sn, &b.Frames[i])
		}
		s.rx.flush()
	}
}

// ingress decides one frame from the parent and stages its copies
// (macvlan_handle_frame).
func (s *Switch) ingress(sn *snapshot, f *Frame) {
	w := &s.rx
	if f.Cut {
		w.frames.add(&w.count.frames, classify.Truncated)
		return
	}
	if collects(sn, f) {
		s.collect(sn, f)
		return
	}
	s.decide(sn, f)
}

// decide is the rest of it.
func (s *Switch) decide(sn *snapshot, f *Frame) {
	w := &s.rx
	var v classify.Verdict
	w.copies, v = sn.table.Ingress(f.Bytes(), classify.Meta{Type: f.Type}, w.copies[:0])
	reason := v.Reason
	if !s.spread(w, sn, f, v.Queued, len(f.Bytes())-int(f.Untagged)) {
		reason = classify.BCQueueFull
	}
	w.frames.add(&w.count.frames, reason)
}

// spread stages the copies of a decision, or hands those of a queued flood to
// the broadcast queue; it reports whether that had room. length is what the
// kernel counts for a copy.
func (s *Switch) spread(w *worker, sn *snapshot, f *Frame, queued bool, length int) bool {
	var item *bcItem
	for _, c := range w.copies {
		v := sn.vmacs[c.Vmac]
		if c.Path == classify.Skipped {
			v.skip(c.Reason)
			continue
		}
		w.planned++
		how := account{bytes: int32(length)}
		switch c.Path {
		case classify.Flood:
			how.multi = true
		case classify.Echo:
			how.bytes = 0 // macvlan_handle_frame counts before it has set len
		}
		if queued && c.Path == classify.Flood {
			if item == nil {
				item = s.queue.item()
			}
			item.to = append(item.to, bcCopy{v, how})
			continue
		}
		w.stage(v, f, how)
	}
	if item == nil {
		// The kernel queues a group before it asks who wants it. Here one that
		// nobody wants takes no place, but finds none in a full queue either. Without
		// a vmac there is no port, and no queue.
		return !queued || len(sn.vmacs) == 0 || !s.queue.full()
	}
	w.flush() // what came before a group is delivered before it, as in the kernel
	return s.queue.put(w, item, f)
}
