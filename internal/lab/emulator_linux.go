package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/umacvlan/umacvlan/internal/control"
)

// Emulator is the Driver of this project: control's engine, run in this
// process. Any number of topologies may share one.
type Emulator struct {
	Engine *control.Engine

	stop context.CancelFunc
	done chan error
}

// NewEmulator starts an engine. What it warns of goes to slog's default logger.
func NewEmulator() *Emulator {
	return startEmulator(control.EngineOptions{Logger: slog.New(warnings{slog.Default().Handler()})})
}

// warnings lets no lesser message through.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }
func (w warnings) WithGroup(name string) slog.Handler   { return warnings{w.Handler.WithGroup(name)} }

func startEmulator(o control.EngineOptions) *Emulator {
	ctx, stop := context.WithCancel(context.Background())
	e := &Emulator{Engine: control.NewEngine(o), stop: stop, done: make(chan error, 1)}
	go func() { e.done <- e.Engine.Run(ctx) }()
	return e
}

func (e *Emulator) Name() string { return "umacvlan" }

// Add asks the engine for what addMacvlan asks the kernel for.
func (e *Emulator) Add(parent *Device, v *Vmac) error {
	mode := uint32(v.Mode)
	r := control.LinkRequest{
		Op: "add", Name: v.Name, Parent: parent.Name, Kind: "macvlan",
		Data: &control.MacvlanData{Mode: &mode, BCQueueLen: v.BCQueueLen, BCLim: v.BCLim},
	}
	if v.MAC != nil {
		s := v.MAC.String()
		r.Address = &s
	}
	if v.Flags != 0 {
		f := uint16(v.Flags)
		r.Data.Flags = &f
	}
	if len(v.Sources) > 0 {
		set := uint32(3)
		r.Data.MacaddrMode = &set
		for _, m := range v.Sources {
			r.Data.MacaddrData = append(r.Data.MacaddrData, m.String())
		}
	}
	if v.NS.Inode() != parent.NS.Inode() {
		p := v.NS.Path()
		r.ToNetns = &p
	}
	ns, err := control.OpenNamespace(parent.NS.Path())
	if err != nil {
		return err
	}
	defer ns.Close()
	if _, refusal := e.Engine.Link(context.Background(), r, ns); refusal != nil {
		return fmt.Errorf("emulated macvlan %s on %s: %w", v.Name, parent.Name, refusal)
	}
	return nil
}

// Counters returns what the engine counts for a vmac, not the TAP's own.
func (e *Emulator) Counters(d *Device) (Counters, error) {
	l, err := e.Link(d)
	if err != nil {
		return Counters{}, err
	}
	s := l.Stats64
	return Counters{
		s.Rx.Packets, s.Rx.Bytes, s.Rx.Errors, s.Rx.Dropped, s.Rx.Multicast,
		s.Tx.Packets, s.Tx.Bytes, s.Tx.Dropped,
	}, nil
}

// Link returns what the engine says of a vmac.
func (e *Emulator) Link(d *Device) (control.Link, error) {
	ns, err := control.OpenNamespace(d.NS.Path())
	if err != nil {
		return control.Link{}, err
	}
	defer ns.Close()
	links, err := e.Engine.Links(ns, d.Name)
	if err != nil {
		return control.Link{}, err
	}
	if len(links) != 1 {
		return control.Link{}, fmt.Errorf("the engine knows %d devices named %s", len(links), d.Name)
	}
	return links[0], nil
}

// Unbalanced returns every ledger equation that isn't 0, as text.
func (e *Emulator) Unbalanced() (wrong []string) {
	for _, l := range e.Engine.Ledgers() {
		for _, q := range l.Equations {
			if q.Difference != 0 {
				wrong = append(wrong, fmt.Sprintf("%s: %s: %s (off by %d)", l.Parent, q.Name, q.Text, q.Difference))
			}
		}
	}
	return wrong
}

// Close stops the engine, which takes its devices with it.
func (e *Emulator) Close() error {
	e.stop()
	err := <-e.done
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
