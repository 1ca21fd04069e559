package control

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// Link executes a request as the kernel would for a caller in ns. ctx bounds
// the wait for the engine to run and for the data threads; a request is never
// left half done. On success the answer shows the device as it is then, but for
// a delete.
func (e *Engine) Link(ctx context.Context, r LinkRequest, ns Namespace) (LinkAnswer, *Refusal) {
	for _, name := range []string{r.Name, r.Parent, deref(r.NewName)} {
		if strings.Contains(name, "\x00") {
			return LinkAnswer{}, refuse(unix.EINVAL, fmt.Sprintf("%q has a zero byte", name))
		}
	}
	for end := time.Now().Add(nameTime); ; {
		answer, refusal, blocker := e.link(ctx, r, ns)
		if refusal == nil || blocker == nil || time.Now().After(end) {
			return answer, refusal
		}
		select {
		case <-blocker:
		case <-time.After(2 * lastWords):
		case <-ctx.Done():
			return answer, refusal
		}
	}
}

// nameTime is how long an add waits for a name that a device has which is on its
// way out.
const nameTime = 5 * time.Second

// link executes a request once. A blocker says that it was refused for a name
// that will be free, or for a parent that is on its way: the kernel deletes, and
// moves, within the request, or the event, that asks for it, and nobody sees a
// device half deleted.
func (e *Engine) link(ctx context.Context, r LinkRequest, ns Namespace) (_ LinkAnswer, _ *Refusal, blocker <-chan struct{}) {
	if err := e.lock(ctx); err != nil {
		return LinkAnswer{}, &Refusal{Errno: int(unix.ESHUTDOWN), Hint: err.Error()}, nil
	}
	e.notePaths(r.NetnsPath, deref(r.ToNetns))
	c, err := ns.dial()
	if err != nil {
		e.mu.Unlock()
		return LinkAnswer{}, refusalOf(err, ""), nil
	}
	q := &request{LinkRequest: r, e: e, ns: ns, conn: c}
	e.conns = map[uint64]*conn{ns.inode: c}
	defer q.close()
	var refusal *Refusal
	switch r.Op {
	case "add", "replace":
		refusal = q.add()
	case "set":
		refusal = q.set()
	case "delete":
		refusal = q.remove()
	default:
		refusal = refuse(unix.EINVAL, fmt.Sprintf("no operation %q: add, replace, set or delete", r.Op))
	}
	var answer LinkAnswer
	if refusal == nil && q.made != nil {
		answer, refusal = q.answer()
	}
	e.conns = nil // another's may be there, which does without from now on
	e.mu.Unlock()
	for _, wait := range q.wait {
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
	if refusal != nil {
		switch unix.Errno(refusal.Errno) {
		case unix.EEXIST, unix.EBUSY:
			blocker = q.blocker
		case unix.EBADFD: // what a TAP's descriptor says when somebody has deleted it
			refusal = deletedMeanwhile()
		}
	}
	return answer, refusal, blocker
}

func deletedMeanwhile() *Refusal { return refuse(unix.ENODEV, "the device was deleted meanwhile") }

// request is one request being executed, under the engine's lock.
type request struct {
	LinkRequest
	e     *Engine
	ns    Namespace
	conn  *conn // in ns
	more  *conn // in another
	made  *device
	fresh bool              // the request has made it
	wait  []<-chan struct{} // to be waited for without the lock
	// blocker is closed when a device that has the name asked for has been
	// deleted, if that is under way.
	blocker <-chan struct{}
}

func (q *request) close() {
	q.conn.close()
	if q.more != nil {
		q.more.close()
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func refuse(errno syscall.Errno, hint string) *Refusal {
	return &Refusal{Errno: int(errno), Hint: hint}
}

// refusal is nil for an Answer that is none.
func refusal(a rules.Answer) *Refusal {
	if a.OK() {
		return nil
	}
	return &Refusal{Errno: int(a.Errno), Text: a.Text, Hint: a.Hint}
}

// find resolves the request's name.
func (q *request) find() (*device, *Refusal) {
	dev, err := q.conn.byName(q.Name)
	if err != nil {
		if errors.Is(err, unix.ENODEV) {
			return nil, &Refusal{Errno: int(unix.ENODEV), Device: q.Name}
		}
		return nil, refusalOf(err, "")
	}
	at := place{q.ns.inode, dev.index}
	d := q.e.vmacAt(at)
	if d == nil {
		// It may be ours and have moved here a moment ago.
		for _, o := range q.e.devices {
			if name, err := o.tap.Name(); err == nil && name == q.Name {
				q.e.lookVmac(o)
			}
		}
		d = q.e.vmacAt(at)
	}
	if dying := q.e.dyingAt(at); d == nil && dying != nil {
		q.wait = append(q.wait, dying.finished)
		return nil, &Refusal{Errno: int(unix.ENODEV), Device: q.Name}
	}
	if d == nil {
		if _, err := q.conn.byName(q.Name); errors.Is(err, unix.ENODEV) { // somebody has deleted it meanwhile
			return nil, &Refusal{Errno: int(unix.ENODEV), Device: q.Name}
		}
		return nil, refuse(unix.EOPNOTSUPP, q.Name+" is no vmac of this daemon; use ip for it")
	}
	q.e.lookVmac(d)
	if p := q.e.ports[d.parent]; p != nil {
		q.e.lookParent(p)
	}
	if q.e.devices[d.id] != d {
		return nil, &Refusal{Errno: int(unix.ENODEV), Device: q.Name}
	}
	return d, nil
}

// remove is RTM_DELLINK.
func (q *request) remove() *Refusal {
	d, r := q.find()
	if r != nil {
		return r
	}
	if q.Kind != "" && q.Kind != rules.Kind {
		return refuse(unix.EOPNOTSUPP, q.Name+" is of type macvlan, not "+q.Kind)
	}
	p := q.e.ports[d.parent]
	r = refusal(q.e.apply(rules.DelLink{Vmac: d.id}))
	q.wait = append(q.wait, d.finished)
	if q.e.ports[d.parent] != p {
		q.wait = append(q.wait, p.done)
	}
	return r
}

// answer shows the device that the request was about, once the switch knows of
// it.
func (q *request) answer() (LinkAnswer, *Refusal) {
	d := q.made
	// A new device that is down can wait; making many shall not take a
	// decision each.
	if v, rp := q.e.state.Vmac(d.id); v != nil && (v.Up || q.Op == "set") && len(rp.Vmacs) <= patientUpTo {
		q.e.await(q.e.ports[d.parent])
	}
	if q.e.devices[d.id] != d {
		return LinkAnswer{}, deletedMeanwhile()
	}
	l, err := q.e.show(d)
	if err != nil {
		if q.fresh && !gone(err) { // what can't be told of isn't made
			q.e.apply(rules.DelLink{Vmac: d.id})
			q.wait = append(q.wait, d.finished)
		}
		return LinkAnswer{}, refusalOf(err, "")
	}
	return LinkAnswer{Link: &l, Warnings: l.Umacvlan.Warnings}, nil
}

// ruleData translates the macvlan attributes.
func ruleData(m *MacvlanData) (*rules.Data, *Refusal) {
	if m == nil {
		return nil, nil
	}
	d := &rules.Data{Mode: m.Mode, Flags: m.Flags, BCQueueLen: m.BCQueueLen, BCLim: m.BCLim, MacaddrMode: m.MacaddrMode}
	var r *Refusal
	if m.Macaddr != nil {
		if d.Macaddr, r = address(*m.Macaddr); r != nil {
			return nil, r
		}
	}
	for _, s := range m.MacaddrData {
		b, r := address(s)
		if r != nil {
			return nil, r
		}
		d.MacaddrData = append(d.MacaddrData, b)
	}
	return d, nil
}

// address reads hexadecimal octets with colons, as many as there are: what
// number is right is for the rules to say.
func address(s string) ([]byte, *Refusal) {
	b := []byte{}
	for _, octet := range strings.Split(s, ":") {
		if len(octet) == 1 {
			octet = "0" + octet
		}
		v, err := hex.DecodeString(octet)
		if err != nil || len(v) != 1 {
			return nil, refuse(unix.EINVAL, fmt.Sprintf("%q is no hardware address", s))
		}
		b = append(b, v...)
	}
	return b, nil
}

func optionalAddress(s *string) ([]byte, *Refusal) {
	if s == nil {
		return nil, nil
	}
	return address(*s)
}

// randomMAC is eth_random_addr.
func randomMAC() classify.MAC {
	var b [6]byte
	rand.Read(b[:])
	b[0] = b[0]&^1 | 2
	return classify.MACFrom(b[:])
}

// sameOwner reports whether d belongs to owner, whose labels are opaque.
func (d *device) sameOwner(owner map[string]string) bool {
	return len(owner) > 0 && maps.Equal(d.owner, owner)
}
