package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/random"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Bursts is a Player that sends what follows each other at once, and waits once
// for what comes of it: random.Bursts says which sends go together. The last
// outcome of a burst has the counters of all; the order in which vmacs are served
// is not observed.
type Bursts struct{ *Player }

// Play runs one scenario. It fails if the topology can't be made, or ctx ends.
func (p Bursts) Play(ctx context.Context, s *scenario.Scenario) (*scenario.Result, error) {
	if err := p.lacks(s); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer pin()()
	r, err := p.rig(s.Parent)
	if err != nil {
		return nil, err
	}
	t := newTake(ctx, s, r)
	result, err := t.playBursts()
	p.giveBack(t)
	if err != nil {
		return nil, fmt.Errorf("%s on the %s: %w", s.File, r.under.way(), err)
	}
	return result, nil
}

// playBursts is play, a burst at a time.
func (t *take) playBursts() (*scenario.Result, error) {
	whole := t.s
	topology := *whole
	topology.Steps = nil
	t.s = &topology
	result, err := t.play()
	t.s = whole
	if err != nil {
		return nil, err
	}
	if err := t.prepare(); err != nil {
		return nil, err
	}
	if t.whole, err = reassembled(t.ctx, whole); err != nil {
		return nil, err
	}
	bursts := random.Bursts(whole)
	for i := 0; i < len(whole.Steps); {
		if err := t.ctx.Err(); err != nil {
			return nil, err
		}
		if len(bursts) > 0 && bursts[0].First == i {
			list, err := t.burst(bursts[0])
			if err != nil {
				return nil, fmt.Errorf("steps %d to %d: %w", i, bursts[0].End-1, err)
			}
			result.Outcomes = append(result.Outcomes, list...)
			i, bursts = bursts[0].End, bursts[1:]
			continue
		}
		o, err := t.step(i)
		if err == nil {
			err = t.wireSettled()
		}
		if err != nil {
			return nil, fmt.Errorf("step %d, %s: %w", i, whole.Steps[i].String(), err)
		}
		result.Outcomes = append(result.Outcomes, o)
		i++
	}
	return result, nil
}

// reassembled is what the model makes of fragments, by the step that makes each
// whole: what is seen of a burst belongs to that.
func reassembled(ctx context.Context, s *scenario.Scenario) (map[int][]byte, error) {
	model, err := scenario.NewModel().Play(ctx, s)
	if err != nil {
		return nil, err
	}
	m := map[int][]byte{}
	for i := range model.Outcomes {
		if s.Steps[i].Send == nil {
			continue
		}
		frame, err := s.Frame(i)
		if _, is := classify.Fragment(frame); err != nil || !is || s.Steps[i].Send.From != scenario.Wire {
			continue
		}
		for _, d := range model.Outcomes[i].Gets {
			if d.Who != scenario.Tap && len(d.Frame) > 0 {
				m[i] = random.Untagged(d.Frame)
			}
		}
	}
	return m, nil
}

// CompareBursts compares what two ways observed that played in bursts, or that
// the model and random.Fold say of them. What the emulator does otherwise than
// the kernel is judged by the list. The parent's own rx-dropped is left out: it
// counts frames that its broadcast queue had no room for in the kernel only
// (number 6), and others in both.
func CompareBursts(s *scenario.Scenario, left, right *scenario.Result) []scenario.Difference {
	left, right = withoutDropped(left), withoutDropped(right)
	if right.Way == scenario.Emulator {
		return Judge(s, left, right)
	}
	return scenario.Compare(s, left, right)
}

func withoutDropped(r *scenario.Result) *scenario.Result {
	c := *r
	c.Outcomes = slices.Clone(r.Outcomes)
	for i := range c.Outcomes {
		o := &c.Outcomes[i]
		o.Counts = slices.Clone(o.Counts)
		for j := range o.Counts {
			if o.Counts[j].Who == scenario.Port {
				o.Counts[j].RxDropped = 0
			}
		}
	}
	return &c
}

