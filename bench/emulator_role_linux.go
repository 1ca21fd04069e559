package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control"
)

// profileVariable names a file that an emulator's CPU profile is written to.
const profileVariable = "UMACVLAN_BENCH_CPUPROFILE"

// engine is what runs in an emulator process.
type engine struct {
	*control.Engine
	stop context.CancelFunc
	done chan error
}

// emulatorRole runs the daemon's engine and answers orders until there are no
// more.
func emulatorRole(in *json.Decoder, out *json.Encoder) (err error) {
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
	var e *engine
	defer func() {
		if e != nil {
			err = errors.Join(err, e.close())
		}
	}()
	for {
		var o emulatorOrder
		if err := in.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if e == nil {
			e = startEngine(o.Options)
		}
		a, err := e.serve(&o)
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// startEngine starts it with the options of the daemon, but for those that are
// to be forced.
func startEngine(options []string) *engine {
	o := control.EngineOptions{AbandonedEvery: 2 * time.Second}
	for _, option := range options {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "wire":
			o.Wire.Backend = value
		case "offload":
			o.Wire.NoHeader = value == "off"
		case "waking":
			o.Wire.Waking = value
		case "steal":
			o.Steal = value
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	e := &engine{control.NewEngine(o), stop, make(chan error, 1)}
	go func() { e.done <- e.Run(ctx) }()
	return e
}

func (e *engine) serve(o *emulatorOrder) (a emulatorAnswer, err error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return a, err
	}
	a.Mallocs, a.CPU = m.Mallocs, time.Duration(u.Utime.Nano()+u.Stime.Nano())
	switch {
	case o.Add != nil:
		err = e.in(o.In, func(ns control.Namespace) error { return e.add(o.Add, ns) })
	case o.Show != "":
		err = e.in(o.In, func(ns control.Namespace) error {
			links, err := e.Links(ns, o.Show)
			if err == nil && len(links) != 1 {
				err = fmt.Errorf("the engine knows %d devices named %s", len(links), o.Show)
			}
			if err == nil {
				a.Shown = &links[0]
			}
			return err
		})
	default:
		a.Ledgers = e.Ledgers()
	}
	return a, err
}

// add makes vmacs. Requests that come together are published together.
func (e *engine) add(list []control.LinkRequest, ns control.Namespace) error {
	var wg sync.WaitGroup
	errs := make([]error, len(list))
	for i, r := range list {
		wg.Go(func() {
			if _, refusal := e.Link(context.Background(), r, ns); refusal != nil {
				errs[i] = fmt.Errorf("add %s: %w", r.Name, refusal)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (e *engine) in(path string, fn func(control.Namespace) error) error {
	ns, err := control.OpenNamespace(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return fn(ns)
}

func (e *engine) close() error {
	e.stop()
	if err := <-e.done; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// within runs fn in the network namespace at path.
func within(path string, fn func() error) error {
	ns, err := control.OpenNamespace(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(fn)
}
