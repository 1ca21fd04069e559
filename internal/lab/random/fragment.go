package random

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// flow is a datagram for a group that is being sent in fragments.
type flow struct {
	id       int
	ip       byte // last octet of the sender's
	src, dst classify.MAC
	tags     []scenario.Tag
	plain    bool // nothing odd about its headers
	clean    bool // its fragments come as they should, or twice
	sent     []piece
	left     []piece
	born     int // how many frames had been sent before
}

type piece struct {
	start, size int
	more        bool
}

// Flows are few at a time, so that they become whole, and short, so that their
// fragments meet well before the kernel gives up on them.
const (
	maxFlows  = 3
	flowLasts = 400 // frames
)

// fragment throws one of a flow: mostly the next, now and then one that comes
// twice, overlaps, or contradicts.
func (m *maker) fragment() *scenario.Send {
	m.flows = slices.DeleteFunc(m.flows, func(f *flow) bool { return len(f.left) == 0 || m.sent-f.born > flowLasts })
	if len(m.flows) == 0 || len(m.flows) < maxFlows && m.of(6) {
		m.flows = append(m.flows, m.flow())
	}
	f := one(m, m.flows)
	var p piece
	switch n := m.IntN(20); {
	case n < 3 && len(f.sent) > 0:
		p = one(m, f.sent)
	case f.clean:
		p = f.next()
	case n < 10 && len(f.sent) > 0:
		p = one(m, f.sent)
		p.start += 8
		p.more = true
	case n < 13 && len(f.sent) > 0:
		p = one(m, f.sent)
		p.size = 0
		if m.of(2) {
			p = piece{0, 8, false}
		}
	case n == 13:
		p = one(m, f.left)
		p.size += m.IntN(8) // what is no multiple of eight is cut off, or makes another end
	default:
		p = f.next()
	}
	s := &scenario.Send{From: scenario.Wire, Times: 1, Tags: f.tags}
	src, dst := f.src, f.dst
	switch m.IntN(16) { // the first one's addresses count
	case 0:
		src = m.anybody()
	case 1:
		dst = m.groupOf()
	case 2:
		s.Tags = nil
	}
	if f.plain && p.size > 0 && (!p.more || p.size%8 == 0) && p.start+p.size <= 1400 {
		end := "last"
		if p.more {
			end = "more"
		}
		s.Src, s.Dst = m.say(src), m.say(dst)
		s.Kind = []string{"frag", "10.9.1." + strconv.Itoa(int(f.ip)), "239.1.1.1", strconv.Itoa(f.id), strconv.Itoa(p.start), end, strconv.Itoa(p.size)}
		return s
	}
	s.Bytes = m.rawFragment(f, p, src, dst)
	s.Tags = nil
	return s
}

func (f *flow) next() piece {
	p := f.left[0]
	f.left = f.left[1:]
	f.sent = append(f.sent, p)
	return p
}

func (m *maker) groupOf() classify.MAC {
	if d := m.destination(); d.IsGroup() {
		return d
	}
	return m.group()
}

func (m *maker) flow() *flow {
	m.started++
	f := &flow{
		id: 1000 + m.started, ip: byte(1 + m.IntN(3)), src: m.stranger(), dst: m.groupOf(), plain: !m.of(4), clean: !m.of(3), born: m.sent,
	}
	if m.of(4) {
		f.src = m.anybody()
	}
	if m.of(6) {
		f.tags = []scenario.Tag{{TPID: 0x8100, TCI: uint16(one(m, []int{0, 10, 0x6000}))}}
	}
	at := 0
	for range 1 + m.IntN(3)/2 {
		p := piece{at, 8 * (1 + m.IntN(20)), true}
		f.left = append(f.left, p)
		at += p.size
	}
	f.left = append(f.left, piece{at, 1 + m.IntN(100), false})
	if m.of(2) {
		m.Shuffle(len(f.left), func(i, j int) { f.left[i], f.left[j] = f.left[j], f.left[i] })
	}
	return f
}

// rawFragment has in its header what no named frame has.
func (m *maker) rawFragment(f *flow, p piece, src, dst classify.MAC) []byte {
	b := make([]byte, 12)
	dst.Put(b)
	src.Put(b[6:])
	for _, t := range f.tags {
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, t.TPID), t.TCI)
	}
	options := 4 * m.IntN(3)
	field := uint16(p.start / 8)
	if p.more {
		field |= 0x2000
	}
	field |= uint16(one(m, []int{0, 0, 0x4000, 0x8000}))
	b = append(b, 8, 0, byte(0x45+options/4), byte(one(m, []int{0, 0, 0, 1, 2, 3, 0xb8})))
	b = binary.BigEndian.AppendUint16(b, uint16(20+options+p.size))
	b = binary.BigEndian.AppendUint16(b, uint16(f.id))
	b = binary.BigEndian.AppendUint16(b, field)
	b = append(b, byte(1+m.IntN(255)), 17, byte(m.Uint32()), byte(m.Uint32()), 10, 9, 1, f.ip, 239, 1, 1, 1)
	for range options {
		b = append(b, 1)
	}
	b = m.noise(b, p.size)
	return append(b, make([]byte, m.IntN(3)*7)...)
}
