package defrag

import (
	"encoding/binary"
	"slices"
	"sort"
	"time"

	"github.com/umacvlan/umacvlan/classify"
)

// queue is one datagram that is being collected (struct ipq).
type queue struct {
	key        key
	deadline   time.Duration
	prev, next *queue // in the list of all, by deadline
	peer       *peer
	rid        uint32 // peer's count when the last fragment came
	charge     int    // octets charged, the queue's own included

	runs      []run
	tailEnd   int // where the fragment ends that reaches farthest (fragments_tail)
	pieces    []piece
	length    int  // of the data, as far as is known
	got       int  // octets of data (meat)
	last      bool // INET_FRAG_LAST_IN
	ecn       uint8
	maxSize   int // of a fragment with its header
	maxDFSize int // of one with IP_DF

	// Of the fragment at offset 0, which is there if got is length.
	head   []byte // all before its data
	header int    // length of its IPv4 header
	beside Beside

	checksums uint8 // of all, as a set
}

// run is what came in order and without a gap. Those that touch are not merged,
// so that a fragment across two of them is an overlap and not a duplicate.
type run struct{ start, end int }

type piece struct {
	start int
	data  []byte
}

// peer counts an IP address's fragments (struct inet_peer) as long as some of
// them are held: only differences of rid matter.
type peer struct {
	rid    uint32
	queues int
}

// find is ip_find and inet_frag_find; nil if there is no room.
func (d *Queues) find(k key, now time.Duration) *queue {
	if d.limits.Memory <= 0 || d.stats.Memory > d.limits.Memory {
		return nil
	}
	if q := d.byKey[k]; q != nil {
		if q.deadline > now {
			return q
		}
		d.expire(q) // limits have changed: it is due before older ones
	}
	q := &queue{key: k}
	d.byKey[k] = q
	d.append(q, now)
	d.charge(q, queueSize)
	q.peer = d.peers[k.src] // ip4_frag_init
	if q.peer == nil {
		q.peer = new(peer)
		d.peers[k.src] = q.peer
	}
	q.peer.queues++
	q.rid = q.peer.rid
	return q
}

// What a kernel of 6.18 on x86-64 charges: 200 octets for a queue, and for a
// fragment its skb with the buffer that a frame of that length is put in.
const (
	queueSize  = 200
	skbSize    = 256
	smallHead  = 576
	bufferRoom = 416 // headroom and struct skb_shared_info
)

func truesize(frame int) int {
	if frame+bufferRoom <= smallHead {
		return skbSize + smallHead
	}
	n := 1024
	for n < frame+bufferRoom {
		n *= 2
	}
	return skbSize + n
}

func (d *Queues) charge(q *queue, n int) {
	q.charge += n
	d.stats.Memory += n
}

// tooFar is ip_frag_too_far: whether so many other fragments came from the same
// address that the id may have been used again.
func (d *Queues) tooFar(q *queue) bool {
	start := q.rid
	q.peer.rid++
	q.rid = q.peer.rid
	return d.limits.Distance > 0 && q.rid-start > uint32(d.limits.Distance)
}

// reinit is ip_frag_reinit: the queue begins anew, for as long again. It keeps
// the sizes that it has seen, as the kernel does.
func (d *Queues) reinit(q *queue, now time.Duration) {
	d.stats.Discarded += uint64(len(q.pieces))
	d.stats.Waiting -= len(q.pieces)
	d.unlink(q)
	d.append(q, now)
	d.charge(q, queueSize-q.charge)
	*q = queue{
		key: q.key, deadline: q.deadline, prev: q.prev, next: q.next, peer: q.peer, rid: q.rid, charge: q.charge,
		maxSize: q.maxSize, maxDFSize: q.maxDFSize,
	}
}

// place is the first half of ip_frag_queue: whether what a fragment says of the
// datagram's length goes with what is known. It cuts off what is no multiple of
// eight before the end.
func (q *queue) place(f *fragment) classify.Reason {
	if !f.more {
		if f.end < q.length || q.last && f.end > q.length {
			return classify.FragmentBad
		}
		q.last = true
		q.length = f.end
	} else {
		if f.end&7 > 0 {
			f.end &^= 7
			if f.beside.Checksum != ChecksumUnnecessary {
				f.beside.Checksum = ChecksumNone
			}
		}
		if f.end > q.length {
			if q.last {
				return classify.FragmentBad
			}
			q.length = f.end
		}
	}
	if f.end <= f.start {
		return classify.FragmentBad
	}
	return classify.FragmentHeld
}

