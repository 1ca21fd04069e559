package lab

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Deviation is one thing in which the emulator is known not to be the kernel's
// equal. Number is its place in docs/semantics.md.
type Deviation struct {
	Number, Name string

	// spared, if set, says that this kernel has what it takes to be the driver's
	// equal.
	spared func() bool

	// expect turns what the kernel was observed to do in a step into what the
	// emulator does, and reports every change; so one that no longer happens is
	// found. It is nil if that can't be foretold.
	expect func(c *course, step int, o *scenario.Outcome, report func(who, kind, what string))
	// excuses says that a difference is due to this.
	excuses func(c *course, d scenario.Difference) bool
}

// Deviations are all that can show in a scenario, in the order of the page.
var Deviations = []Deviation{
	{Number: "1", Name: "the host's own stack keeps its copy where nothing can take it", spared: steals, expect: stackKeeps},
	{Number: "2", Name: "packet sockets see a TAP's packet types", expect: typesOfTap},
	{Number: "3", Name: "the host's own stack sees fragments of groups as they came", excuses: stackFragments},
	{Number: "5", Name: "the parent's refusal comes too late for the sender", expect: lateRefusal},
	{Number: "6", Name: "a full broadcast queue is not counted on the parent", expect: queueCounter},
	{Number: "7", Name: "traffic between siblings is invisible on the parent", expect: siblingsUnseen},
	{Number: "8", Name: "ingress rules of the parent don't hold frames back", excuses: ingressRules},
	{Number: "11", Name: "scheduling", excuses: lossUnderLoad},
	{Number: "15", Name: "two leaks of the driver are not repeated", excuses: driverLeaks},
	{Number: "19", Name: "a group that was left is out of a vmac's filter at once", expect: leftAtOnce},
	{Number: "20", Name: "a changed broadcast address takes effect at once", expect: broadcastAtOnce, excuses: newBroadcast},
}

// Shows says that it can be seen on this kernel, as far as is known.
func (d *Deviation) Shows() bool { return d.spared == nil || !d.spared() }

// steals says that something takes from the parent's stack what macvlan
// consumes: one rung of the ladder works, or hasn't been tried.
func steals() bool { return may(feature.TCX) || may(feature.ClsBPF) || may(feature.NFTNetdev) }

// types says that vmacs get a program that corrects packet types.
func types() bool { return may(feature.BPF) && (may(feature.TCX) || may(feature.ClsBPF)) }

// may says that a feature isn't known to be missing. It is a variable for tests.
var may = func(n feature.Name) bool {
	err, known := feature.Why(n)
	return err == nil || !known
}

// stackFragments: only the driver can give a datagram to the parent's stack in
// place of its fragments.
func stackFragments(c *course, d scenario.Difference) bool {
	send := c.s.Steps[d.Step].Send
	if d.Who != scenario.Stack || send == nil || send.From != scenario.Wire {
		return false
	}
	frame, err := c.s.Frame(d.Step)
	_, is := classify.Fragment(frame)
	return err == nil && is
}

// stackKeeps: a packet socket copies and does not consume, so the parent's stack
// gets all that its tap sees come in.
func stackKeeps(c *course, step int, o *scenario.Outcome, report func(who, kind, what string)) {
	send, at := c.s.Steps[step].Send, c.at[step]
	if send == nil || send.From != scenario.Wire || at.dropsAll(c.dst(step)) {
		return
	}
	had := times(o.Gets, scenario.Stack)
	rest := slices.DeleteFunc(slices.Clone(o.Gets), func(d scenario.Delivery) bool { return d.Who == scenario.Stack })
	for _, d := range o.Gets {
		if d.Who != scenario.Tap || d.Type == classify.TypeOutgoing || cut(d.Frame) {
			continue
		}
		d.Who = scenario.Stack
		if foreign(d.Frame) {
			d.Type = classify.TypeOther
		}
		rest = append(rest, d)
	}
	if n := times(rest, scenario.Stack); n != had {
		o.Gets = rest
		report(scenario.Stack, scenario.KindDelivery, fmt.Sprintf("gets %d, kernel %d", n, had))
	}
}

