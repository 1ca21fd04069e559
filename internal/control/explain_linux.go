package control

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// Explain says what becomes of a frame now, by the decision that the parent's
// switch has. Names are those in ns.
func (e *Engine) Explain(ctx context.Context, r ExplainRequest, ns Namespace) (classify.Explanation, *Refusal) {
	var x classify.Explanation
	frame, err := hex.DecodeString(r.Frame)
	switch {
	case err != nil:
		return x, refuse(unix.EINVAL, "frame: "+err.Error())
	case len(frame) == 0:
		return x, refuse(unix.EINVAL, "the frame has no octets")
	case r.From == "":
		return x, refuse(unix.EINVAL, "from is needed: wire, host or the name of a vmac")
	}
	spec, from, refusal := e.asked(ctx, r, ns)
	if refusal != nil {
		return x, refusal
	}
	table, err := classify.NewTable(&spec)
	if err != nil {
		return x, refusalOf(err, err.Error())
	}
	var m classify.Meta
	switch {
	case r.From == FromHost:
		m.Type = classify.TypeOutgoing
	case from == classify.FromWire:
		m.Type = ethTypeTrans(frame, &spec)
	default:
		// A device takes nothing longer from its stack but a super-frame.
		mtu := spec.Vmacs[from].MTU
		m.GSO = mtu > 0 && len(frame) > mtu+18
	}
	x = table.Explain(frame, from, m)
	if r.From == FromHost {
		// The table was asked of what comes back up; this goes out.
		x.From, x.Verdict.Host, x.Verdict.Wire = FromHost, false, !spec.ParentDown
	}
	return x, nil
}

// asked finds the decision that a request is about, and the sender in it.
func (e *Engine) asked(ctx context.Context, r ExplainRequest, ns Namespace) (spec classify.Spec, from int, refusal *Refusal) {
	if err := e.lock(ctx); err != nil {
		return spec, 0, &Refusal{Errno: int(unix.ESHUTDOWN), Hint: err.Error()}
	}
	defer e.mu.Unlock()
	c, err := ns.dial()
	if err != nil {
		return spec, 0, refusalOf(err, "")
	}
	defer c.close()
	q := &request{LinkRequest: LinkRequest{Name: r.From}, e: e, ns: ns, conn: c}
	if r.From == FromWire || r.From == FromHost {
		p, refusal := q.port(r.Parent)
		if refusal != nil {
			return spec, 0, refusal
		}
		e.lookParent(p)
		e.upToDate(p)
		if e.state.Port(p.id) == nil {
			return spec, 0, &Refusal{Errno: int(unix.ENODEV), Device: p.name}
		}
		return e.state.Spec(p.id), classify.FromWire, nil
	}
	if r.Parent != "" {
		return spec, 0, refuse(unix.EINVAL, "parent: a vmac has only one; it goes with wire and host")
	}
	d, refusal := q.find()
	if refusal != nil {
		return spec, 0, refusal
	}
	e.upToDate(e.ports[d.parent])
	_, rp := e.state.Vmac(d.id)
	if rp == nil {
		return spec, 0, &Refusal{Errno: int(unix.ENODEV), Device: r.From}
	}
	for i, v := range rp.Vmacs {
		if v.ID == d.id {
			from = i
		}
	}
	if !rp.Vmacs[from].Up {
		return spec, 0, &Refusal{Errno: int(unix.ENETDOWN), Text: d.name + " is down and sends nothing"}
	}
	return e.state.Spec(d.parent), from, nil
}

// upToDate takes in what others did to the vmacs a moment ago, and waits until
// the switch knows. The caller holds the lock.
func (e *Engine) upToDate(p *port) {
	e.settle(p.id, func(*rules.Vmac) bool { return true })
	e.await(p)
}

// port is the port of the named parent, or the only one.
func (q *request) port(name string) (*port, *Refusal) {
	e := q.e
	if name != "" {
		dev, err := q.conn.byName(name)
		if err != nil {
			if gone(err) {
				return nil, &Refusal{Errno: int(unix.ENODEV), Device: name}
			}
			return nil, refusalOf(err, "")
		}
		if p := e.ports[e.parents[place{q.ns.inode, dev.index}]]; p != nil {
			return p, nil
		}
		return nil, &Refusal{Errno: int(unix.ENODEV), Text: name + " has no vmac of this daemon", Hint: e.parentsSay()}
	}
	ports := e.state.Ports()
	switch len(ports) {
	case 0:
		return nil, &Refusal{Errno: int(unix.ENODEV), Text: "No parent has a vmac"}
	case 1:
		return e.ports[ports[0].Parent.ID], nil
	}
	return nil, &Refusal{Errno: int(unix.EINVAL), Text: "Several parents have vmacs", Hint: "say which with --parent DEV: " + e.parentsSay()}
}

// parentsSay lists the parents for people.
func (e *Engine) parentsSay() string {
	var names []string
	for _, rp := range e.state.Ports() {
		names = append(names, fmt.Sprintf("%s (in %s)", rp.Parent.Name, e.ports[rp.Parent.ID].ns))
	}
	if len(names) == 0 {
		return "no parent has one"
	}
	return strings.Join(names, ", ")
}

// ethTypeTrans is eth_type_trans on the parent.
func ethTypeTrans(frame []byte, spec *classify.Spec) classify.PacketType {
	if len(frame) < 6 {
		return classify.TypeOther
	}
	broadcast := spec.Broadcast
	if broadcast.IsZero() {
		broadcast = classify.Broadcast
	}
	switch to := classify.MACFrom(frame); {
	case to == spec.Parent:
		return classify.TypeHost
	case to.IsGroup() && to == broadcast:
		return classify.TypeBroadcast
	case to.IsGroup():
		return classify.TypeMulticast
	}
	return classify.TypeOther
}
