package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/pprof"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// profileVariable names a file that an emulator's CPU profile is written to.
const profileVariable = "UMACVLAN_BENCH_CPUPROFILE"

// emulator is the lab's driver of the same name in a process of its own, so that
// no traffic program shares its scheduler.
type emulator struct{ p *process }

// emulatorOrder is one call: of Add if Add is set, else of Counters and Report.
type emulatorOrder struct {
	Parent, ParentNS string
	Add              *lab.Vmac
	Device, NS       string
}

// emulatorAnswer is what came of it.
type emulatorAnswer struct {
	Error    string
	Counters lab.Counters
	Drops    map[string]uint64 // since the start, by reason, of all parents
	Wrong    []string          // equations of the ledger that don't hold
}

// newEmulator starts an emulator.
func newEmulator() (lab.Driver, error) {
	p, err := start(nil, "emulator", emulatorOrder{})
	if err != nil {
		return nil, err
	}
	return &emulator{p}, nil
}

func (e *emulator) Name() string { return "umacvlan" }

func (e *emulator) Add(parent *lab.Device, v *lab.Vmac) error {
	where := *v
	where.NS = nil
	_, err := e.call(emulatorOrder{Parent: parent.Name, ParentNS: parent.NS.Path(), Add: &where, NS: v.NS.Path()})
	return err
}

func (e *emulator) Counters(d *lab.Device) (lab.Counters, error) {
	a, err := e.call(emulatorOrder{Device: d.Name, NS: d.NS.Path()})
	return a.Counters, err
}

// report returns what was dropped, and the equations that don't hold.
func (e *emulator) report() (drops map[string]uint64, wrong []string, err error) {
	a, err := e.call(emulatorOrder{})
	return a.Drops, a.Wrong, err
}

func (e *emulator) Close() error { return e.p.stop() }

func (e *emulator) call(o emulatorOrder) (a emulatorAnswer, err error) {
	if err = e.p.tell(o); err == nil {
		err = e.p.hear(patience, &a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return a, err
}

// emulatorRole answers calls until there are no more. The first order is empty.
func emulatorRole(in *json.Decoder, out *json.Encoder) error {
	if path := os.Getenv(profileVariable); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	e := lab.NewEmulator()
	var o emulatorOrder
	if err := in.Decode(&o); err != nil {
		return errors.Join(err, e.Close())
	}
	for {
		o = emulatorOrder{}
		if err := in.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, e.Close())
		}
		var a emulatorAnswer
		if err := o.serve(e, &a); err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return errors.Join(err, e.Close())
		}
	}
}

func (o *emulatorOrder) serve(e *lab.Emulator, a *emulatorAnswer) error {
	switch {
	case o.Add != nil:
		parent, err := namespace(o.ParentNS)
		if err != nil {
			return err
		}
		defer parent.Close()
		if o.Add.NS, err = namespace(o.NS); err != nil {
			return err
		}
		defer o.Add.NS.Close()
		return e.Add(&lab.Device{Name: o.Parent, NS: parent}, o.Add)
	case o.Device != "":
		ns, err := namespace(o.NS)
		if err != nil {
			return err
		}
		defer ns.Close()
		a.Counters, err = e.Counters(&lab.Device{Name: o.Device, NS: ns})
		return err
	default:
		a.Drops = map[string]uint64{}
		for _, l := range e.Engine.Ledgers() {
			for _, counts := range []map[string]uint64{l.Frames, l.Sent, l.Copies} {
				for reason := range classify.NumReasons {
					if r := classify.Reason(reason); r.Dropped() {
						a.Drops[r.Key()] += counts[r.Key()]
					}
				}
			}
		}
		a.Wrong = e.Unbalanced()
		return nil
	}
}

// namespace opens a namespace by its path.
func namespace(path string) (ns *lab.NS, err error) {
	n, err := control.OpenNamespace(path)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	err = n.Do(func() error {
		ns, err = lab.Current()
		return err
	})
	return ns, err
}

// quiet waits until the driver's ledger balances and returns what it has
// dropped so far; drivers without a ledger have dropped nothing that they know.
func quiet(d lab.Driver) (map[string]uint64, error) {
	e, ok := d.(*emulator)
	if !ok {
		return nil, nil
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		drops, wrong, err := e.report()
		if err != nil || len(wrong) == 0 {
			return drops, err
		}
		if time.Now().After(end) {
			return drops, fmt.Errorf("the ledger does not balance: %v", wrong)
		}
	}
}

// since returns what was added to b.
func since(b, a map[string]uint64) map[string]uint64 {
	d := maps.Clone(a)
	for k, n := range b {
		d[k] -= n
	}
	maps.DeleteFunc(d, func(_ string, n uint64) bool { return n == 0 })
	return d
}