// burst plays a run of sends.
func (t *take) burst(b random.Burst) ([]scenario.Outcome, error) {
	f := &flight{outcomes: make([]scenario.Outcome, b.End-b.First), steps: map[string]int{}, sent: map[string]uint64{}}
	queued := false
	for i := range f.outcomes {
		step := &t.s.Steps[b.First+i]
		frame, err := t.s.Frame(b.First + i)
		if err != nil {
			return nil, err
		}
		f.steps[string(random.Untagged(frame))] = i
		if whole, ok := t.whole[b.First+i]; ok {
			f.steps[string(whole)] = i
		}
		f.frames = append(f.frames, frame)
		answer := t.send(step.Send, frame)
		f.outcomes[i].Answer = answer
		if answer.OK() {
			f.sent[step.Send.From] += uint64(max(1, step.Send.Times))
		}
		queued = queued || answer.OK() && step.Send.From == scenario.Wire && frame[0]&1 != 0
		if i%32 == 31 {
			if err := t.read(); err != nil {
				return nil, err
			}
		}
	}
	t.marks.sent = 0
	if queued && t.under.way() == scenario.Kernel {
		if err := t.drain(); err != nil {
			return nil, err
		}
	}
	return f.outcomes, t.land(f)
}

// drain waits until the kernel's broadcast queue is empty. Where nobody can hear
// a mark the worker is given time: the frames that it still has must not meet
// what the next action makes of the port.
func (t *take) drain() error {
	if t.ingress != "drop" && len(t.markHearers()) > 0 {
		return t.passQueue()
	}
	const worker = 50 * time.Millisecond
	if p := t.links[scenario.Port]; p != nil && p.up() && len(t.links) > 1 {
		time.Sleep(worker)
	}
	return nil
}

// wireSettled waits until link watch has seen what an action did to the cable:
// until then the wire's end drops what it sends.
func (t *take) wireSettled() error {
	return poll(patience, func() (bool, error) {
		l, err := t.rig.wire.rt.find(rigWire)
		if errors.Is(err, unix.ENODEV) {
			return true, nil // it went with the parent
		}
		return err == nil && l.running() == (l.up() && l.carrier()), err
	})
}

func (t *take) read() error {
	for _, s := range t.spaces {
		if err := s.read(); err != nil {
			return err
		}
	}
	return nil
}

// flight is a burst that has been sent.
type flight struct {
	frames   [][]byte
	outcomes []scenario.Outcome
	steps    map[string]int    // by frame without tags: which outcome
	sent     map[string]uint64 // by sender
}

// noise is what the kernel's own IPv6 sends where it can't be switched off.
func (f *flight) noise(s *Seen) bool {
	if len(s.Bytes) < 14 || binary.BigEndian.Uint16(s.Bytes[12:]) != 0x86dd {
		return false
	}
	_, ours := f.steps[string(random.Untagged(s.Bytes))]
	return !ours
}

