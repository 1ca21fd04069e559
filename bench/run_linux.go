package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// Options of a run.
type Options struct {
	Contenders  []Contender   // the first is the baseline
	Repetitions int           // of each case and contender
	Warmup      time.Duration // not counted, at the start of each
	Last        time.Duration // counted
	Calm        time.Duration // how long to wait at most, before each, for a machine that has nothing else to do

	// Parent is a device of the caller's that the vmacs are put on, and Wire the
	// one that it is connected to, "" if that is on another machine: then only
	// vmacs can talk to each other. Without a parent a pair of devices is made.
	Parent, Wire string

	// Step, if set, hears before each repetition what is next and how much of
	// the run is over, from 0 to 1.
	Step func(what string, done float64)
}

// Quick is below a minute for the cases of the quick profile.
func Quick() Options {
	return Options{Repetitions: 5, Warmup: 100 * time.Millisecond, Last: 250 * time.Millisecond}
}

// Full takes a while.
func Full() Options {
	return Options{Repetitions: 7, Warmup: 300 * time.Millisecond, Last: time.Second, Calm: 2 * time.Second}
}

// narrow is how many of the contenders take part in a case that isn't Wide.
const narrow = 2

// side is a contender in a case.
type side struct {
	label     string
	contender Contender
	scene     Scene
}

// sides of a case; a contender that can't take part is left out.
func (o *Options) sides(c Case) (list []side, err error) {
	if c.Sides == nil {
		contenders := o.Contenders
		if !c.Wide && len(contenders) > narrow {
			contenders = contenders[:narrow]
		}
		for _, x := range contenders {
			list = append(list, side{x.Name, x, c.Scene})
		}
		return list, nil
	}
	for _, s := range c.Sides {
		x, err := ParseContender(s.Contender)
		if err != nil {
			return nil, err
		}
		if s.Contender == "kernel" && !o.has("kernel") {
			continue
		}
		list = append(list, side{s.Label, x, s.Scene})
	}
	return list, nil
}

func (o *Options) has(kind string) bool {
	for _, x := range o.Contenders {
		if x.kind == kind {
			return true
		}
	}
	return false
}

// runner is a run under way.
type runner struct {
	*Options
	ctx  context.Context
	site *site
	beds map[bedKey]*bed
	last map[bedKey]int // the last case that needs it
	done int
	all  int
}

type bedKey struct {
	contender string
	scene     Scene
}

// Run plays the cases. Within a case the contenders take turns, A B A B.
// Everything that it makes (namespaces, devices, processes) is gone when it
// returns. It needs root. Results before an error are returned with it.
func Run(ctx context.Context, o Options, cases []Case) (results []Result, err error) {
	r := &runner{Options: &o, ctx: ctx, beds: map[bedKey]*bed{}, last: map[bedKey]int{}}
	defer func() { err = errors.Join(err, r.close()) }()
	plan := make([][]side, len(cases))
	for i, c := range cases {
		if err := o.Suits(c); err != nil {
			return nil, err
		}
		if plan[i], err = o.sides(c); err != nil {
			return nil, err
		}
		r.all += len(plan[i]) * o.Repetitions
		for _, s := range plan[i] {
			r.last[bedKey{s.contender.Spec, s.scene}] = i
		}
	}
	if o.Parent != "" {
		if r.site, err = newSite(o.Parent, o.Wire); err != nil {
			return nil, err
		}
	}
	for i, c := range cases {
		result, err := r.play(c, plan[i])
		if err != nil {
			return results, err
		}
		results = append(results, result)
		for key, b := range r.beds {
			if r.last[key] == i {
				delete(r.beds, key)
				if err := b.Close(); err != nil {
					return results, err
				}
			}
		}
	}
	return results, nil
}

func (r *runner) close() (err error) {
	for _, b := range r.beds {
		err = errors.Join(err, b.Close())
	}
	if r.site != nil {
		err = errors.Join(err, r.site.close())
	}
	return err
}

// Suits says why a case can't be played on a parent of the caller's.
func (o *Options) Suits(c Case) error {
	if o.Parent == "" {
		return nil
	}
	why := ""
	switch {
	case c.Sides != nil || c.Way == Host || c.Shaped > 0 || c.Scene.Software:
		why = "needs a parent of its own"
	case c.Way != Sibling && o.Wire == "":
		why = "needs the other end of the parent's cable: --wire"
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("case %s %s", c.Key, why)
}

// Suitable leaves out the cases that can't be played on the caller's parent.
func (o *Options) Suitable(cases []Case) (list []Case) {
	for _, c := range cases {
		if o.Suits(c) == nil {
			list = append(list, c)
		}
	}
	return list
}

func (r *runner) play(c Case, sides []side) (Result, error) {
	result := Result{Case: c}
	for _, s := range sides {
		result.Series = append(result.Series, Series{Contender: s.label})
	}
	for range r.Repetitions {
		for i, s := range sides {
			series := &result.Series[i]
			if err := r.ctx.Err(); err != nil {
				return result, err
			}
			if r.Step != nil {
				r.Step(c.Title+", "+s.label, float64(r.done)/float64(r.all))
			}
			r.done++
			if series.Failed != "" {
				continue
			}
			sample, path, err := r.turn(c, s)
			if r.ctx.Err() != nil { // what broke was broken off
				return result, r.ctx.Err()
			}
			if err != nil && i > 0 && s.contender.others() {
				dropped := r.drop(s)
				if dropped == nil {
					*series = Series{Contender: s.label, Samples: []Sample{}, Failed: err.Error()}
					continue
				}
				err = errors.Join(err, dropped)
			}
			if err != nil {
				return result, fmt.Errorf("%s, %s: %w", c.Title, s.label, err)
			}
			series.Path = cmp.Or(path, series.Path)
			series.Samples = append(series.Samples, sample)
		}
	}
	return result, r.ctx.Err() // what failed last may have been broken off
}

// drop closes a side's bed, of which nobody knows what state it is in.
func (r *runner) drop(s side) error {
	key := bedKey{s.contender.Spec, s.scene}
	b := r.beds[key]
	if b == nil {
		return nil
	}
	delete(r.beds, key)
	return b.Close()
}

// turn is one repetition on the side's bed, which is kept for the next unless
// others need the same parent.
func (r *runner) turn(c Case, s side) (sample Sample, path string, err error) {
	key := bedKey{s.contender.Spec, s.scene}
	b := r.beds[key]
	if b == nil {
		var driver lab.Driver
		if driver, err = s.contender.driver(); err != nil {
			return sample, "", err
		}
		if b, err = newBed(driver, s.scene, r.site); err != nil {
			return sample, "", err
		}
		if r.site == nil {
			r.beds[key] = b
		} else {
			defer func() { err = errors.Join(err, b.Close()) }()
		}
	}
	busy, err := awaitCalm(r.Calm)
	if err != nil {
		return sample, "", err
	}
	if sample, err = r.once(c, b); err != nil {
		return sample, "", err
	}
	if busy > calm {
		sample.Metrics["CPUs busy beforehand %"] = 100 * busy
	}
	path, err = b.path()
	return sample, path, err
}

// driver starts the contender. The driver's vmacs end with it.
func (c Contender) driver() (lab.Driver, error) {
	if err := c.Missing(); err != nil {
		return nil, err
	}
	switch c.kind {
	case "umacvlan":
		return &emulator{exe: c.exe, options: c.options}, nil
	case "naive":
		return &naive{}, nil
	case "ovs":
		return newOVS()
	case "vde":
		return newVDE()
	}
	return lab.Kernel(), nil
}
