package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/umacvlan/umacvlan/classify"
)

// demoFrame is one row: a frame sent at a place (by number in Hearers), from
// and to an address.
type demoFrame struct {
	label    string
	at       string // where it is sent
	from, to string // whose address; "all" is broadcast, "x" nobody's
}

var demoFrames = []demoFrame{
	{"wire → vmac1", "w", "w", "1"},
	{"wire → vmac2", "w", "w", "2"},
	{"wire → host", "w", "w", "h"},
	{"wire → a stranger", "w", "w", "x"},
	{"host → vmac1", "h", "h", "1"},
	{"vmac1 → wire", "1", "1", "w"},
	{"vmac1 → host", "1", "1", "h"},
	{"vmac1 → vmac2", "1", "1", "2"},
	{"vmac1 → vmac2" + sentBack, "w", "1", "2"},
	{"wire → all", "w", "w", "all"},
	{"host → all", "h", "h", "all"},
	{"vmac1 → all", "1", "1", "all"},
	{"vmac1 → all" + sentBack, "w", "1", "all"},
}

var demoModes = []struct {
	name string
	mode classify.Mode
}{
	{"private", classify.Private}, {"vepa", classify.Vepa}, {"bridge", classify.Bridge},
	{"passthru", classify.Passthru}, {"source", classify.Source},
}

// Demo builds a parent, a host on the wire and vmacs in namespaces of their
// own, for each mode; sends frames, captures who hears them and compares with
// the decision and with the kernel's macvlan; then runs TCP through it. It says
// what it is doing through progress. Each TCP run lasts the given time.
func Demo(ctx context.Context, stream time.Duration, progress func(string)) (*DemoReport, error) {
	if err := CheckTUN(); err != nil {
		return nil, err
	}
	if ns, err := NewNS(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, howToGetNamespaces)
	} else if err := ns.Close(); err != nil {
		return nil, err
	}
	r := &DemoReport{Kernel: HasMacvlan(), Ledger: []string{}, OK: true}
	e := NewEmulator()
	defer e.Close()
	for _, m := range demoModes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		progress("sending frames: " + m.name)
		column, err := r.mode(e, m.name, m.mode)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		if r.Kernel {
			theirs, err := r.mode(Kernel(), m.name, m.mode)
			if err != nil {
				return nil, fmt.Errorf("%s, kernel: %w", m.name, err)
			}
			for i := range column.Cells {
				column.Cells[i].Kernel = theirs.Cells[i].Heard
			}
		}
		for i := range column.Cells {
			column.Cells[i].judge()
			r.OK = r.OK && column.Cells[i].OK
		}
		r.Modes = append(r.Modes, column)
	}
	if err := r.tcp(ctx, e, stream, progress); err != nil {
		return nil, err
	}
	r.OK = r.OK && len(r.Ledger) == 0
	return r, nil
}

// audit notes which equations of the ledger are off once all is quiet. It must
// be asked while the parent still exists.
func (r *DemoReport) audit(d Driver) {
	e, ok := d.(*Emulator)
	if !ok {
		return
	}
	var off []string
	_ = poll(time.Second, func() (bool, error) { off = e.Unbalanced(); return len(off) == 0, nil })
	r.Ledger = append(r.Ledger, off...)
	r.Balanced += len(e.Engine.Ledgers())
}

