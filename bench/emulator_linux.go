package bench

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// emulator is the daemon's engine in a process of its own, so that no traffic
// program shares its scheduler.
type emulator struct {
	exe     string   // another program than the running one, or ""
	options []string // see checkVariant
	p       *process
	asked   uint64 // how often it was asked
}

// variants are the options of the emulator that can be forced, and their values.
// "without" is one feature and may be given again.
var variants = map[string][]string{
	"wire":    {dataplane.BackendRing, dataplane.BackendMmsg},
	"offload": {"on", "off"},
	"waking":  {dataplane.WakingYield, dataplane.WakingSleep},
	"steal":   dataplane.StealRungs,
}

func checkVariant(key, value string) error {
	if key == "without" {
		for _, f := range feature.List {
			if string(f.Name) == value {
				return nil
			}
		}
		return fmt.Errorf("umacvlan:without=%s: there is no such feature", value)
	}
	values, ok := variants[key]
	if !ok {
		return fmt.Errorf("umacvlan has no option %q", key)
	}
	for _, v := range values {
		if v == value {
			return nil
		}
	}
	return fmt.Errorf("umacvlan:%s=%s: not one of %s", key, value, strings.Join(values, ", "))
}

// emulatorOrder asks for new vmacs, for one vmac's counters, or, if it is empty,
// only for the port's.
type emulatorOrder struct {
	Options []string // the first order's
	Add     []control.LinkRequest
	In      string // namespace that Add's parent or Show is in
	Show    string
}

// emulatorAnswer is what the engine counts, and what went wrong.
type emulatorAnswer struct {
	Error   string
	Shown   *control.Link
	Ledgers []control.Ledger
	CPU     time.Duration // of the process so far
	Mallocs uint64        // of the process so far
}

func (e *emulator) Name() string { return Subject }

func (e *emulator) Add(parent *lab.Device, v *lab.Vmac) error {
	return e.addAll(parent, []*lab.Vmac{v})
}

func (e *emulator) addAll(parent *lab.Device, list []*lab.Vmac) error {
	if e.p == nil {
		if err := e.open(); err != nil {
			return err
		}
	}
	o := emulatorOrder{In: parent.NS.Path()}
	for _, v := range list {
		mode, to, mac := uint32(v.Mode), v.NS.Path(), v.MAC.String()
		r := control.LinkRequest{
			Op: "add", Name: v.Name, Parent: parent.Name, Kind: "macvlan", Address: &mac,
			Data: &control.MacvlanData{Mode: &mode},
		}
		if v.NS.Inode() != parent.NS.Inode() {
			r.ToNetns = &to
		}
		if len(v.Sources) > 0 {
			set := uint32(3)
			r.Data.MacaddrMode = &set
			for _, m := range v.Sources {
				r.Data.MacaddrData = append(r.Data.MacaddrData, m.String())
			}
		}
		o.Add = append(o.Add, r)
	}
	_, err := e.ask(o)
	return err
}

// open starts the process.
func (e *emulator) open() error {
	var env, without []string
	for _, o := range e.options {
		if f, ok := strings.CutPrefix(o, "without="); ok {
			without = append(without, f)
		}
	}
	if len(without) > 0 {
		env = append(env, feature.Variable+"="+strings.Join(without, ","))
	}
	exe := e.exe
	if exe == "" {
		exe = "/proc/self/exe"
	}
	p, err := startFrom(exe, nil, "emulator", emulatorOrder{Options: e.options}, env...)
	if err != nil {
		return err
	}
	e.p = p
	return e.hear(&emulatorAnswer{})
}

// Counters returns what the engine counts for a vmac, not the TAP's own.
func (e *emulator) Counters(d *lab.Device) (lab.Counters, error) {
	a, err := e.ask(emulatorOrder{Show: d.Name, In: d.NS.Path()})
	if err != nil {
		return lab.Counters{}, err
	}
	s := a.Shown.Stats64
	return lab.Counters{
		RxPackets: s.Rx.Packets, RxBytes: s.Rx.Bytes, RxErrors: s.Rx.Errors, RxDropped: s.Rx.Dropped, Multicast: s.Rx.Multicast,
		TxPackets: s.Tx.Packets, TxBytes: s.Tx.Bytes, TxDropped: s.Tx.Dropped,
	}, nil
}

// path says which way d's frames go.
func (e *emulator) path(d *lab.Device) (string, error) {
	a, err := e.ask(emulatorOrder{Show: d.Name, In: d.NS.Path()})
	if err != nil {
		return "", err
	}
	x := a.Shown.Umacvlan
	path := x.Wire + " → " + x.Child
	if !x.WireGSO {
		path += ", without offloads"
	}
	return path, nil
}

func (e *emulator) Close() error {
	if e.p == nil {
		return nil
	}
	return e.p.stop()
}

func (e *emulator) ask(o emulatorOrder) (a emulatorAnswer, err error) {
	e.asked++
	if err := e.p.tell(o); err != nil {
		return a, err
	}
	return a, e.hear(&a)
}

func (e *emulator) hear(a *emulatorAnswer) error {
	if err := e.p.hear(4*patience, a); err != nil { // a busy machine, thousands of vmacs
		return err
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}

// account is the emulator's, between two of which a repetition lies.
type account struct {
	drops   map[string]uint64
	wire    uint64 // frames that the parent gave to the emulator
	handled uint64 // frames received on the parent or read from vmacs
	cpu     time.Duration
	mallocs uint64
	asked   uint64
}

// quiet waits until nothing is under way in the driver and its ledgers balance,
// and returns the account. The kernel's driver keeps none.
func quiet(d lab.Driver) (*account, error) {
	e, ok := d.(*emulator)
	if !ok || e.p == nil {
		return nil, nil
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		a, err := e.ask(emulatorOrder{})
		if err != nil {
			return nil, err
		}
		wrong := unbalanced(a.Ledgers)
		if wrong == nil {
			s := &account{drops: map[string]uint64{}, cpu: a.CPU, mallocs: a.Mallocs, asked: e.asked}
			for _, l := range a.Ledgers {
				s.add(l)
			}
			return s, nil
		}
		if time.Now().After(end) {
			return nil, wrong
		}
	}
}

// unbalanced says which of the ledgers' equations does not hold.
func unbalanced(ledgers []control.Ledger) error {
	for _, l := range ledgers {
		for _, q := range l.Equations {
			if q.Difference != 0 {
				return fmt.Errorf("ledger of %s: %s: %s (off by %d)", l.Parent, q.Name, q.Text, q.Difference)
			}
		}
	}
	return nil
}

// lostOnParent names frames that the kernel could not store for the socket.
const lostOnParent = "receive_queue_full"

func (s *account) add(l control.Ledger) {
	packets, received := l.Equations[0].Left, l.Equations[1].Left
	if n := packets - received; n > 0 {
		s.drops[lostOnParent] += n
	}
	s.wire += received
	for i, counts := range []map[string]uint64{l.Frames, l.Sent, l.Copies} {
		for key, n := range counts {
			if droppedKeys[key] {
				s.drops[key] += n
			}
			if i < 2 {
				s.handled += n
			}
		}
	}
}

var droppedKeys = func() map[string]bool {
	m := map[string]bool{}
	for r := range classify.NumReasons {
		m[classify.Reason(r).Key()] = classify.Reason(r).Dropped()
	}
	return m
}()

// since returns what was added to b.
func since(b, a map[string]uint64) map[string]uint64 {
	d := maps.Clone(a)
	for k, n := range b {
		d[k] -= n
	}
	maps.DeleteFunc(d, func(_ string, n uint64) bool { return n == 0 })
	return d
}
