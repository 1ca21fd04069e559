package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// tcpPort is where TCP receivers listen.
const tcpPort = 5201

// tcp sends one stream and returns the rate that the receiver saw, and the
// bytes that it got in all.
func (o *Options) tcp(from, to place) (s Sample, total uint64, err error) {
	server := netip.AddrPortFrom(to.addr, tcpPort)
	sink, err := start(to.NS, "tcp-sink", sinkOrder{server, o.Warmup})
	if err != nil {
		return s, 0, err
	}
	defer func() { err = errors.Join(err, sink.stop()) }()
	if err := sink.hear(patience, &ready{}); err != nil {
		return s, 0, err
	}
	if err := sink.tell(ready{}); err != nil {
		return s, 0, err
	}
	source, err := start(from.NS, "tcp-source", sourceOrder{server, o.Warmup + o.Last})
	if err != nil {
		return s, 0, err
	}
	defer func() { err = errors.Join(err, source.stop()) }()
	if err := source.hear(patience, &ready{}); err != nil {
		return s, 0, err
	}
	if err := source.tell(ready{}); err != nil {
		return s, 0, err
	}
	var sent sourceReport
	if err := source.hear(o.Warmup+o.Last+patience, &sent); err != nil {
		return s, 0, err
	}
	var got sinkReport
	if err := sink.hear(patience, &got); err != nil {
		return s, 0, err
	}
	if got.Total != sent.Sent {
		return s, 0, fmt.Errorf("%d bytes were sent and %d received", sent.Sent, got.Total)
	}
	s.Value = float64(got.Counted) * 8 / float64(got.Took.Nanoseconds())
	s.Notes = map[string]float64{
		"retransmits":        float64(sent.Retransmits),
		"RTT under load, ms": float64(sent.RTT.Microseconds()) / 1e3,
	}
	return s, got.Total, nil
}

// frames sends small frames and returns the rate at which the receiving device
// counted them while the sender ran, and how many it counted in all.
func (o *Options) frames(b *bed, from, to place) (s Sample, total uint64, err error) {
	before, err := to.Counters()
	if err != nil {
		return s, 0, err
	}
	sender, err := start(from.NS, "frames", framesOrder{from.Index, from.MAC, to.MAC, o.Warmup + o.Last + o.Warmup/4})
	if err != nil {
		return s, 0, err
	}
	defer func() { err = errors.Join(err, sender.stop()) }()
	if err := sender.hear(patience, &ready{}); err != nil {
		return s, 0, err
	}
	if err := sender.tell(ready{}); err != nil {
		return s, 0, err
	}
	time.Sleep(o.Warmup)
	c1, t1, err := count(to.Device)
	if err != nil {
		return s, 0, err
	}
	time.Sleep(o.Last)
	c2, t2, err := count(to.Device)
	if err != nil {
		return s, 0, err
	}
	var sent framesReport
	if err := sender.hear(patience, &sent); err != nil {
		return s, 0, err
	}
	after, err := settled(to.Device)
	if err != nil {
		return s, 0, err
	}
	total = after.RxPackets - before.RxPackets
	s.Value = float64(c2.RxPackets-c1.RxPackets) / float64(t2.Sub(t1).Microseconds()) * 1e3
	s.Notes = map[string]float64{
		"loss, %":              100 * (1 - float64(total)/float64(sent.Offered)),
		"refused at sender, %": 100 * float64(sent.Refused) / float64(sent.Offered),
	}
	return s, total, nil
}

// count reads a device's counters and the time at which they held.
func count(d *lab.Device) (lab.Counters, time.Time, error) {
	t := time.Now()
	c, err := d.Counters()
	return c, t.Add(time.Since(t) / 2), err
}

// settled waits until a device receives nothing any more.
func settled(d *lab.Device) (lab.Counters, error) {
	last, err := d.Counters()
	for range 100 {
		if err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
		var now lab.Counters
		now, err = d.Counters()
		if now.RxPackets == last.RxPackets {
			break
		}
		last = now
	}
	return last, err
}
