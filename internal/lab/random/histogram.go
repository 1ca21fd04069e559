package random

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Histogram counts what occurred: reasons, cells of the tables of KERNEL.md, and
// actions. What can occur is known from the start, and stands at 0 until it
// does.
type Histogram struct {
	counts map[string]int
}

// Tables of KERNEL.md: 1.6 with three, and 2.3.
var (
	table1Rows    = []string{"own", "down", "unknown", "parent", "broadcast", "subscribed", "unsubscribed", "link-local subscribed", "link-local unsubscribed", "pause"}
	table1Columns = []string{"private", "vepa", "bridge", "passthru", "source unlisted", "source listed"}
	senderModes   = []classify.Mode{classify.Private, classify.Vepa, classify.Bridge, classify.Source}
	allModes      = append(slices.Clone(senderModes), classify.Passthru)
	table3Rows    = []string{"own", "parent", "unknown", "broadcast", "subscribed", "unsubscribed"}
	table23Cols   = []string{"own", "bridge sibling", "other sibling", "down sibling", "parent", "unknown", "group"}
)

// Actions that a scenario can have.
var actions = []string{
	"add", "delete vmac", "delete parent", "delete netns", "join", "leave", "show",
	"set mode", "set flag", "set bcqueuelen", "set bclim", "set list", "set macaddr add", "set macaddr del", "set macaddr flush",
	"set up", "set down", "set address", "set mtu", "set broadcast", "set promisc", "set allmulti", "set netns",
	"parent up", "parent down", "parent address", "parent mtu", "parent promisc", "parent allmulti", "parent netns",
	"parent carrier", "parent ingress", "parent egress",
}

// lost are the reasons that a quiet network of whole frames never gives: a runt
// is refused by the sender's socket, and the others say that something was full,
// too slow, or went while a frame was on its way.
var lost = []classify.Reason{
	classify.Runt, classify.TapDown, classify.TapGone, classify.TapRefused, classify.TapNoBuffer, classify.WireDown, classify.WireGone,
	classify.WireTooLong, classify.WireRefused, classify.WireNoBuffer, classify.WireBusy, classify.Truncated, classify.BadOffload, classify.VmacGone,
	classify.FragmentNoRoom,
}

// NewHistogram returns one in which nothing has occurred.
func NewHistogram() *Histogram {
	h := &Histogram{counts: map[string]int{}}
	can := func(format string, args ...any) { h.counts[fmt.Sprintf(format, args...)] = 0 }
	for r := range classify.NumReasons {
		if !slices.Contains(lost, classify.Reason(r)) {
			can("reason %v", classify.Reason(r))
		}
	}
	can("datagram of fragments")
	for _, row := range table1Rows {
		for _, column := range table1Columns {
			can("table 1: %s to %s", row, column)
		}
	}
	for _, from := range senderModes {
		can("table 2: group from %v to itself", from)
		for _, to := range senderModes {
			can("table 2: group from %v to %v", from, to)
			can("table 2: unicast from %v to %v", from, to)
		}
	}
	for _, m := range allModes {
		for _, row := range table3Rows {
			can("table 3: %s to %v", row, m)
		}
		for _, column := range table23Cols {
			if m != classify.Passthru || !strings.Contains(column, "sibling") && column != "parent" {
				can("table 2.3: %v to %s", m, column)
			}
		}
	}
	delete(h.counts, "table 3: parent to passthru") // its own address
	for _, a := range actions {
		can("action %s", a)
	}
	return h
}