// typesOfTap: a TAP types frames by its own addresses; no HOST is forced on a
// passthru vmac, and the parent's type is not taken over in source mode. A program
// behind the taps gives the stack HOST, where there can be one.
func typesOfTap(c *course, step int, o *scenario.Outcome, report func(who, kind, what string)) {
	for i := range o.Gets {
		d := &o.Gets[i]
		v, is := c.at[step].vmacs[d.Who]
		if !is || len(d.Frame) < 6 {
			continue
		}
		typ := d.Type
		switch dst := classify.MACFrom(d.Frame); {
		case d.Type == classify.TypeHost && dst != v.mac:
			typ = classify.TypeOther
		case v.mode == classify.Source && dst.IsGroup() && dst == v.broadcast:
			typ = classify.TypeBroadcast
		case v.mode == classify.Source && dst.IsGroup():
			typ = classify.TypeMulticast
		}
		if typ == d.Type {
			continue
		}
		switch kernel := d.Type; {
		case types() && kernel == classify.TypeHost:
			if d.StackType == nil {
				d.StackType = &kernel
			}
		case d.StackType != nil && *d.StackType == kernel:
			d.StackType = &typ
		}
		report(d.Who, scenario.KindType, fmt.Sprintf("gets %v, kernel %v", typ, d.Type))
		d.Type = typ
	}
}

// lateRefusal: a vmac's frame waits in the TAP's queue when its sender has long
// been told that all is well.
func lateRefusal(c *course, step int, o *scenario.Outcome, report func(who, kind, what string)) {
	send := c.s.Steps[step].Send
	if send == nil || o.Answer.Errno != "ENOBUFS" || send.From == scenario.Wire || send.From == scenario.Host {
		return
	}
	o.Answer = scenario.Answer{}
	report("", scenario.KindAnswer, "answered ok, kernel ENOBUFS")
}

// queueCounter: the broadcast queue is not the device's.
func queueCounter(_ *course, _ int, o *scenario.Outcome, report func(who, kind, what string)) {
	for i := range o.Counts {
		if n := &o.Counts[i]; n.Who == scenario.Port && n.RxDropped > 0 {
			report(n.Who, scenario.KindCounter, fmt.Sprintf("counts no rx-dropped, kernel %d", n.RxDropped))
			n.RxDropped = 0
		}
	}
}

// siblingsUnseen: what bridge siblings say to each other does not pass the
// parent's receive path.
func siblingsUnseen(c *course, step int, o *scenario.Outcome, report func(who, kind, what string)) {
	send := c.s.Steps[step].Send
	if send == nil || send.From == scenario.Wire {
		return
	}
	n := len(o.Gets)
	o.Gets = slices.DeleteFunc(o.Gets, incoming)
	if len(o.Gets) < n {
		report(scenario.Tap, scenario.KindDelivery, "gets nothing, kernel does")
	}
}

func incoming(d scenario.Delivery) bool {
	return d.Who == scenario.Tap && d.Type != classify.TypeOutgoing
}

// ingressRules: what a rule drops reaches the vmacs.
func ingressRules(c *course, d scenario.Difference) bool {
	return c.at[d.Step].ingress != "pass" && (d.Kind == scenario.KindDelivery || d.Kind == scenario.KindCounter) && c.s.Steps[d.Step].Send != nil
}

// lossUnderLoad: how many frames a full queue costs depends on who is quick.
func lossUnderLoad(c *course, d scenario.Difference) bool {
	return (d.Kind == scenario.KindDelivery || d.Kind == scenario.KindCounter) &&
		slices.ContainsFunc(c.s.Steps[d.Step].Expect.Gets, func(g scenario.Delivery) bool { return g.Most > g.Times })
}

// driverLeaks: counts that a passthru vmac leaves on its parent.
func driverLeaks(c *course, d scenario.Difference) bool {
	if d.Kind != scenario.KindShow || d.Who != scenario.Port {
		return false
	}
	for _, at := range c.at[:d.Step+1] {
		for _, v := range at.vmacs {
			if v.mode == classify.Passthru {
				return true
			}
		}
	}
	return false
}