// insert is inet_frag_queue_insert.
func (q *queue) insert(start, end int) classify.Reason {
	n := len(q.runs)
	if end <= q.tailEnd {
		// There is a run that ends behind start: the tail's.
		i := sort.Search(n, func(i int) bool { return start < q.runs[i].end })
		switch r := q.runs[i]; {
		case end <= r.start:
			q.runs = slices.Insert(q.runs, i, run{start, end})
			return classify.FragmentHeld
		case start >= r.start && end <= r.end:
			return classify.FragmentDuplicate
		}
		return classify.FragmentOverlap
	}
	// At the end, mostly.
	if start < q.tailEnd {
		return classify.FragmentOverlap
	}
	if n < 1 || start > q.tailEnd {
		q.runs = append(q.runs, run{start, end})
	} else {
		q.runs[n-1].end = end
	}
	q.tailEnd = end
	return classify.FragmentHeld
}

// keep is the second half of ip_frag_queue.
func (d *Queues) keep(q *queue, f *fragment, raw []byte, at int) {
	size := f.end - f.start
	if f.start == 0 {
		q.head = append([]byte(nil), raw[:f.data]...)
		q.header = f.data - f.ip
		q.beside = f.beside
	}
	q.pieces = append(q.pieces, piece{f.start, append([]byte(nil), raw[f.data:f.data+size]...)})
	q.got += size
	q.ecn |= f.ecn
	q.checksums |= 1 << f.beside.Checksum
	q.maxSize = max(q.maxSize, size+f.data-f.ip)
	if f.keepWhole {
		q.maxDFSize = max(q.maxDFSize, size+f.data-f.ip)
	}
	d.charge(q, truesize(len(raw)-at))
	d.stats.Waiting++
}

// datagram is the second half of ip_frag_reasm: it appends what the fragments
// make, behind the header of the first.
func (q *queue) datagram(dst []byte, at int, ecn uint8) []byte {
	begin := len(dst)
	dst = slices.Grow(dst, len(q.head)+q.length)
	dst = append(dst, q.head...)
	dst = dst[:len(dst)+q.length]
	data := dst[begin+len(q.head):]
	for _, p := range q.pieces {
		copy(data[p.start:], p.data)
	}
	h := dst[begin+len(q.head)-q.header:][:q.header]
	h[1] |= ecn
	binary.BigEndian.PutUint16(h[2:], uint16(q.header+q.length))
	field := uint16(0)
	if q.maxDFSize >= q.maxSize {
		field = 0x4000 // only if the largest fragment had it
	}
	binary.BigEndian.PutUint16(h[6:], field)
	checksum(h)
	if q.checksums > 1<<q.beside.Checksum { // its own is among them
		q.beside.Checksum = ChecksumNone
	}
	return dst
}

// checksum is ip_send_check.
func checksum(h []byte) {
	h[10], h[11] = 0, 0
	var sum uint32
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum))
}

// append puts a queue that begins now at the end of the list.
func (d *Queues) append(q *queue, now time.Duration) {
	q.deadline = now + d.limits.Time
	q.prev, q.next = d.newest, nil
	if d.newest != nil {
		d.newest.next = q
	} else {
		d.oldest = q
	}
	d.newest = q
}

func (d *Queues) unlink(q *queue) {
	if q.prev != nil {
		q.prev.next = q.next
	} else {
		d.oldest = q.next
	}
	if q.next != nil {
		q.next.prev = q.prev
	} else {
		d.newest = q.prev
	}
}

// kill is inet_frag_kill: the queue and what it holds go.
func (d *Queues) kill(q *queue) {
	delete(d.byKey, q.key)
	d.unlink(q)
	d.stats.Waiting -= len(q.pieces)
	d.stats.Memory -= q.charge
	if q.peer.queues--; q.peer.queues < 1 {
		delete(d.peers, q.key.src)
	}
}

// expire is ip_expire. It sends no ICMP error: icmp_send answers no frame that
// was sent to a group.
func (d *Queues) expire(q *queue) {
	d.stats.Expired += uint64(len(q.pieces))
	d.kill(q)
}

func (d *Queues) discard(q *queue) {
	d.stats.Discarded += uint64(len(q.pieces))
	d.kill(q)
}
