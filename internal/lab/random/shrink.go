package random

import (
	"slices"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Shrink makes a scenario smaller as long as differs says that the smaller one
// still shows what it is about: steps, vmacs and options go, in this order,
// until nothing more can or the time is up. It never changes the one it was
// given. The scenario handed to differs is its own.
func Shrink(s *scenario.Scenario, until time.Duration, differs func(*scenario.Scenario) bool) *scenario.Scenario {
	k := &shrinker{best: s, differs: differs, end: time.Now().Add(until)}
	for progress := true; progress && time.Now().Before(k.end); {
		progress = k.steps()
		progress = k.vmacs() || progress
		progress = k.options() || progress
	}
	return k.best
}

type shrinker struct {
	best    *scenario.Scenario
	differs func(*scenario.Scenario) bool
	end     time.Time
}

// try keeps a smaller scenario if it will do.
func (k *shrinker) try(s *scenario.Scenario) bool {
	if s == nil || time.Now().After(k.end) || len(s.Format()) >= len(k.best.Format()) || !k.differs(s) {
		return false
	}
	k.best = s
	return true
}

// steps leaves out runs of steps, long ones first.
func (k *shrinker) steps() (progress bool) {
	for size := len(k.best.Steps); size > 0; size /= 2 {
		for at := len(k.best.Steps) - size; at > -size; at -= size {
			from, to := max(0, at), min(at+size, len(k.best.Steps))
			if from >= to {
				continue
			}
			s := clone(k.best)
			s.Steps = slices.Delete(s.Steps, from, to)
			progress = k.try(tidy(s, k.best)) || progress
		}
	}
	return progress
}

func (k *shrinker) vmacs() (progress bool) {
	for i := len(k.best.Vmacs) - 1; i >= 0; i-- {
		s := clone(k.best)
		s.Vmacs = slices.Delete(s.Vmacs, i, i+1)
		progress = k.try(tidy(s, k.best)) || progress
	}
	return progress
}

// options leaves out one word after the other.
func (k *shrinker) options() (progress bool) {
	for i := range k.best.Vmacs {
		for _, drop := range vmacOptions {
			s := clone(k.best)
			if drop(&s.Vmacs[i]) {
				progress = k.try(tidy(s, k.best)) || progress
			}
		}
	}
	for i := range k.best.Steps {
		for _, drop := range sendOptions {
			s := clone(k.best)
			if send := s.Steps[i].Send; send != nil && drop(send) {
				progress = k.try(tidy(s, k.best)) || progress
			}
		}
		for _, drop := range vmacOptions {
			s := clone(k.best)
			if c := s.Steps[i].Control; c != nil && c.Vmac != nil && drop(c.Vmac) {
				progress = k.try(tidy(s, k.best)) || progress
			}
		}
		for _, drop := range linkOptions {
			s := clone(k.best)
			if c := s.Steps[i].Control; c != nil && c.Link != nil && drop(c.Link) && !empty(c.Link) {
				progress = k.try(tidy(s, k.best)) || progress
			}
		}
	}
	return progress
}

// reset makes a field what it is when nothing is said, and says whether it was
// something else.
func reset[T comparable](p *T) bool {
	var zero T
	if *p == zero {
		return false
	}
	*p = zero
	return true
}

func onLink(f func(*scenario.Link) bool) func(*scenario.Vmac) bool {
	return func(v *scenario.Vmac) bool { return f(&v.Link) }
}

var linkOptions = []func(*scenario.Link) bool{
	func(l *scenario.Link) bool { return reset(&l.Flags) },
	func(l *scenario.Link) bool { return reset(&l.BCQueueLen) },
	func(l *scenario.Link) bool { return reset(&l.BCLim) },
	func(l *scenario.Link) bool {
		l.List, l.Macaddr = nil, ""
		return reset(&l.MacaddrMode)
	},
	func(l *scenario.Link) bool {
		if len(l.List) < 2 {
			return false
		}
		l.List = l.List[:1]
		return true
	},
	func(l *scenario.Link) bool {
		if len(l.List) < 2 {
			return false
		}
		l.List = l.List[1:]
		return true
	},
}

func empty(l *scenario.Link) bool {
	return l.Mode == nil && l.Flags == nil && l.BCQueueLen == nil && l.BCLim == nil && l.MacaddrMode == nil
}

var vmacOptions = []func(*scenario.Vmac) bool{
	onLink(linkOptions[0]), onLink(linkOptions[1]), onLink(linkOptions[2]), onLink(linkOptions[3]), onLink(linkOptions[4]), onLink(linkOptions[5]),
	func(v *scenario.Vmac) bool { return reset(&v.MTU) },
	func(v *scenario.Vmac) bool { return reset(&v.Broadcast) },
	func(v *scenario.Vmac) bool { return reset(&v.Promisc) },
	func(v *scenario.Vmac) bool { return reset(&v.Allmulti) },
	func(v *scenario.Vmac) bool { return reset(&v.Down) },
	func(v *scenario.Vmac) bool { return reset(&v.Netns) },
	func(v *scenario.Vmac) bool { return reset(&v.On) },
	dropGroup, dropGroup, dropGroup,
}

func dropGroup(v *scenario.Vmac) bool {
	if len(v.Groups) == 0 {
		return false
	}
	v.Groups = v.Groups[1:]
	return true
}

var sendOptions = []func(*scenario.Send) bool{
	func(s *scenario.Send) bool { some := s.Kind != nil; s.Kind = nil; return some },
	func(s *scenario.Send) bool { some := s.Tags != nil; s.Tags = nil; return some },
	func(s *scenario.Send) bool { return reset(&s.Type) },
	func(s *scenario.Send) bool { return reset(&s.Len) },
}

// clone copies everything that a shrinker changes.
func clone(s *scenario.Scenario) *scenario.Scenario {
	c := *s
	c.Vmacs = slices.Clone(s.Vmacs)
	c.Steps = slices.Clone(s.Steps)
	for i := range c.Steps {
		st := &c.Steps[i]
		if st.Send != nil {
			st.Send = ptr(*st.Send)
		}
		if st.Control != nil {
			st.Control = ptr(*st.Control)
			if st.Control.Vmac != nil {
				st.Control.Vmac = ptr(*st.Control.Vmac)
			}
			if st.Control.Link != nil {
				st.Control.Link = ptr(*st.Control.Link)
			}
		}
	}
	return &c
}

// tidy makes a scenario whole again from which something was taken: nobody who
// isn't made sends or is acted on, and names of addresses that went are octets,
// as they were in the whole one. It returns nil if a passthru vmac's name is left
// without meaning.
func tidy(s, whole *scenario.Scenario) *scenario.Scenario {
	made := map[string]bool{}
	for _, v := range s.Vmacs {
		made[v.Name] = true
	}
	var steps []scenario.Step
	for _, st := range s.Steps {
		if c := st.Control; c != nil {
			if c.Vmac != nil {
				if on := c.Vmac.On; on != "" && !made[on] && !slices.Contains(nowhere, on) {
					continue
				}
				made[c.Vmac.Name] = true
			} else if c.Who != "" && c.Who != scenario.Port && !made[c.Who] {
				continue
			}
		}
		if f := st.Send; f != nil && f.From != scenario.Wire && f.From != scenario.Host && !made[f.From] {
			continue
		}
		steps = append(steps, st)
	}
	s.Steps = steps
	refresh(s)
	for i := range s.Steps {
		if f := s.Steps[i].Send; f != nil && f.Bytes == nil {
			for _, a := range []*scenario.Addr{&f.Dst, &f.Src} {
				was, err := whole.MAC(*a)
				if err != nil {
					return nil
				}
				if now, err := s.MAC(*a); err != nil || now != was {
					*a = addr(was)
				}
			}
		}
	}
	return s
}

var nowhere = []string{scenario.OnNone, scenario.OnMissing, scenario.OnLo, scenario.OnBusy}