// Keys are the names of all that can occur, sorted.
func (h *Histogram) Keys() []string {
	var keys []string
	for k := range h.counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Count is how often something occurred.
func (h *Histogram) Count(key string) int { return h.counts[key] }

// Rare are those that occurred less than n times.
func (h *Histogram) Rare(n int) (keys []string) {
	for _, k := range h.Keys() {
		if h.counts[k] < n {
			keys = append(keys, k)
		}
	}
	return keys
}

// Print writes a line for each.
func (h *Histogram) Print(w io.Writer) {
	for _, k := range h.Keys() {
		fmt.Fprintf(w, "%9d  %s\n", h.counts[k], k)
	}
}

func (h *Histogram) note(format string, args ...any) {
	key := fmt.Sprintf(format, args...)
	if _, ok := h.counts[key]; ok {
		h.counts[key]++
	}
}

// Add counts what occurred in a scenario, from what the model says of it.
func (h *Histogram) Add(s *scenario.Scenario, model *scenario.Result) {
	p := &port{parent: s.Parent.Address, first: s.Parent.Address, groups: map[string][]classify.MAC{}}
	for i := range s.Vmacs {
		p.made(s, &s.Vmacs[i])
	}
	for i := range min(len(s.Steps), len(model.Outcomes)) {
		st, out := &s.Steps[i], &model.Outcomes[i]
		if st.Control != nil {
			for _, a := range actionsOf(st.Control) {
				h.note("action %s", a)
			}
			if out.Answer.OK() {
				p.change(s, st.Control)
			}
			continue
		}
		if st.Send.From == scenario.Host && out.Answer.OK() {
			h.note("reason %v", classify.OwnFrame)
		}
		if x := out.Explained; x != nil {
			h.frame(p, x, out)
			h.datagram(s, i, x)
			continue
		}
		for _, w := range out.Why { // a fragment, or the parent or the wire is down
			if w.Reason != classify.Delivered {
				h.note("reason %v", w.Reason)
			}
		}
	}
}

// datagram counts a fragment that there was something to decide about.
func (h *Histogram) datagram(s *scenario.Scenario, step int, x *classify.Explanation) {
	frame, err := s.Frame(step)
	if err != nil || x.From != "wire" || len(x.Vmacs) == 0 {
		return
	}
	if _, is := classify.Fragment(frame); is {
		h.note("datagram of fragments")
	}
}

func actionsOf(c *scenario.Control) (list []string) {
	switch {
	case c.Verb == scenario.Delete && c.Attr == scenario.AttrNetns:
		return []string{"delete netns"}
	case c.Verb == scenario.Delete && c.Who == scenario.Port:
		return []string{"delete parent"}
	case c.Verb == scenario.Delete:
		return []string{"delete vmac"}
	case c.Verb != scenario.Set:
		return []string{string(c.Verb)}
	case c.Who == scenario.Port:
		return []string{"parent " + string(c.Attr)}
	case c.Link == nil:
		return []string{"set " + string(c.Attr)}
	}
	l := c.Link
	for _, o := range []struct {
		said bool
		word string
	}{{l.Mode != nil, "mode"}, {l.Flags != nil, "flag"}, {l.BCQueueLen != nil, "bcqueuelen"}, {l.BCLim != nil, "bclim"}} {
		if o.said {
			list = append(list, "set "+o.word)
		}
	}
	if l.MacaddrMode != nil {
		words := map[uint32]string{rules.MacaddrAdd: "macaddr add", rules.MacaddrDel: "macaddr del", rules.MacaddrFlush: "macaddr flush", rules.MacaddrSet: "list"}
		list = append(list, "set "+words[*l.MacaddrMode])
	}
	return list
}

// port is what a decision's explanation doesn't tell.
type port struct {
	parent, first classify.MAC // the parent's address, and the one that it gets back
	passthru      string
	groups        map[string][]classify.MAC
}

func (p *port) made(s *scenario.Scenario, v *scenario.Vmac) {
	p.groups[v.Name] = nil
	p.join(s, v.Name, v.Groups)
	if v.Link.Mode != nil && *v.Link.Mode == uint32(classify.Passthru) {
		p.passthru, p.first = v.Name, p.parent
	}
}

func (p *port) join(s *scenario.Scenario, who string, groups []scenario.Addr) {
	for _, a := range groups {
		if g, err := s.MAC(a); err == nil {
			p.groups[who] = append(p.groups[who], g)
		}
	}
}

// change follows an action that succeeded.
func (p *port) change(s *scenario.Scenario, c *scenario.Control) {
	address := func() {
		if m, err := s.MAC(scenario.Addr(c.Value)); err == nil {
			p.parent = m
		}
	}
	switch {
	case c.Verb == scenario.Add:
		p.made(s, c.Vmac)
	case c.Verb == scenario.Delete && c.Who == p.passthru && p.passthru != "":
		p.passthru, p.parent = "", p.first
	case c.Verb == scenario.Join:
		p.join(s, c.Who, c.Groups)
	case c.Verb == scenario.Leave:
		for _, a := range c.Groups {
			if g, err := s.MAC(a); err == nil {
				p.groups[c.Who] = slices.DeleteFunc(p.groups[c.Who], func(o classify.MAC) bool { return o == g })
			}
		}
	case c.Attr == scenario.AttrNetns:
		p.groups[c.Who] = nil
	case c.Attr == scenario.AttrAddress && c.Who == scenario.Port:
		address()
		p.first = p.parent
	case c.Attr == scenario.AttrAddress && c.Who == p.passthru:
		address()
	}
}

// hears reports whether a vmac has subscribed to a group.
func (p *port) hears(v *classify.Outcome, x *classify.Explanation) bool {
	return x.To == classify.Broadcast || x.To == scenario.AllHosts || slices.Contains(p.groups[v.Name], x.To)
}

// frame counts the reasons of a decision and the cells that it fills.
func (h *Histogram) frame(p *port, x *classify.Explanation, out *scenario.Outcome) {
	h.note("reason %v", x.Verdict.Reason)
	why := map[string]classify.Reason{}
	for _, w := range out.Why {
		why[w.Who] = w.Reason
	}
	for i := range x.Vmacs {
		v := &x.Vmacs[i]
		reason := v.Reason
		if r, ok := why[v.Name]; ok {
			reason = r
		}
		h.note("reason %v", reason)
	}
	if x.Len < 14 || x.Verdict.Reason == classify.VLANTruncated {
		return
	}
	if x.From != "wire" {
		h.sent(p, x)
		return
	}
	sender := owner(x, x.Src)
	for i := range x.Vmacs {
		v := &x.Vmacs[i]
		switch {
		case sender == nil:
			h.table1(p, x, v)
		case v != sender && v.Up && x.To.IsGroup():
			h.note("table 2: group from %v to %v", sender.Mode, v.Mode)
		case v != sender && v == owner(x, x.To):
			h.note("table 2: unicast from %v to %v", sender.Mode, v.Mode)
		}
	}
	if sender == nil {
		return
	}
	if x.To.IsGroup() {
		h.note("table 2: group from %v to itself", sender.Mode)
	}
	row := "unknown"
	switch {
	case x.To == sender.MAC:
		row = "own"
	case x.To == classify.Broadcast:
		row = "broadcast"
	case x.To.IsGroup() && p.hears(sender, x) && !pause(x):
		row = "subscribed"
	case x.To.IsGroup():
		row = "unsubscribed"
	case x.To == p.parent:
		row = "parent"
	case owner(x, x.To) != nil:
		return // unicast to a sibling: table 2
	}
	h.note("table 3: %s to %v", row, sender.Mode)
}

func pause(x *classify.Explanation) bool { return x.EtherType == 0x8808 }

// owner is the up vmac with the address, nil if there is none.
func owner(x *classify.Explanation, m classify.MAC) *classify.Outcome {
	for i := range x.Vmacs {
		if x.Vmacs[i].Up && x.Vmacs[i].MAC == m {
			return &x.Vmacs[i]
		}
	}
	return nil
}

func down(x *classify.Explanation, m classify.MAC) bool {
	return owner(x, m) == nil && slices.ContainsFunc(x.Vmacs, func(v classify.Outcome) bool { return !v.Up && v.MAC == m })
}

// table1 counts what a stranger's frame is to one vmac.
func (h *Histogram) table1(p *port, x *classify.Explanation, v *classify.Outcome) {
	column := v.Mode.String()
	if v.Mode == classify.Source {
		column = "source unlisted"
		if slices.ContainsFunc(v.Copies, func(a classify.Arrival) bool { return a.Path == classify.SourceCopy }) {
			column = "source listed"
		}
	}
	row := ""
	switch {
	case !v.Up:
		if v.Mode == classify.Passthru && !x.To.IsGroup() {
			row = "down"
		}
	case !x.To.IsGroup():
		row = "unknown"
		switch o := owner(x, x.To); {
		case o == v:
			row = "own"
			if x.To == p.parent {
				h.note("table 1: parent to %s", column)
			}
		case o != nil:
			return
		case x.To == p.parent:
			row = "parent"
		case down(x, x.To):
			row = "down"
		}
	case pause(x):
		row = "pause"
	case x.To == classify.Broadcast:
		row = "broadcast"
	default:
		if row = "unsubscribed"; p.hears(v, x) {
			row = "subscribed"
		}
		if b := x.To.Bytes(); [5]byte(b[:5]) == [5]byte{0x01, 0x80, 0xc2, 0, 0} && b[5] < 16 {
			row = "link-local " + row
		}
	}
	h.note("table 1: %s to %s", row, column)
}

// sent counts a vmac's own frame.
func (h *Histogram) sent(p *port, x *classify.Explanation) {
	i := slices.IndexFunc(x.Vmacs, func(v classify.Outcome) bool { return v.Name == x.From })
	if i < 0 || x.Verdict.Reason == classify.ParentDown {
		return
	}
	v := &x.Vmacs[i]
	column := "unknown"
	switch o := owner(x, x.To); {
	case x.To.IsGroup():
		column = "group"
	case o == v:
		column = "own"
	case o != nil && o.Mode == classify.Bridge:
		column = "bridge sibling"
	case o != nil:
		column = "other sibling"
	case x.To == p.parent:
		column = "parent"
	case down(x, x.To):
		column = "down sibling"
	}
	h.note("table 2.3: %v to %s", v.Mode, column)
}
