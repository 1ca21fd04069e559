package bench

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// emulator is the data plane in a process of its own, so that no traffic program
// shares its scheduler. Its vmacs are up from the start, as nobody watches the
// devices; the data path is the one that the daemon runs.
type emulator struct {
	wire string // backend, "" is the default
	exe  string // another program than the running one, or ""
	p    *process
	why  string // which backend it became
}

// emulatorOrder asks for a new vmac (the first one also names the parent and
// opens it), or, if it is empty, only for the counters.
type emulatorOrder struct {
	Wire      string
	Parent    string
	ParentNS  string
	ParentMAC [6]byte

	Add  string // name of the vmac
	NS   string
	Mode uint8
	MAC  [6]byte
}

// emulatorAnswer is what the switch counts, and what went wrong.
type emulatorAnswer struct {
	Error string
	Why   string // the backend
	Port  dataplane.SwitchStats
	Vmacs map[string]dataplane.VmacStats
}

func (e *emulator) Name() string { return "umacvlan" }

func (e *emulator) Add(parent *lab.Device, v *lab.Vmac) error {
	if e.p == nil {
		if e.exe == "" {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			e.exe = exe
		}
		p, err := startFrom(e.exe, nil, "emulator", emulatorOrder{
			Wire: e.wire, Parent: parent.Name, ParentNS: parent.NS.Path(), ParentMAC: [6]byte(parent.MAC),
		})
		if err != nil {
			return err
		}
		e.p = p
		if err := e.hear(&emulatorAnswer{}); err != nil {
			return err
		}
	}
	return e.call(emulatorOrder{Add: v.Name, NS: v.NS.Path(), Mode: uint8(v.Mode), MAC: [6]byte(v.MAC)}, &emulatorAnswer{})
}

func (e *emulator) Counters(d *lab.Device) (lab.Counters, error) {
	var a emulatorAnswer
	err := e.call(emulatorOrder{}, &a)
	v := a.Vmacs[d.Name]
	return lab.Counters{
		RxPackets: v.RxPackets, RxBytes: v.RxBytes, RxErrors: v.RxErrors, RxDropped: v.RxDropped, Multicast: v.Multicast,
		TxPackets: v.TxPackets, TxBytes: v.TxBytes, TxDropped: v.TxDropped,
	}, err
}

func (e *emulator) Close() error {
	if e.p == nil {
		return nil
	}
	return e.p.stop()
}

func (e *emulator) call(o emulatorOrder, a *emulatorAnswer) error {
	if err := e.p.tell(o); err != nil {
		return err
	}
	return e.hear(a)
}

func (e *emulator) hear(a *emulatorAnswer) error {
	if err := e.p.hear(patience, a); err != nil {
		return err
	}
	e.why = a.Why
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}

// quiet waits until nothing is under way in the driver and its accounts balance,
// and returns what it has dropped so far, by reason. The kernel's keeps none.
func quiet(d lab.Driver) (map[string]uint64, error) {
	e, ok := d.(*emulator)
	if !ok {
		return nil, nil
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var a emulatorAnswer
		if err := e.call(emulatorOrder{}, &a); err != nil {
			return nil, err
		}
		wrong := unbalanced(&a.Port)
		if wrong == nil {
			return drops(&a.Port), nil
		}
		if time.Now().After(end) {
			return nil, wrong
		}
	}
}

// unbalanced says which of the ledger's equations does not hold.
func unbalanced(s *dataplane.SwitchStats) error {
	sum := func(counts [classify.NumReasons]uint64) (n uint64) {
		for _, c := range counts {
			n += c
		}
		return n
	}
	switch {
	case s.Wire.Packets != s.Wire.Received+s.Wire.Drops:
		return fmt.Errorf("ledger: %d packets on the parent, %d received and %d lost", s.Wire.Packets, s.Wire.Received, s.Wire.Drops)
	case s.Wire.Received != s.Seen || s.Seen != sum(s.Frames):
		return fmt.Errorf("ledger: %d received, %d seen, %d accounted for", s.Wire.Received, s.Seen, sum(s.Frames))
	case s.InQueue > 0:
		return fmt.Errorf("ledger: %d copies still wait in the broadcast queue", s.InQueue)
	case s.Planned != sum(s.Copies):
		return fmt.Errorf("ledger: %d copies planned, %d accounted for", s.Planned, sum(s.Copies))
	case s.Read != sum(s.Sent):
		return fmt.Errorf("ledger: %d frames read, %d accounted for", s.Read, sum(s.Sent))
	}
	return nil
}

// lostOnParent names frames that the kernel could not store for the socket.
const lostOnParent = "receive_queue_full"

func drops(s *dataplane.SwitchStats) map[string]uint64 {
	m := map[string]uint64{}
	if s.Wire.Drops > 0 {
		m[lostOnParent] = s.Wire.Drops
	}
	for _, counts := range [][classify.NumReasons]uint64{s.Frames, s.Copies, s.Sent} {
		for reason, n := range counts {
			if r := classify.Reason(reason); n > 0 && r.Dropped() {
				m[r.Key()] += n
			}
		}
	}
	return m
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