// land waits as settle does, and makes the outcomes of what was seen.
func (t *take) land(f *flight) error {
	const still = 4 * time.Millisecond
	start := time.Now()
	end := start.Add(patience)
	var last progress
	var since time.Time
	for {
		pending := t.underWay(start)
		if err := t.look(); err != nil {
			return err
		}
		now := t.progress(f)
		same := now == last // else one device was looked at before, another after it moved
		if !same || pending != "" {
			last, since = now, time.Now()
		}
		// A vmac may count what nobody sees: a frame that is lost for its tag.
		done := pending == "" && now.sent && same && (now.agree || time.Since(since) > still)
		late := time.Now().After(end)
		if late && pending != "" {
			return fmt.Errorf("the ledger doesn't come out even: %s", pending)
		}
		if done || late {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	t.collect(f)
	t.rebase()
	for _, s := range t.spaces {
		s.reset()
	}
	return t.ctx.Err()
}

// progress is how far a burst has got.
type progress struct {
	seen    int    // frames, everywhere
	counted uint64 // frames, by vmacs
	sent    bool   // all that was sent has been counted
	agree   bool   // what was counted has been seen
}

func (t *take) progress(f *flight) progress {
	p := progress{sent: true, agree: true}
	heard, left := map[string]uint64{}, map[string]uint64{}
	for _, at := range t.spaces {
		for i := range at.tap.Seen {
			s := &at.tap.Seen[i]
			p.seen++
			if s.Type == classify.TypeOutgoing {
				left[t.devices[at][s.Index]]++ // what the stack sends by itself too
			}
			if s.Type != classify.TypeOutgoing && !f.noise(s) {
				heard[t.devices[at][s.Index]]++
			}
		}
	}
	for name, l := range t.links {
		c := l.counters
		if base, known := t.base[name]; known {
			c = sub(c, base)
		}
		if name == scenario.Port {
			p.agree = p.agree && c.TxPackets == heard[scenario.Wire]
			continue
		}
		p.counted += c.RxPackets + c.TxPackets + c.TxDropped
		p.agree = p.agree && c.RxPackets == heard[name]
		p.sent = p.sent && c.TxPackets+c.TxDropped >= max(f.sent[name], left[name])
	}
	return p
}

// collect gives each frame that was seen to the step that sent it. One that
// nobody sent is the last one's.
func (t *take) collect(f *flight) {
	marked := map[string]uint64{}
	gets := make([][]scenario.Delivery, len(f.outcomes))
	note := func(d scenario.Delivery) {
		i, ok := f.steps[string(random.Untagged(d.Frame))]
		switch {
		case !ok:
			i = len(gets) - 1
		case d.Who == scenario.Stack && bytes.Equal(random.Untagged(d.Frame), random.Untagged(f.frames[i])):
			// Which tags have come off by then depends on who looks.
			d.Frame = f.frames[i]
		}
		gets[i] = append(gets[i], d)
	}
	for _, at := range t.spaces {
		handled := handledIn(at)
		for i := range at.tap.Seen {
			seen := &at.tap.Seen[i]
			who := t.devices[at][seen.Index]
			own := seen.Type == classify.TypeOutgoing && who != scenario.Port
			if who == "" || own || f.noise(seen) {
				continue
			}
			if isMark(seen.Bytes) {
				marked[who]++
				continue
			}
			d := scenario.Delivery{Who: who, Type: seen.Type, Frame: seen.Frame(), Times: 1}
			if who == scenario.Port {
				d.Who = scenario.Tap
			} else if who != scenario.Wire {
				d.StackType = handled.next(seen)
			}
			note(d)
		}
	}
	for _, typ := range t.types {
		if t.parentAt == 0 {
			break
		}
		p := t.parentIn.stacks[typ]
		for i := range p.Seen {
			if s := &p.Seen[i]; s.Index == t.parentAt && !isMark(s.Bytes) && !f.noise(s) {
				note(scenario.Delivery{Who: scenario.Stack, Type: s.Type, Frame: s.Frame(), Times: 1})
			}
		}
	}
	for i := range gets {
		f.outcomes[i].Gets = together(gets[i])
	}
	last := &f.outcomes[len(f.outcomes)-1]
	for name, l := range t.links {
		c := l.counters
		if base, known := t.base[name]; known {
			c = sub(c, base)
		}
		n := marked[name]
		if name == scenario.Port {
			n = t.marks.sent
			c.RxDropped -= min(c.RxDropped, t.lostMarks(marked))
		} else {
			c.Multicast -= n
		}
		c.RxPackets -= n
		c.RxBytes -= 60 * n
		last.Counts = append(last.Counts, scenario.Count{Who: name, Counters: c})
	}
	slices.SortFunc(last.Counts, func(a, b scenario.Count) int { return cmp.Compare(a.Who, b.Who) })
}
