package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// How long the emulator's threads may take to deal with what was sent, and
// how long counters then may be at odds with what was seen: some always are, as
// the core drops a frame with half a tag before anybody sees it.
const (
	patience  = 10 * time.Second
	agreement = time.Second
)

// sending is a frame whose effects are waited for.
type sending struct {
	*scenario.Send
	frame []byte
	ok    bool
}

// marks are frames behind which nothing is left in the kernel's broadcast
// queue: a worker serves it, in order.
type marks struct {
	seq  uint32
	last []byte
	sent uint64 // in this step
}

// markSource sends them; nobody has the address.
var markSource = classify.MACFrom([]byte{2, 0, 0, 0, 0xfe, 0xed})

func isMark(frame []byte) bool {
	return len(frame) >= 14 && binary.BigEndian.Uint16(frame[12:]) == MarkerType && classify.MACFrom(frame[6:]) == markSource
}

// settle waits until everything that the step began has come to its end, and
// says what that was. Sends are mostly received before they return (see pin), so only
// this is waited for: what the processors have put off, the kernel's broadcast queue,
// the emulator's threads, and counters that are written after a frame was seen.
func (t *take) settle(s *sending) (scenario.Outcome, error) {
	t.marks.sent = 0
	if s != nil && t.queues(s) {
		if err := t.passQueue(); err != nil {
			return scenario.Outcome{}, err
		}
	}
	start := time.Now()
	var quiet time.Time
	for ; ; time.Sleep(200 * time.Microsecond) {
		if err := t.ctx.Err(); err != nil {
			return scenario.Outcome{}, err
		}
		if pending := t.underWay(start); pending != "" {
			if time.Since(start) > patience {
				return scenario.Outcome{}, fmt.Errorf("the ledger doesn't come out even: %s", pending)
			}
			continue
		}
		if quiet.IsZero() {
			quiet = time.Now()
		}
		if err := t.look(); err != nil {
			return scenario.Outcome{}, err
		}
		if o, agree := t.observe(s); agree || time.Since(quiet) > agreement {
			t.rebase()
			for _, s := range t.spaces {
				s.reset()
			}
			return o, nil
		}
	}
}

// underWay says what isn't dealt with yet. The processors' queues are everybody's on
// this machine, so they are not waited for for long; they are asked on both sides of
// the emulator, where a frame can go from one to the other.
func (t *take) underWay(start time.Time) string {
	const crowded = 500 * time.Millisecond
	before := backlog()
	pending := t.under.pending()
	if n := before + backlog(); pending == "" && n > 0 && time.Since(start) < crowded {
		return fmt.Sprintf("%d frames wait for a processor", n)
	}
	return pending
}

// queues says that the frame may wait in the kernel's broadcast queue.
func (t *take) queues(s *sending) bool {
	return t.under.way() == scenario.Kernel && s.ok && s.From == scenario.Wire && len(s.frame) > 0 && s.frame[0]&1 != 0 &&
		t.ingress != "drop" && len(t.markHearers()) > 0
}

// markHearers are the vmacs that a broadcast from the wire reaches by way of the
// queue. If there is none, nobody else is reached that way either, but for
// vmacs whose broadcast address was changed.
func (t *take) markHearers() (names []string) {
	parent := t.links[scenario.Port]
	if parent == nil || !parent.up() || !parent.carrier() {
		return nil
	}
	for name, l := range t.links {
		if l != parent && l.up() && l.mode != classify.Source && l.brd == classify.Broadcast && l.usedLen > 0 && l.bcLim >= 0 {
			names = append(names, name)
		}
	}
	return names
}

// passQueue sends a mark through the queue and waits until somebody hears it.
// A full queue drops it, so it may take several.
func (t *take) passQueue() error {
	hearers := t.markHearers()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		t.marks.seq++
		t.marks.sent++
		t.marks.last = buildFrame(broadcast6, macBytes(markSource), nil, MarkerType, t.marks.seq, 60)
		if err := t.rig.wire.send(t.rig.wireAt, t.marks.last); err != nil {
			return fmt.Errorf("send a mark: %w", err)
		}
		err := Wait(t.taps(), 50*time.Millisecond, func() bool {
			return slices.ContainsFunc(hearers, func(name string) bool {
				return slices.ContainsFunc(t.where[name].tap.Seen, func(s Seen) bool {
					return s.Index == t.links[name].index && bytes.Equal(s.Bytes, t.marks.last)
				})
			})
		})
		if err != ErrTimeout {
			return err
		}
	}
	return fmt.Errorf("no vmac hears a broadcast that %v should hear", hearers)
}

var broadcast6 = []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func macBytes(m classify.MAC) []byte {
	b := m.Bytes()
	return b[:]
}

func (t *take) taps() (list []*Probe) {
	for _, s := range t.spaces {
		list = append(list, s.tap)
	}
	return list
}

// look reads what every device is like now, and then every socket.
func (t *take) look() error {
	t.links = map[string]*link{}
	t.devices[t.rig.wire][t.rig.wireAt] = scenario.Wire
	if err := t.lookParent(); err != nil {
		return err
	}
	found := map[*space]map[string]*link{}
	for _, s := range t.spaces {
		if s == t.rig.wire {
			continue
		}
		vmacs, err := t.under.vmacs(s)
		if err != nil {
			return err
		}
		found[s] = vmacs
	}
	for name, at := range t.where {
		l := found[at][name]
		if l == nil {
			delete(t.where, name)
			continue
		}
		t.links[name] = l
		t.devices[at][l.index] = name
	}
	for _, s := range t.spaces {
		if err := s.read(); err != nil {
			return err
		}
	}
	return nil
}

// lookParent finds the parent where it is now.
func (t *take) lookParent() error {
	if t.parentAt == 0 {
		return nil
	}
	l, err := t.parentIn.rt.find(rigParent)
	if err != nil {
		if answerOf(err).Errno != "ENODEV" {
			return err
		}
		t.parentAt = 0
		return nil
	}
	t.parentAt = l.index
	t.links[scenario.Port] = l
	t.devices[t.parentIn][l.index] = scenario.Port
	return nil
}

// rebase makes the present counters those that the next step starts from.
func (t *take) rebase() {
	t.base = map[string]scenario.Counters{}
	for name, l := range t.links {
		t.base[name] = l.counters
	}
}