// leftAtOnce: the driver's filter keeps a group until it is made anew.
func leftAtOnce(c *course, step int, o *scenario.Outcome, report func(who, kind, what string)) {
	unheard(c, step, o, report, func(to classify.MAC) bool { return to != classify.Broadcast })
}

// broadcastAtOnce: and a broadcast address.
func broadcastAtOnce(c *course, step int, o *scenario.Outcome, report func(who, kind, what string)) {
	unheard(c, step, o, report, func(to classify.MAC) bool { return to == classify.Broadcast })
}

// unheard takes away floods that only an old filter lets through.
func unheard(c *course, step int, o *scenario.Outcome, report func(who, kind, what string), about func(to classify.MAC) bool) {
	if send := c.s.Steps[step].Send; send == nil || !about(c.dst(step)) {
		return
	}
	deaf := func(d scenario.Delivery) bool {
		v, is := c.at[step].vmacs[d.Who]
		if !is || len(d.Frame) < 12 || d.Type != classify.TypeMulticast || v.mode == classify.Source {
			return false
		}
		to, from := classify.MACFrom(d.Frame), classify.MACFrom(d.Frame[6:])
		return !v.hears(to) && from != v.mac && slices.ContainsFunc(v.left, func(g classify.MAC) bool { return sameToFilter(g, to) })
	}
	for _, d := range o.Gets {
		if !deaf(d) {
			continue
		}
		report(d.Who, scenario.KindDelivery, "gets nothing, kernel multicast")
		for i := range o.Counts {
			if n := &o.Counts[i]; n.Who == d.Who {
				n.RxPackets, n.RxBytes, n.Multicast = 0, 0, 0
				report(d.Who, scenario.KindCounter, "counts nothing received")
			}
		}
	}
	o.Gets = slices.DeleteFunc(slices.Clone(o.Gets), deaf)
}

// newBroadcast: what is sent to the new address arrives before the driver's
// filter knows it.
func newBroadcast(c *course, d scenario.Difference) bool {
	v, is := c.at[d.Step].vmacs[d.Who]
	if !is || v.broadcast == classify.Broadcast || d.Kind != scenario.KindDelivery && d.Kind != scenario.KindCounter {
		return false
	}
	// A burst is counted at its end.
	for i := d.Step; i >= 0 && c.s.Steps[i].Send != nil; i-- {
		if c.dst(i) == v.broadcast {
			return true
		}
		if d.Kind == scenario.KindDelivery {
			break
		}
	}
	return false
}

// dropsAll says that a rule drops frames for that address.
func (n *situation) dropsAll(dst classify.MAC) bool {
	return n.ingress == "drop" || n.ingress != "pass" && n.ingress == dst.String()
}

func (c *course) dst(step int) classify.MAC {
	frame, err := c.s.Frame(step)
	if err != nil || len(frame) < 6 {
		return 0
	}
	return classify.MACFrom(frame)
}

func times(list []scenario.Delivery, who string) (n int) {
	for _, d := range list {
		if d.Who == who {
			n += max(1, d.Times)
		}
	}
	return n
}

// foreign says that handlers see the frame as somebody else's: the first tag that
// is more than a priority is of a VLAN that nobody is in.
func foreign(frame []byte) bool {
	for ; len(frame) >= 18; frame = frame[4:] {
		if t := binary.BigEndian.Uint16(frame[12:]); t != 0x8100 && t != 0x88a8 {
			break
		}
		if binary.BigEndian.Uint16(frame[14:])&0xfff != 0 {
			return true
		}
	}
	return false
}

// cut says that handlers never see the frame: the tag behind a priority tag isn't
// whole.
func cut(frame []byte) bool {
	for ; len(frame) >= 14; frame = frame[4:] {
		if t := binary.BigEndian.Uint16(frame[12:]); t != 0x8100 && t != 0x88a8 {
			break
		}
		if len(frame) < 20 {
			return true
		}
		if binary.BigEndian.Uint16(frame[14:])&0xfff != 0 {
			break
		}
	}
	return false
}
