package lab

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// observe makes an outcome of what the sockets have seen and what the counters
// say. It also says whether the two agree: frames are counted about when they
// are seen, but not at once.
func (t *take) observe(s *sending) (o scenario.Outcome, agree bool) {
	heard := map[string]uint64{} // frames that came in, marks included
	marked := map[string]uint64{}
	for _, at := range t.spaces {
		handled := handledIn(at)
		for _, seen := range at.tap.Seen {
			who := t.devices[at][seen.Index]
			own := seen.Type == classify.TypeOutgoing && who != scenario.Port
			if who == "" || own || t.noise(&seen) {
				continue
			}
			if seen.Type != classify.TypeOutgoing {
				heard[who]++
			}
			if isMark(seen.Bytes) {
				marked[who]++
				continue
			}
			d := scenario.Delivery{Who: who, Type: seen.Type, Frame: seen.Frame(), Times: 1}
			if who == scenario.Port {
				d.Who = scenario.Tap
			} else if who != scenario.Wire {
				d.StackType = handled.next(&seen)
			}
			o.Gets = append(o.Gets, d)
		}
	}
	o.Gets = append(o.Gets, t.stack()...)
	o.Gets = together(o.Gets)
	agree = true
	for name, l := range t.links {
		c := l.counters
		if base, known := t.base[name]; known {
			c = sub(c, base)
		}
		switch {
		case name == scenario.Port:
			agree = agree && c.TxPackets == heard[scenario.Wire]
			c.RxPackets -= t.marks.sent
			c.RxBytes -= 60 * t.marks.sent
			c.RxDropped -= min(c.RxDropped, t.lostMarks(marked))
		default:
			agree = agree && c.RxPackets == heard[name]
			if s != nil && s.ok && s.From == name {
				agree = agree && c.TxPackets+c.TxDropped >= uint64(max(1, s.Times))
			}
			c.RxPackets -= marked[name]
			c.RxBytes -= 60 * marked[name]
			c.Multicast -= marked[name]
		}
		o.Counts = append(o.Counts, scenario.Count{Who: name, Counters: c})
	}
	slices.SortFunc(o.Counts, func(a, b scenario.Count) int { return cmp.Compare(a.Who, b.Who) })
	return o, agree
}

// lostMarks are those that found the broadcast queue full: the last one got
// through, and the queue is served in order.
func (t *take) lostMarks(marked map[string]uint64) uint64 {
	var most uint64
	for name, n := range marked {
		if name != scenario.Port {
			most = max(most, n)
		}
	}
	return t.marks.sent - min(most, t.marks.sent)
}

// noise is what the kernel's own IPv6 sends where it can't be switched off.
func (t *take) noise(s *Seen) bool {
	return len(s.Bytes) >= 14 && binary.BigEndian.Uint16(s.Bytes[12:]) == 0x86dd && !t.frames[string(s.Frame())]
}

// handled is what protocol handlers in a namespace saw, by device and content
// without tags: the types, in order.
type handled map[string][]classify.PacketType

func handledIn(at *space) handled {
	h := handled{}
	for _, p := range at.stacks {
		for i := range p.Seen {
			k := handledKey(&p.Seen[i])
			h[k] = append(h[k], p.Seen[i].Type)
		}
	}
	return h
}

func handledKey(s *Seen) string {
	return string(untag(s.Bytes)) + string(rune(s.Index))
}

// next is as what handlers saw the frame that a tap saw; nil if they did not.
func (h handled) next(s *Seen) *classify.PacketType {
	k := handledKey(s)
	if len(h[k]) == 0 {
		return nil
	}
	typ := h[k][0]
	h[k] = h[k][1:]
	return &typ
}

// untag returns the frame without any tag.
func untag(b []byte) []byte {
	end := 12
	for len(b) >= end+6 {
		if t := binary.BigEndian.Uint16(b[end:]); t != 0x8100 && t != 0x88a8 {
			break
		}
		end += 4
	}
	if end == 12 || len(b) < 12 {
		return b
	}
	return append(slices.Clone(b[:12]), b[end:]...)
}

// stack lists what protocol handlers got from the parent.
func (t *take) stack() (list []scenario.Delivery) {
	if t.parentAt == 0 {
		return nil
	}
	for _, typ := range t.types {
		p := t.parentIn.stacks[typ]
		for i := range p.Seen {
			if s := &p.Seen[i]; s.Index == t.parentAt && !isMark(s.Bytes) && !t.noise(s) {
				list = append(list, scenario.Delivery{Who: scenario.Stack, Type: s.Type, Frame: t.tagged(s), Times: 1})
			}
		}
	}
	return list
}

// tagged is a frame that a protocol handler saw, with the tag that had come off:
// as the tap saw it.
func (t *take) tagged(s *Seen) []byte {
	for _, tap := range t.parentIn.tap.Seen {
		if tap.Index == s.Index && tap.TPID != 0 && bytes.Equal(untag(tap.Bytes), untag(s.Bytes)) {
			return tap.Frame()
		}
	}
	return s.Frame()
}

// together makes one of deliveries that don't differ and follow each other, as
// far as the same receiver is concerned.
func together(list []scenario.Delivery) (out []scenario.Delivery) {
	last := map[string]int{}
	for _, d := range list {
		if i, ok := last[d.Who]; ok {
			o := &out[i]
			sameStack := (o.StackType == nil) == (d.StackType == nil) && (d.StackType == nil || *o.StackType == *d.StackType)
			if o.Type == d.Type && sameStack && bytes.Equal(o.Frame, d.Frame) {
				o.Times++
				continue
			}
		}
		last[d.Who] = len(out)
		out = append(out, d)
	}
	return out
}

func sub(a, b scenario.Counters) scenario.Counters {
	return scenario.Counters{
		RxPackets: a.RxPackets - b.RxPackets, RxBytes: a.RxBytes - b.RxBytes, RxErrors: a.RxErrors - b.RxErrors,
		RxDropped: a.RxDropped - b.RxDropped, Multicast: a.Multicast - b.Multicast,
		TxPackets: a.TxPackets - b.TxPackets, TxBytes: a.TxBytes - b.TxBytes, TxDropped: a.TxDropped - b.TxDropped,
	}
}
