package bench

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// outcome is what a kind of traffic has to say.
type outcome struct {
	sample  Sample
	frames  uint64 // that arrived at least, of those that are counted one by one
	bytes   uint64 // that arrived at least
	cpu     float64
	cpuFor  float64 // bytes that cpu was spent on, 0 if unknown
	cpuEach float64 // and frames
}

// ends returns where a case's traffic comes from and where it goes.
func (b *bed) ends(c Case) (from, to place) {
	all := b.vmacs
	if len(all) == 0 {
		all = b.crowd
	}
	switch c.Way {
	case Out:
		return all[0], b.wire
	case Sibling:
		return all[0], all[1]
	case Host:
		return b.wire, b.host
	}
	return b.wire, all[len(all)-1]
}

// once is one repetition of a case on a bed. What the receiver got must have
// gone through the driver, as the driver's own counters say.
func (o *runner) once(c Case, b *bed) (s Sample, err error) {
	if c.Shaped > 0 {
		if err := b.shape(c.Shaped); err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, b.shape(0)) }()
	}
	if c.Kind == Idle {
		return o.idle(b)
	}
	from, to := b.ends(c)
	sent, err := b.counters(from)
	if err != nil {
		return s, err
	}
	got, err := b.counters(to)
	if err != nil {
		return s, err
	}
	handled, err := handled(b.driver)
	if err != nil {
		return s, err
	}
	first, err := quiet(b.driver)
	if err != nil {
		return s, err
	}
	before, err := quiet(b.driver)
	if err != nil {
		return s, err
	}
	stop := func() error { return nil }
	if c.Churn {
		stop = b.churn()
	}
	var r outcome
	switch c.Kind {
	case TCP:
		r, err = o.tcp(c, b, from, to)
	case Request:
		r, err = o.request(c, b, from, to)
	case Checked:
		r, err = o.checked(c, from, to)
	default:
		r, err = o.frames(c, b, from, to)
	}
	if err := errors.Join(err, stop()); err != nil {
		return s, err
	}
	after, err := quiet(b.driver)
	if err != nil {
		return s, err
	}
	s = r.sample
	if s.Metrics == nil {
		s.Metrics = map[string]float64{}
	}
	if r.cpuFor > 0 {
		s.Metrics[CPUPerGB] = r.cpu / (r.cpuFor / 1e9)
	}
	if r.cpuEach > 0 {
		s.Metrics[CPUPerFrame] = r.cpu / (r.cpuEach / 1e6)
	}
	if after != nil {
		s.Drops = since(before.drops, after.drops)
		s.Metrics[Allocs] = allocations(first, before, after)
		if c.Way == In && after.wire-before.wire < max(1, r.frames-others(r.frames)) {
			return s, fmt.Errorf("%d frames arrived, and the emulator received %d on its parent", r.frames, after.wire-before.wire)
		}
	}
	if err := b.through(handled, r); err != nil {
		return s, err
	}
	return s, b.carried(from, to, sent, got, r)
}

// handled asks a driver that counts frames of its own how many there were.
func handled(d lab.Driver) (uint64, error) {
	if h, ok := d.(interface{ handled() (uint64, error) }); ok {
		return h.handled()
	}
	return 0, nil
}

// through makes sure that such a driver has had all frames that arrived.
func (b *bed) through(before uint64, r outcome) error {
	if _, ok := b.driver.(interface{ handled() (uint64, error) }); !ok || len(b.vmacs)+len(b.crowd) == 0 {
		return nil
	}
	after, err := handled(b.driver)
	if err == nil && after-before < max(1, r.frames-others(r.frames)) {
		err = fmt.Errorf("%d frames arrived, and %s handled %d", r.frames, b.driver.Name(), after-before)
	}
	return err
}

// allocations per frame, without those of the asking itself.
func allocations(first, before, after *account) float64 {
	asking := float64(before.mallocs-first.mallocs) / float64(before.asked-first.asked)
	n := float64(after.mallocs-before.mallocs) - asking*float64(after.asked-before.asked)
	return max(0, n) / float64(max(1, after.handled-before.handled))
}

// others is how many of so many frames may be somebody else's: what a device
// counts includes what stacks say of themselves.
func others(frames uint64) uint64 { return min(frames, 16+frames/100) }

// carried compares what arrived with the driver's own counters.
func (b *bed) carried(from, to place, sent, got lab.Counters, r outcome) error {
	if b.isVmac(from) {
		now, err := b.counters(from)
		if err != nil {
			return err
		}
		if d := now.Sub(sent); d.TxBytes < r.bytes || d.TxPackets < r.frames-others(r.frames) {
			return fmt.Errorf("%s sent %d bytes in %d frames, but %d bytes or %d frames arrived", from.Name, d.TxBytes, d.TxPackets, r.bytes, r.frames)
		}
	}
	if b.isVmac(to) {
		now, err := b.counters(to)
		if err != nil {
			return err
		}
		if d := now.Sub(got); d.RxBytes < r.bytes || d.RxPackets < r.frames-others(r.frames) {
			return fmt.Errorf("%s received %d bytes in %d frames, but %d bytes or %d frames arrived", to.Name, d.RxBytes, d.RxPackets, r.bytes, r.frames)
		}
	}
	return nil
}

// idle waits, and returns what the emulator's process has spent while this and
// the earlier repetitions on this bed waited: what the daemon does every other
// second is in some of them. What it is asked in between is not its own work.
func (o *runner) idle(b *bed) (s Sample, err error) {
	if b.rested == 0 {
		if err := o.sleep(4 * time.Second); err != nil { // it and the stacks are still at work on what was made
			return s, err
		}
	}
	before, err := processTime(b.driver)
	if err != nil {
		return s, err
	}
	begin := time.Now()
	if err := o.sleep(max(o.Last, 1600*time.Millisecond)); err != nil {
		return s, err
	}
	after, err := processTime(b.driver)
	if err != nil {
		return s, err
	}
	b.spent += after - before
	b.rested += time.Since(begin)
	s.Value = 100 * b.spent.Seconds() / b.rested.Seconds()
	s.Metrics = map[string]float64{}
	return s, nil
}

func (o *runner) sleep(d time.Duration) error {
	select {
	case <-o.ctx.Done():
		return o.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// churn adds and deletes vmacs until stop is called.
func (b *bed) churn() (stop func() error) {
	ending := make(chan struct{})
	var wg sync.WaitGroup
	var err error
	wg.Go(func() {
		for i := 0; err == nil; i++ {
			select {
			case <-ending:
				return
			case <-time.After(5 * time.Millisecond):
			}
			var p place
			name := fmt.Sprintf("x%d", i)
			if p, err = b.add(name, [6]byte{2, 0, 0, 3, byte(i >> 8), byte(i)}, b.vmacs[0].NS); err == nil {
				err = p.Delete()
				delete(b.topo.Vmacs, name)
			}
		}
	})
	return func() error {
		close(ending)
		wg.Wait()
		return err
	}
}

// metrics merges.
func (s *Sample) note(m map[string]float64) {
	if s.Metrics == nil {
		s.Metrics = map[string]float64{}
	}
	maps.Copy(s.Metrics, m)
}
