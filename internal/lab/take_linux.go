package lab

import (
	"context"
	"fmt"
	"slices"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// take is one scenario being played.
type take struct {
	ctx    context.Context
	s      *scenario.Scenario
	rig    *rig
	under  under
	types  []uint16          // of protocol handlers to stand in for
	frames map[string]bool   // what the scenario sends
	places map[string]*space // the vmacs' namespaces, by name

	parentIn *space
	parentAt int               // index; 0 when it is gone
	where    map[string]*space // vmacs that exist
	spaces   []*space          // in use

	devices map[*space]map[int]string // by index, what they are called
	links   map[string]*link          // vmacs and parent as they are now
	base    map[string]scenario.Counters
	ingress string // what a rule drops that is received: "", "drop" or an address
	marks   marks
	leaked  bool                      // a filter let a group through that its vmac has never joined
	stale   map[string][]classify.MAC // what vmacs have left, which their filters may keep
	whole   map[int][]byte            // datagrams of fragments, by the step that makes them whole; for bursts
	holders []func()                  // of namespaces that a process has to hold
}

func newTake(ctx context.Context, s *scenario.Scenario, r *rig) *take {
	return &take{
		ctx: ctx, s: s, rig: r, under: r.under, frames: map[string]bool{}, stale: map[string][]classify.MAC{},
		places: map[string]*space{}, parentIn: r.host, where: map[string]*space{}, spaces: []*space{r.host, r.wire},
		devices: map[*space]map[int]string{r.host: {}, r.wire: {}},
	}
}

// play makes the topology and goes through the steps.
func (t *take) play() (*scenario.Result, error) {
	if err := t.prepare(); err != nil {
		return nil, err
	}
	for i := range t.s.Vmacs {
		v := &t.s.Vmacs[i]
		if a := t.add(v); !a.OK() {
			return nil, fmt.Errorf("vmac %s: %s", v.Name, a.Hinted())
		}
	}
	if err := t.syncAll(); err != nil {
		return nil, err
	}
	if _, err := t.settle(nil); err != nil {
		return nil, err
	}
	result := &scenario.Result{Way: t.under.way()}
	if result.Way == scenario.Kernel {
		result.Version = KernelVersion()
	}
	for i := range t.s.Steps {
		if err := t.ctx.Err(); err != nil {
			return nil, err
		}
		o, err := t.step(i)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", t.s.Steps[i].Line, err)
		}
		result.Outcomes = append(result.Outcomes, o)
	}
	return result, nil
}

// prepare finds out what is going to be sent, and stands in for its protocol
// handlers: without one the core counts rx_dropped.
func (t *take) prepare() error {
	t.types = []uint16{MarkerType}
	for i := range t.s.Steps {
		if t.s.Steps[i].Send == nil {
			continue
		}
		frame, err := t.s.Frame(i)
		if err != nil {
			return err
		}
		t.frames[string(frame)] = true
		t.types = append(t.types, stackTypesOf(frame)...)
	}
	slices.Sort(t.types)
	t.types = slices.Compact(t.types)
	l, err := t.rig.host.rt.find(rigParent)
	if err != nil {
		return err
	}
	t.parentAt = l.index
	for _, s := range t.spaces {
		if err := s.listen(t.types); err != nil {
			return err
		}
	}
	err = t.look()
	t.rebase()
	for _, s := range t.spaces {
		s.reset()
	}
	return err
}

// space returns a vmac's namespace by the name that the scenario has for it.
func (t *take) space(name string) (*space, error) {
	if name == "" || name == scenario.Port {
		return t.rig.host, nil
	}
	if s := t.places[name]; s != nil {
		return s, nil
	}
	s, err := t.rig.space()
	if err != nil {
		return nil, err
	}
	t.places[name] = s
	t.spaces = append(t.spaces, s)
	t.devices[s] = map[int]string{}
	return s, s.listen(t.types)
}

// step plays one statement and observes what follows.
func (t *take) step(i int) (scenario.Outcome, error) {
	step := &t.s.Steps[i]
	if step.Send != nil {
		frame, err := t.s.Frame(i)
		if err != nil {
			return scenario.Outcome{}, err
		}
		answer := t.send(step.Send, frame)
		o, err := t.settle(&sending{step.Send, frame, answer.OK()})
		o.Answer = answer
		if err == nil {
			err = t.noteLeaks(frame, &o)
		}
		return o, err
	}
	answer, shown, err := t.control(step.Control)
	if err != nil {
		return scenario.Outcome{}, err
	}
	if step.Control.Verb == scenario.Add || !answer.OK() {
		// What is down, or was refused half done, is answered before the data
		// threads know.
		if err := t.syncAll(); err != nil {
			return scenario.Outcome{}, err
		}
	}
	o, err := t.settle(nil)
	o.Answer, o.Shows = answer, shown
	return o, err
}

func (t *take) send(send *scenario.Send, frame []byte) scenario.Answer {
	at, index := t.sender(send.From)
	if _, is := classify.Fragment(frame); is {
		// What waits for the rest of its datagram waits in the namespace.
		t.rig.spoilt = true
	}
	var answer scenario.Answer
	for n := range max(1, send.Times) {
		if n%512 == 511 {
			// The sockets that listen have room for some thousands.
			for _, s := range t.spaces {
				if err := s.read(); err != nil {
					return scenario.Answer{Errno: "EIO", Text: err.Error()}
				}
			}
			if t.ctx.Err() != nil {
				return answer
			}
		}
		if err := at.send(index, frame); err != nil && answer.OK() {
			answer = answerOf(err)
		}
	}
	return answer
}

// sender finds the device that a frame is sent from. One that is gone has an
// index that no device has.
func (t *take) sender(from string) (*space, int) {
	switch from {
	case scenario.Wire:
		return t.rig.wire, t.rig.wireAt
	case scenario.Host:
		return t.parentIn, t.parentAt
	}
	if l := t.links[from]; l != nil {
		return t.where[from], l.index
	}
	return t.rig.host, 1 << 30
}

// clean ends what the scenario has begun.
func (t *take) clean() error {
	for _, end := range t.holders {
		end()
	}
	return t.rig.clean(t.places)
}
