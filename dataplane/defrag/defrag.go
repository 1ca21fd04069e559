// Package defrag puts IPv4 fragments together that were sent to a group address,
// as the kernel does for macvlan before it decides anything about them:
// macvlan_handle_frame calls ip_check_defrag with the user IP_DEFRAG_MACVLAN, and
// that ip_defrag. classify.Fragment says which frames take part; a queue is found
// by ip_find, filled by ip_frag_queue and inet_frag_queue_insert, and made into a
// datagram by ip_frag_reasm. Functions here name the one that they mirror.
//
// The package has no clock and no goroutine: the time is an argument, and what is
// too old goes with the next fragment, or when Expire is called.
package defrag

import (
	"encoding/binary"
	"time"

	"github.com/umacvlan/umacvlan/classify"
)

// Limits are the sysctls net.ipv4.ipfrag_* of the namespace that the parent is in.
type Limits struct {
	// Memory (ipfrag_high_thresh) is how many octets may be held before nothing
	// more is taken, counted as the kernel counts them, which is more than they
	// need here. The fragment that crosses the limit is still taken. 0 or less
	// takes nothing.
	Memory int

	// Time (ipfrag_time) is how long fragments wait, from the first of a datagram.
	Time time.Duration

	// Distance (ipfrag_max_dist) is how many fragments from the same IP address
	// may come between two of a datagram; 0 or less is no bound.
	Distance int
}

// DefaultLimits returns what a kernel starts with.
func DefaultLimits() Limits {
	return Limits{Memory: 4 << 20, Time: 30 * time.Second, Distance: 64}
}

// Checksum says what is known of a frame's checksum (skb->ip_summed).
type Checksum uint8

const (
	ChecksumNone        Checksum = iota // nothing: it is in the frame and nobody has looked
	ChecksumPartial                     // it is still to be completed
	ChecksumUnnecessary                 // it was verified
)

// Beside is what goes with a frame beside its octets. A datagram has that of its
// first fragment, but for the checksum: unless all fragments agree, nothing is
// known of it.
type Beside struct {
	Type     classify.PacketType
	Untagged uint8 // octets of a tag that was put back
	Checksum Checksum
}

// Stats are counted since the beginning but for the last two.
type Stats struct {
	Fragments uint64 // that took part (ReasmReqds)
	Datagrams uint64 // that became whole (ReasmOKs)
	Expired   uint64 // fragments that waited too long
	Discarded uint64 // fragments that were thrown away for what came after them
	Waiting   int    // fragments held now
	Memory    int    // octets held now, as Limits counts them
}

// Queues holds the fragments of one namespace (struct fqdir). One goroutine may
// use it at a time.
type Queues struct {
	limits Limits
	byKey  map[key]*queue
	oldest *queue // the list of all queues, by deadline
	newest *queue
	peers  map[uint32]*peer
	stats  Stats
}

// New returns an empty Queues.
func New(l Limits) *Queues {
	return &Queues{limits: l, byKey: map[key]*queue{}, peers: map[uint32]*peer{}}
}

// SetLimits changes the limits; who waits already waits as long as it was to.
func (d *Queues) SetLimits(l Limits) { d.limits = l }

// Limits returns the limits.
func (d *Queues) Limits() Limits { return d.limits }

// Stats returns the counters.
func (d *Queues) Stats() Stats { return d.stats }

// Empty reports that nothing is held.
func (d *Queues) Empty() bool { return d.oldest == nil }

// Expire lets go of what has waited too long at the time now, which is measured
// from any point, the same in all calls, and never goes back.
func (d *Queues) Expire(now time.Duration) {
	for q := d.oldest; q != nil && q.deadline <= now; q = d.oldest {
		d.expire(q)
	}
}

// Add takes the fragment that raw holds from its octet at on: an Ethernet frame
// for which classify.Fragment reports true. What stands before it is the
// caller's. If the fragment makes its datagram whole, whole is true, and frame is
// dst with that datagram appended: what stood before the first fragment's frame,
// its Ethernet header and IPv4 header, and all data. Else the fragment is
// consumed for the reason given. Add retains neither dst nor raw.
func (d *Queues) Add(dst, raw []byte, at int, b Beside, now time.Duration) (frame []byte, beside Beside, whole bool, reason classify.Reason) {
	ip, ok := classify.Fragment(raw[at:])
	if !ok {
		return dst, Beside{}, false, classify.FragmentBad
	}
	d.stats.Fragments++
	d.Expire(now)
	f := parse(raw, at+ip)
	f.beside = b
	q := d.find(f.key, now)
	if q == nil {
		return dst, Beside{}, false, classify.FragmentNoRoom
	}
	if d.tooFar(q) {
		d.reinit(q, now)
	}
	if reason = q.place(&f); reason == classify.FragmentHeld {
		reason = q.insert(f.start, f.end)
	}
	switch reason {
	case classify.FragmentHeld:
		d.keep(q, &f, raw, at)
	case classify.FragmentDuplicate:
		return dst, Beside{}, false, reason // what is held stays
	default:
		d.discard(q)
		return dst, Beside{}, false, reason
	}
	if !q.last || q.got < q.length {
		return dst, Beside{}, false, reason
	}
	// ip_frag_reasm
	ecn, valid := congestion(q.ecn)
	if !valid || q.header+q.length > 0xffff {
		d.stats.Waiting-- // this one has never waited
		q.pieces = q.pieces[:len(q.pieces)-1]
		d.discard(q)
		return dst, Beside{}, false, classify.FragmentBad
	}
	frame = q.datagram(dst, at, ecn)
	d.stats.Datagrams++
	d.kill(q)
	return frame, q.beside, true, classify.Delivered
}

// fragment is one that has come in, parsed.
type fragment struct {
	key        key
	start, end int  // of its data, in the datagram
	more       bool // IP_MF
	keepWhole  bool // IP_DF
	ecn        uint8
	ip, data   int // where the header and the data are in raw
	beside     Beside
}

// key is struct frag_v4_compare_key. The user is always IP_DEFRAG_MACVLAN, and a
// parent of an l3mdev can't have a macvlan.
type key struct {
	src, dst uint32
	id       uint16
	protocol uint8
}

func parse(raw []byte, ip int) fragment {
	h := raw[ip:]
	field := binary.BigEndian.Uint16(h[6:])
	header := int(h[0]&0xf) * 4
	start := int(field&0x1fff) * 8
	return fragment{
		key: key{
			binary.BigEndian.Uint32(h[12:]), binary.BigEndian.Uint32(h[16:]), binary.BigEndian.Uint16(h[4:]), h[9],
		},
		start: start, end: start + int(binary.BigEndian.Uint16(h[2:])) - header,
		more: field&0x2000 != 0, keepWhole: field&0x4000 != 0,
		ecn: 1 << (h[1] & 3), // ip4_frag_ecn
		ip:  ip, data: ip + header,
	}
}

// congestion is ip_frag_ecn_table: what fragments say together of the congestion
// that they met. Those of a sender that doesn't know ECN don't go with others.
func congestion(seen uint8) (bits uint8, valid bool) {
	const notECT, ce = 1, 8 // of 1 << (tos & 3)
	if seen&notECT != 0 {
		return 0, seen <= notECT
	}
	if seen&ce != 0 {
		return 3, true
	}
	return 0, true
}
