package defrag

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/umacvlan/umacvlan/classify"
)

// slow is the reassembly in its most obvious form: every octet of a datagram
// knows which run of fragments it belongs to, and how far away a fragment is
// one finds by reading a diary.
type slow struct {
	limits Limits
	queues map[key]*slowQueue
	diary  []key // of every fragment that was let in
	runs   int   // numbers given so far
}

type slowQueue struct {
	born      time.Duration
	entry     int // of the last fragment, in the diary
	octets    map[int]byte
	run       map[int]int // whose octet it is
	tail      int         // the run of the octet that is farthest
	far       int         // and where that ends
	length    int
	last      bool
	tos       []byte
	sizes     []int
	df        []int
	head      []byte
	headerLen int
	beside    Beside
	checksums []Checksum
	memory    int
	pieces    int
}

func newSlowQueue(now time.Duration) *slowQueue {
	return &slowQueue{born: now, octets: map[int]byte{}, run: map[int]int{}, memory: 200}
}

func (s *slow) memory() (n int) {
	for _, q := range s.queues {
		n += q.memory
	}
	return n
}

func (s *slow) pieces() (n int) {
	for _, q := range s.queues {
		n += q.pieces
	}
	return n
}

func (s *slow) add(raw []byte, at int, b Beside, now time.Duration) (frame []byte, beside Beside, whole bool, reason classify.Reason) {
	for k, q := range s.queues {
		if now >= q.born+s.limits.Time {
			delete(s.queues, k)
		}
	}
	if s.limits.Memory <= 0 || s.memory() > s.limits.Memory {
		return nil, Beside{}, false, classify.FragmentNoRoom
	}
	eth := 14
	if raw[at+12] != 8 {
		eth = 18
	}
	ip := raw[at+eth:]
	k := key{binary.BigEndian.Uint32(ip[12:]), binary.BigEndian.Uint32(ip[16:]), binary.BigEndian.Uint16(ip[4:]), ip[9]}
	q := s.queues[k]
	if q == nil {
		q = newSlowQueue(now)
		s.queues[k] = q
	} else if s.limits.Distance > 0 && len(q.octets) > 0 {
		others := 0
		for _, e := range s.diary[q.entry+1:] {
			if e.src == k.src {
				others++
			}
		}
		if others+1 > s.limits.Distance {
			fresh := newSlowQueue(now)
			fresh.sizes, fresh.df = q.sizes, q.df
			q = fresh
			s.queues[k] = q
		}
	}
	q.entry = len(s.diary)
	s.diary = append(s.diary, k)

	header := int(ip[0]&15) * 4
	total := int(ip[2])<<8 | int(ip[3])
	data := ip[header:total]
	more, df := ip[6]&0x20 != 0, ip[6]&0x40 != 0
	start := (int(ip[6]&0x1f)<<8 | int(ip[7])) * 8
	if more && len(data)%8 != 0 {
		data = data[:len(data)/8*8]
		if b.Checksum == ChecksumPartial {
			b.Checksum = ChecksumNone
		}
	}
	end := start + len(data)
	spoilt := func(r classify.Reason) ([]byte, Beside, bool, classify.Reason) {
		delete(s.queues, k)
		return nil, Beside{}, false, r
	}
	switch {
	case more && q.last && end > q.length, !more && end < q.length, !more && q.last && end != q.length, len(data) == 0:
		return spoilt(classify.FragmentBad)
	}
	q.last = q.last || !more
	q.length = max(q.length, end)

	owners, free := map[int]bool{}, 0
	for i := start; i < end; i++ {
		if r, taken := q.run[i]; taken {
			owners[r] = true
		} else {
			free++
		}
	}
	switch {
	case len(owners) == 1 && free == 0:
		return nil, Beside{}, false, classify.FragmentDuplicate
	case len(owners) > 0:
		return spoilt(classify.FragmentOverlap)
	}
	s.runs++
	run := s.runs
	if len(q.octets) > 0 && start == q.far {
		run = q.tail
	}
	for i, c := range data {
		q.octets[start+i], q.run[start+i] = c, run
	}
	if end > q.far {
		q.far, q.tail = end, run
	}
	if start == 0 {
		q.head = bytes.Clone(raw[:at+eth+header])
		q.headerLen = header
		q.beside = b
	}
	q.tos = append(q.tos, ip[1]&3)
	q.sizes = append(q.sizes, header+len(data))
	if df {
		q.df = append(q.df, header+len(data))
	}
	q.checksums = append(q.checksums, b.Checksum)
	q.memory += truesize(len(raw) - at)
	q.pieces++
	if !q.last || len(q.octets) != q.length {
		return nil, Beside{}, false, classify.FragmentHeld
	}
	delete(s.queues, k)
	if q.headerLen+q.length > 65535 {
		return nil, Beside{}, false, classify.FragmentBad
	}
	counts := [4]int{}
	for _, t := range q.tos {
		counts[t]++
	}
	if counts[0] > 0 && counts[0] < len(q.tos) {
		return nil, Beside{}, false, classify.FragmentBad
	}
	h := q.head[len(q.head)-q.headerLen:]
	if counts[3] > 0 {
		h[1] |= 3
	}
	binary.BigEndian.PutUint16(h[2:], uint16(q.headerLen+q.length))
	h[6], h[7], h[10], h[11] = 0, 0, 0, 0
	if largest(q.df) == largest(q.sizes) {
		h[6] = 0x40
	}
	sum := 0
	for i := 0; i < len(h); i += 2 {
		sum += int(h[i])<<8 + int(h[i+1])
	}
	sum = 0xffff - sum%0xffff
	if sum == 0xffff {
		sum = 0 // no header is all zeroes
	}
	binary.BigEndian.PutUint16(h[10:], uint16(sum))
	frame = q.head
	for i := range q.length {
		frame = append(frame, q.octets[i])
	}
	for _, c := range q.checksums {
		if c != q.beside.Checksum {
			q.beside.Checksum = ChecksumNone
			break
		}
	}
	return frame, q.beside, true, classify.Delivered
}

func largest(list []int) (n int) {
	for _, v := range list {
		n = max(n, v)
	}
	return n
}
