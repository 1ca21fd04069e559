package bench

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// Contender is one switch that takes part.
type Contender struct {
	Name string
	// Driver starts it. The driver's vmacs end with it.
	Driver func() (lab.Driver, error)
}

// Kernel is the kernel's own macvlan with its defaults.
func Kernel() Contender {
	return Contender{"kernel macvlan", func() (lab.Driver, error) { return lab.Kernel(), nil }}
}

// Emulator is this project, in a process of its own, on a backend of the parent
// (dataplane.WireOptions); "" is the default one.
func Emulator(wire string) Contender {
	name := "umacvlan"
	if wire != "" {
		name += " wire=" + wire
	}
	return Contender{name, func() (lab.Driver, error) { return &emulator{wire: wire}, nil }}
}

// EmulatorFrom is another build of this project: exe is a program that calls
// RunChild, such as a test binary of this package from another commit.
func EmulatorFrom(name, exe string) Contender {
	return Contender{name, func() (lab.Driver, error) { return &emulator{exe: exe}, nil }}
}

// Options of a run.
type Options struct {
	Contenders  []Contender   // the first is the baseline; nil is Kernel and Emulator
	Repetitions int           // of each case and contender
	Warmup      time.Duration // not counted, at the start of each
	Last        time.Duration // counted
	Calm        time.Duration // how long to wait at most, before each, for a machine that has nothing else to do
	Progress    io.Writer     // one line per repetition, or nil
}

// Quick is about a minute for all cases.
func Quick() Options {
	return Options{Repetitions: 5, Warmup: 150 * time.Millisecond, Last: 450 * time.Millisecond}
}

// Full is about seven minutes.
func Full() Options {
	return Options{Repetitions: 9, Warmup: 500 * time.Millisecond, Last: 2500 * time.Millisecond, Calm: 5 * time.Second}
}

// Run plays the cases. Within a case the contenders take turns, A B A B.
// Everything that it makes (namespaces, devices, processes) is gone when it
// returns. It needs root. Results before an error are returned with it.
func Run(o Options, cases []Case) (results []Result, err error) {
	if len(o.Contenders) == 0 {
		o.Contenders = []Contender{Kernel(), Emulator("")}
	}
	var beds []*bed
	defer func() {
		for _, b := range beds {
			err = errors.Join(err, b.Close())
		}
	}()
	for _, c := range o.Contenders {
		driver, err := c.Driver()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		b, err := newBed(driver)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		beds = append(beds, b)
	}
	for _, c := range cases {
		r, err := o.play(c, beds)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

func (o *Options) play(c Case, beds []*bed) (Result, error) {
	r := Result{Case: c}
	for i := range beds {
		r.Series = append(r.Series, Series{Contender: o.Contenders[i].Name})
	}
	for range o.Repetitions {
		for i, b := range beds {
			busy, err := awaitCalm(o.Calm)
			if err != nil {
				return r, err
			}
			s, err := o.once(c, b)
			if err != nil {
				return r, fmt.Errorf("%s, %s: %w", c.Title, o.Contenders[i].Name, err)
			}
			if busy > calm {
				s.Notes["CPUs busy beforehand, %"] = 100 * busy
			}
			r.Series[i].Samples = append(r.Series[i].Samples, s)
			if o.Progress != nil {
				fmt.Fprintf(o.Progress, "%s, %s: %.2f %s\n", c.Title, o.Contenders[i].Name, s.Value, c.Unit)
			}
		}
	}
	return r, nil
}

// once is one repetition of a case on a bed. What the receiver got must have
// gone through the driver, as the driver's own counters say.
func (o *Options) once(c Case, b *bed) (s Sample, err error) {
	from, to := b.wire, b.vmacs[1]
	switch c.Way {
	case Out:
		from, to = b.vmacs[0], b.wire
	case Sibling:
		from = b.vmacs[0]
	}
	if c.Parent > 0 {
		if err := b.shape(c.Parent); err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, b.shape(0)) }()
	}
	dropped, err := quiet(b.driver)
	if err != nil {
		return s, err
	}
	sent, err := b.counters(from)
	if err != nil {
		return s, err
	}
	got, err := b.counters(to)
	if err != nil {
		return s, err
	}
	var carried lab.Counters // at least, on the way from and on the way to
	if c.Kind == TCP {
		s, carried.RxBytes, err = o.tcp(from, to)
	} else {
		s, carried.RxPackets, err = o.frames(b, from, to)
	}
	if err != nil {
		return s, err
	}
	after, err := quiet(b.driver)
	if err != nil {
		return s, err
	}
	s.Drops = since(dropped, after)
	if b.isVmac(from) {
		now, err := b.counters(from)
		if err != nil {
			return s, err
		}
		if d := now.Sub(sent); d.TxBytes < carried.RxBytes || d.TxPackets < carried.RxPackets {
			return s, fmt.Errorf("%s sent %d bytes in %d frames, but %d bytes or %d frames arrived", from.Name, d.TxBytes, d.TxPackets, carried.RxBytes, carried.RxPackets)
		}
	}
	if b.isVmac(to) {
		now, err := b.counters(to)
		if err != nil {
			return s, err
		}
		if d := now.Sub(got); d.RxBytes < carried.RxBytes || d.RxPackets < carried.RxPackets {
			return s, fmt.Errorf("%s received %d bytes in %d frames, but %d bytes or %d frames arrived", to.Name, d.RxBytes, d.RxPackets, carried.RxBytes, carried.RxPackets)
		}
	}
	return s, nil
}