// mode plays all frames in one mode on one driver.
func (r *DemoReport) mode(d Driver, name string, mode classify.Mode) (DemoMode, error) {
	col := DemoMode{Mode: name, Vmacs: 3}
	if mode == classify.Passthru {
		col.Vmacs = 1 // a passthru vmac has its parent to itself
	}
	s, err := newStage(d, mode, col.Vmacs, false)
	if err != nil {
		return col, err
	}
	defer s.close()
	table, err := s.table()
	if err != nil {
		return col, err
	}
	if err := s.settle(); err != nil {
		return col, err
	}
	for _, f := range demoFrames {
		cell := DemoCell{Frame: f.label, Kind: "unicast", Sender: f.at, Heard: []string{}, Decided: []string{}}
		if f.to == "all" {
			cell.Kind = "broadcast"
		}
		if f.to == "2" && col.Vmacs < 2 {
			cell.Impossible = true
		} else {
			frame := buildFrame(s.mac(f.to), s.mac(f.from), nil, EtherType, s.next(), 60)
			cell.Decided = decide(table, f, frame, s.mac("h"))
			if cell.Heard, err = s.play(f.at, frame, cell.Decided); err != nil {
				return col, fmt.Errorf("%s: %w", f.label, err)
			}
			r.Sent++
		}
		col.Cells = append(col.Cells, cell)
	}
	r.Seen += s.seen
	r.audit(d)
	return col, nil
}

// decide asks classify who hears a frame.
func decide(t *classify.Table, f demoFrame, frame []byte, parent net.HardwareAddr) []string {
	heard := map[string]bool{}
	var copies []classify.Copy
	var v classify.Verdict
	switch f.at {
	case "h": // what the host sends goes to the wire; macvlan is not asked
		heard["w"] = true
	case "w":
		typ := classify.TypeOther
		switch {
		case f.to == "all":
			typ = classify.TypeBroadcast
		case f.to == "h":
			typ = classify.TypeHost
		}
		copies, v = t.Ingress(frame, classify.Meta{Type: typ}, nil)
		heard["h"] = v.Host && typ != classify.TypeOther
	default:
		copies, v = t.Egress(int(f.at[0]-'1'), frame, classify.Meta{}, nil)
		heard["w"] = v.Wire
	}
	for _, c := range copies {
		if c.Reason == classify.Delivered {
			heard[Hearers[c.Vmac]] = true
		}
	}
	return inOrder(heard)
}

func inOrder(heard map[string]bool) []string {
	list := []string{}
	for _, h := range Hearers {
		if heard[h] {
			list = append(list, h)
		}
	}
	return list
}

// tcp runs streams over bridge vmacs, emulated and the kernel's in turn.
func (r *DemoReport) tcp(ctx context.Context, e *Emulator, stream time.Duration, progress func(string)) error {
	ways := []struct{ name, from, to string }{
		{"wire → vmac1", "w", "1"}, {"vmac1 → wire", "1", "w"}, {"vmac1 → vmac2", "1", "2"},
	}
	drivers := []Driver{e}
	if r.Kernel {
		drivers = append(drivers, Kernel())
	}
	var stages []*stage
	for _, d := range drivers {
		s, err := newStage(d, classify.Bridge, 2, true)
		if err != nil {
			return err
		}
		defer s.close()
		for i, h := range []string{"w", "1", "2"} {
			if err := s.device(h).AddAddr(fmt.Sprintf("10.77.0.%d/24", i+1)); err != nil {
				return err
			}
		}
		if err := s.settle(); err != nil {
			return fmt.Errorf("TCP over %s: %w", d.Name(), err)
		}
		stages = append(stages, s)
	}
	address := map[string]netip.Addr{"w": netip.AddrFrom4([4]byte{10, 77, 0, 1}), "1": netip.AddrFrom4([4]byte{10, 77, 0, 2}), "2": netip.AddrFrom4([4]byte{10, 77, 0, 3})}
	for _, w := range ways {
		row := DemoTCP{Way: w.name}
		for range 2 {
			for _, s := range stages {
				progress(fmt.Sprintf("TCP %s through %s", w.name, s.Driver.Name()))
				got, err := TCP(ctx, s.device(w.from).NS, s.device(w.to).NS, address[w.to], stream)
				if err != nil {
					return fmt.Errorf("TCP %s over %s: %w", w.name, s.Driver.Name(), err)
				}
				if s.Driver == Driver(e) {
					row.Emulator = append(row.Emulator, got.BitsPerSecond())
				} else {
					row.Kernel = append(row.Kernel, got.BitsPerSecond())
				}
			}
		}
		r.Streams = append(r.Streams, row)
	}
	r.audit(e)
	return nil
}
