package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// trafficPort is where receivers listen.
const trafficPort = 5201

// prepare starts a role in a namespace and waits until it is ready. Nobody waits
// for it any longer once ctx is done.
func prepare(ctx context.Context, ns *lab.NS, role string, order any) (*process, error) {
	p, err := start(ns, role, order)
	if err != nil {
		return nil, err
	}
	p.until(ctx)
	if err := p.hear(patience, &ready{}); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// tcp sends streams and returns the rate that the receiver saw.
func (o *runner) tcp(c Case, b *bed, from, to place) (r outcome, err error) {
	listen := []spot{{to.NS.Path(), netip.AddrPortFrom(to.addr, trafficPort)}}
	if c.Spread {
		listen = nil
		for _, v := range b.vmacs {
			listen = append(listen, spot{v.NS.Path(), netip.AddrPortFrom(v.addr, trafficPort)})
		}
	}
	var connect []netip.AddrPort
	for i := range c.Streams {
		connect = append(connect, listen[i%len(listen)].Addr)
	}
	sink, err := prepare(o.ctx, nil, "tcp-sink", sinkOrder{listen, c.Streams, o.Warmup})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, sink.stop()) }()
	if err := sink.tell(ready{}); err != nil {
		return r, err
	}
	source, err := prepare(o.ctx, from.NS, "tcp-source", sourceOrder{connect, o.Warmup + o.Last})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, source.stop()) }()
	before, err := cpuTime()
	if err != nil {
		return r, err
	}
	if err := source.tell(ready{}); err != nil {
		return r, err
	}
	var sent sourceReport
	if err := source.hear(o.Warmup+o.Last+patience, &sent); err != nil {
		return r, err
	}
	after, err := cpuTime()
	if err != nil {
		return r, err
	}
	var got sinkReport
	if err := sink.hear(patience, &got); err != nil {
		return r, err
	}
	if got.Total != sent.Sent {
		return r, fmt.Errorf("%d bytes were sent and %d received", sent.Sent, got.Total)
	}
	var sum uint64
	var shares []float64
	for _, n := range got.Counted {
		sum += n
		shares = append(shares, float64(n))
	}
	r.bytes, r.cpuFor, r.cpu = got.Total, float64(got.Total), after.seconds(before)
	if c.Spread { // over several vmacs, of which the counters of one are read
		r.bytes = 0
	}
	r.sample.Value = float64(sum) * 8 / float64(got.Took.Nanoseconds())
	r.sample.note(map[string]float64{Retransmits: float64(sent.Retransmits), "RTT under load ms": float64(sent.RTT.Microseconds()) / 1e3})
	if c.Streams > 1 {
		r.sample.note(map[string]float64{Jain: jain(shares)})
	}
	return r, nil
}

// targets are the addresses that frames go to, and the devices that count them.
func (b *bed) targets(c Case, to place) (macs [][6]byte, list []place) {
	switch {
	case c.Broadcast:
		return [][6]byte{{255, 255, 255, 255, 255, 255}}, b.crowd
	case c.Spread:
		for _, p := range b.crowd {
			macs = append(macs, [6]byte(p.MAC))
		}
		return macs, b.crowd
	}
	return [][6]byte{[6]byte(to.MAC)}, []place{to}
}

// frames sends frames and returns the rate at which the receiving devices
// counted them while the sender ran.
func (o *runner) frames(c Case, b *bed, from, to place) (r outcome, err error) {
	macs, list := b.targets(c, to)
	before, _, err := received(list)
	if err != nil {
		return r, err
	}
	sender, err := prepare(o.ctx, from.NS, "frames", framesOrder{
		Device: from.Index, From: [6]byte(from.MAC), To: macs, Size: c.Size, Rate: c.Rate, Last: o.Warmup + o.Last + o.Warmup/4,
	})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, sender.stop()) }()
	if err := sender.tell(ready{}); err != nil {
		return r, err
	}
	err0 := o.sleep(o.Warmup)
	c1, t1, err1 := received(list)
	u1, err2 := cpuTime()
	err3 := o.sleep(o.Last)
	c2, t2, err4 := received(list)
	u2, err5 := cpuTime()
	if err := errors.Join(err0, err1, err2, err3, err4, err5); err != nil {
		return r, err
	}
	var sent framesReport
	if err := sender.hear(patience, &sent); err != nil {
		return r, err
	}
	after, err := settled(list)
	if err != nil {
		return r, err
	}
	seconds := t2.Sub(t1).Seconds()
	arrived := after.RxPackets - before.RxPackets
	counted, bits := float64(c2.RxPackets-c1.RxPackets), float64(c2.RxBytes-c1.RxBytes)*8
	r.sample.Value = counted / seconds / 1e3
	if c.Size == Super { // which some cut into segments
		r.sample.Value = bits / seconds / 1e9
	} else if len(list) == 1 {
		r.frames = arrived
	}
	r.cpu, r.cpuFor, r.cpuEach = u2.seconds(u1), bits/8, counted
	r.sample.note(map[string]float64{
		"refused at sender %": 100 * float64(sent.Refused) / float64(sent.Offered),
		"Gbit/s":              bits / seconds / 1e9,
		"offered k/s":         float64(sent.Offered) / (o.Warmup + o.Last + o.Warmup/4).Seconds() / 1e3,
	})
	share := float64(arrived) / float64(sent.Offered)
	if c.Size == Super {
		share = float64(after.RxBytes-before.RxBytes) / float64(sent.Bytes)
	}
	if !c.Broadcast {
		r.sample.note(map[string]float64{Loss: 100 * max(0, 1-share)})
	}
	return r, nil
}

// settled waits until devices receive nothing any more.
func settled(list []place) (lab.Counters, error) {
	last, _, err := received(list)
	for range 100 {
		if err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
		var now lab.Counters
		if now, _, err = received(list); now.RxPackets == last.RxPackets {
			break
		}
		last = now
	}
	return last, err
}

// checked sends numbered frames and has every one looked at.
func (o *runner) checked(c Case, from, to place) (r outcome, err error) {
	inspector, err := prepare(o.ctx, to.NS, "inspect", inspectOrder{to.Index})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, inspector.stop()) }()
	last := o.Warmup + o.Last
	sender, err := prepare(o.ctx, from.NS, "frames", framesOrder{
		Device: from.Index, From: [6]byte(from.MAC), To: [][6]byte{[6]byte(to.MAC)}, Size: c.Size, Rate: c.Rate, Numbered: true, Last: last,
	})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, sender.stop()) }()
	if err := sender.tell(ready{}); err != nil {
		return r, err
	}
	var sent framesReport
	if err := sender.hear(last+patience, &sent); err != nil {
		return r, err
	}
	if _, err := settled([]place{to}); err != nil {
		return r, err
	}
	if err := inspector.tell(ready{}); err != nil {
		return r, err
	}
	var got inspectReport
	if err := inspector.hear(patience, &got); err != nil {
		return r, err
	}
	if got.Frames > sent.Offered {
		return r, fmt.Errorf("%d frames were sent and %d different ones received", sent.Offered, got.Frames)
	}
	r.frames = got.Frames + got.Duplicated
	r.sample.Value = float64(got.Frames) / last.Seconds() / 1e3
	lost := float64(sent.Offered-got.Frames) - float64(got.Missed) - float64(got.Corrupt)
	r.sample.note(map[string]float64{
		Loss: 100 * max(0, lost) / float64(sent.Offered), "reordered": float64(got.Reordered),
		"duplicated": float64(got.Duplicated), "corrupt": float64(got.Corrupt), "missed by the inspector": float64(got.Missed),
	})
	return r, nil
}

// request measures how long answers take.
func (o *runner) request(c Case, b *bed, from, to place) (r outcome, err error) {
	server := netip.AddrPortFrom(to.addr, trafficPort)
	echo, err := prepare(o.ctx, to.NS, "echo", echoOrder{server})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, echo.stop()) }()
	if err := echo.tell(ready{}); err != nil {
		return r, err
	}
	if c.Flood {
		victim := b.vmacs[0]
		flood, err := prepare(o.ctx, b.wire.NS, "frames", framesOrder{
			Device: b.wire.Index, From: [6]byte(b.wire.MAC), To: [][6]byte{[6]byte(victim.MAC)}, Size: Smallest, Last: o.Warmup + o.Last + o.Warmup/4,
		})
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, flood.hear(patience, &framesReport{}), flood.stop()) }()
		if err := flood.tell(ready{}); err != nil {
			return r, err
		}
	}
	client, err := prepare(o.ctx, from.NS, "ask", askOrder{server, c.Rate, o.Warmup, o.Last})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	if err := client.tell(ready{}); err != nil {
		return r, err
	}
	var got askReport
	if err := client.hear(o.Warmup+o.Last+patience, &got); err != nil {
		return r, err
	}
	for _, q := range got.Latency {
		switch q.Share {
		case 0.5:
			r.sample.Value = q.Micros
		case 0.99:
			r.sample.note(map[string]float64{P99: q.Micros})
		case 0.999:
			r.sample.note(map[string]float64{"p99.9 µs": q.Micros})
		}
	}
	r.sample.Latency = got.Latency
	r.frames = uint64(got.Answered)
	r.sample.note(map[string]float64{"lost": float64(got.Lost), "answers/s": float64(got.Answered) / o.Last.Seconds()})
	return r, nil
}
