package random

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Options of a Run.
type Options struct {
	Seed   uint64
	First  uint64        // number of the first scenario
	For    time.Duration // stop beginning scenarios then; 0: never
	Frames int           // or when so many frames have been compared; 0: never
	// Scenarios is how many to play at most; 0: no bound.
	Scenarios int
	Size      Size // of each scenario

	// Shrink is how long a difference may be made smaller; 0: not at all.
	Shrink time.Duration
	// Compare compares what two ways observed, and gives differences that are
	// known a number. It may be nil: scenario.Compare, which knows none.
	Compare func(s *scenario.Scenario, left, right *scenario.Result) []scenario.Difference
	// Beside are further sets of players, like the ways given to Run: each set
	// plays scenarios of its own at the same time.
	Beside [][]scenario.Player
	// Found is told of each finding at once, Progress after each scenario, never
	// both or twice at a time. Either may be nil.
	Found    func(*Finding)
	Progress func(*Report)
}

// Finding is a scenario in which two ways differ, or which one of them could not
// play.
type Finding struct {
	Number      uint64                // of the scenario, for New
	Left, Right scenario.Way          // equal if that way failed
	Differences []scenario.Difference // in Scenario, those of the list left out
	Err         error
	Again       bool // seen again when the scenario was played once more
	Scenario    *scenario.Scenario
}

// Report is what a Run found.
type Report struct {
	Seed      uint64
	First     uint64
	Scenarios int
	Frames    int // in scenarios that were compared
	Controls  int
	Took      time.Duration
	// Repeated counts plays that were played again because a group leaked
	// through a filter.
	Repeated map[scenario.Way]int
	// Listed counts frames (and actions) in which a known difference was seen,
	// by its number.
	Listed    map[string]int
	Findings  []*Finding
	Histogram *Histogram
}

// leaks bounds how often a scenario is played again for a leak. One that comes
// again every time is none.
const leaks = 20

// Run plays random scenarios in all ways and compares them with the first,
// until ctx ends or the options say so. It fails if the model can't play one.
func Run(ctx context.Context, ways []scenario.Player, o Options) (*Report, error) {
	if o.Compare == nil {
		o.Compare = scenario.Compare
	}
	c := &course{o: o, start: time.Now(), next: o.First, report: &Report{
		Seed: o.Seed, First: o.First, Repeated: map[scenario.Way]int{}, Listed: map[string]int{}, Histogram: NewHistogram(),
	}}
	sets := append([][]scenario.Player{ways}, o.Beside...)
	errs := make([]error, len(sets))
	var wg sync.WaitGroup
	for i, ways := range sets {
		wg.Go(func() {
			r := &runner{ways: ways, o: o, model: scenario.NewModel(), course: c}
			for errs[i] == nil {
				n, more := c.take()
				if !more || ctx.Err() != nil {
					return
				}
				if err := r.scenario(ctx, n); err != nil && ctx.Err() == nil {
					errs[i] = err
				}
			}
		})
	}
	wg.Wait()
	return c.report, errors.Join(errs...)
}

// course is what all sets of players have in common.
type course struct {
	o     Options
	start time.Time

	mu     sync.Mutex
	next   uint64
	report *Report
}

// take hands out the number of a scenario.
func (c *course) take() (n uint64, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.For > 0 && time.Since(c.start) >= c.o.For || c.o.Frames > 0 && c.report.Frames >= c.o.Frames ||
		c.o.Scenarios > 0 && int(c.next-c.o.First) >= c.o.Scenarios {
		return 0, false
	}
	c.next++
	return c.next - 1, true
}

// runner plays with one set of players.
type runner struct {
	ways  []scenario.Player
	o     Options
	model scenario.Player
	*course
}

func (r *runner) scenario(ctx context.Context, number uint64) error {
	s := New(r.o.Seed, number, r.o.Size)
	played, model, repeated, err := r.play(ctx, s)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	listed := map[string]map[int]bool{}
	var findings []*Finding
	for i := range played {
		f := r.compare(s, played, i, func(d scenario.Difference) {
			if listed[d.Listed] == nil {
				listed[d.Listed] = map[int]bool{}
			}
			listed[d.Listed][d.Step] = true
		})
		if f != nil {
			f.Number = number
			findings = append(findings, r.found(ctx, f, i))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	report := r.report
	report.Scenarios++
	report.Histogram.Add(s, model)
	for _, st := range s.Steps {
		if st.Send != nil {
			report.Frames++
		} else {
			report.Controls++
		}
	}
	for i, p := range r.ways {
		report.Repeated[p.Way()] += repeated[i]
	}
	for number, steps := range listed {
		report.Listed[number] += len(steps)
	}
	report.Findings = append(report.Findings, findings...)
	report.Took = time.Since(r.start)
	if r.o.Found != nil {
		for _, f := range findings {
			r.o.Found(f)
		}
	}
	if r.o.Progress != nil {
		r.o.Progress(report)
	}
	return nil
}

// outcome is one way's.
type outcome struct {
	result *scenario.Result
	err    error
}

// play plays a scenario in all ways at once, and says how often each played it
// again because a group leaked: only then, and only if it made a difference that
// nobody has listed. Some that are listed look like a leak, and come every time.
func (r *runner) play(ctx context.Context, s *scenario.Scenario) ([]outcome, *scenario.Result, []int, error) {
	raw, err := r.model.Play(ctx, s)
	if err != nil {
		return nil, nil, nil, err
	}
	model := Fold(s, raw)
	list := make([]outcome, len(r.ways))
	repeated := make([]int, len(r.ways))
	play := map[int]bool{}
	for i, p := range r.ways {
		if list[i].result = model; p.Way() != scenario.Model {
			play[i] = true
		}
	}
	for n := 0; ; n++ {
		var wg sync.WaitGroup
		for i := range play {
			wg.Go(func() { list[i].result, list[i].err = r.ways[i].Play(ctx, s) })
		}
		wg.Wait()
		clear(play)
		for i := range list {
			if f := r.compare(s, list, i, func(scenario.Difference) {}); f == nil || f.Err != nil {
				continue
			}
			for _, side := range []int{0, i} {
				if r.ways[side].Way() != scenario.Model && Leaked(s, raw, list[side].result) {
					play[side] = true
				}
			}
		}
		if len(play) == 0 || n == leaks {
			return list, raw, repeated, nil
		}
		for i := range play {
			repeated[i]++
		}
	}
}

// Leaked reports whether somebody got a group that, as the model says, it has
// not subscribed to: its filter takes the group for another, or the port's does,
// which is made of those of all vmacs. That depends on
// where it is in memory and passes with it. What is then refused for its size, or
// is no frame any more when it arrives, only shows in what is counted: as no more
// than there were such groups.
func Leaked(s *scenario.Scenario, model, r *scenario.Result) bool {
	folded := Fold(s, model)
	for _, b := range Bursts(s) {
		if b.End > min(len(model.Outcomes), len(r.Outcomes)) {
			break
		}
		refused := map[string]uint64{}
		for i := b.First; i < b.End; i++ {
			for _, w := range model.Outcomes[i].Why {
				if w.Reason != classify.NotSubscribed && w.Reason != classify.PortFilter {
					continue
				}
				if slices.ContainsFunc(r.Outcomes[i].Gets, func(d scenario.Delivery) bool { return d.Who == w.Who }) {
					return true
				}
				refused[w.Who] += uint64(max(1, s.Steps[i].Send.Times))
			}
		}
		want, got := folded.Outcomes[b.End-1].Counts, r.Outcomes[b.End-1].Counts
		for who, n := range refused {
			w, g := counted(want, who), counted(got, who)
			more := g.Multicast + g.RxErrors - w.Multicast - w.RxErrors // huge if it is less
			if more > 0 && more <= n && g.RxPackets >= w.RxPackets {
				return true
			}
		}
	}
	return false
}

func counted(list []scenario.Count, who string) scenario.Counters {
	if i := slices.IndexFunc(list, func(c scenario.Count) bool { return c.Who == who }); i >= 0 {
		return list[i].Counters
	}
	return scenario.Counters{}
}

// compare makes a finding of how a way differs from the first, or failed; nil
// if neither. The known differences go to listed.
func (r *runner) compare(s *scenario.Scenario, played []outcome, i int, listed func(scenario.Difference)) *Finding {
	f := &Finding{Left: r.ways[0].Way(), Right: r.ways[i].Way(), Scenario: s}
	if f.Err = played[i].err; errors.Is(f.Err, errors.ErrUnsupported) {
		return nil
	} else if f.Err != nil {
		f.Left = f.Right
		return f
	}
	if i == 0 || played[0].err != nil {
		return nil
	}
	for _, d := range r.o.Compare(s, played[0].result, played[i].result) {
		if d.Listed != "" {
			listed(d)
		} else {
			f.Differences = append(f.Differences, d)
		}
	}
	if len(f.Differences) == 0 {
		return nil
	}
	return f
}

// found looks whether a finding comes again, and makes it small.
func (r *runner) found(ctx context.Context, f *Finding, way int) *Finding {
	kinds := map[string]bool{}
	for _, d := range f.Differences {
		kinds[d.Kind] = true
	}
	var last *Finding
	differs := func(s *scenario.Scenario) bool {
		if ctx.Err() != nil {
			return false
		}
		ways := []scenario.Player{r.ways[0]}
		if way > 0 {
			ways = append(ways, r.ways[way])
		}
		part := &runner{ways: ways, o: r.o, model: r.model}
		played, _, _, err := part.play(ctx, s)
		if err != nil {
			return false
		}
		again := part.compare(s, played, len(ways)-1, func(scenario.Difference) {})
		if again == nil || (again.Err == nil) != (f.Err == nil) {
			return false
		}
		if again.Err == nil && !slices.ContainsFunc(again.Differences, func(d scenario.Difference) bool { return kinds[d.Kind] }) {
			return false
		}
		last = again
		return true
	}
	if f.Again = differs(f.Scenario); f.Again {
		if r.o.Shrink > 0 {
			small := Shrink(f.Scenario, r.o.Shrink, differs)
			if last.Scenario == small || differs(small) {
				last.Number, last.Again = f.Number, true
				f = last
			}
		}
	}
	return f
}

// String says in a line what was found.
func (f *Finding) String() string {
	text := fmt.Sprintf("number %d: ", f.Number)
	if f.Err != nil {
		return text + f.Err.Error()
	}
	d := f.Differences[0]
	text += fmt.Sprintf("the %s beside the %s: %s: ", f.Right, f.Left, f.Scenario.Steps[d.Step].String())
	if d.Who != "" {
		text += d.Who + " "
	}
	text += d.What
	if n := len(f.Differences) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// Title gives a scenario that was made small a title that says what it shows.
func (f *Finding) Title() string {
	if f.Err != nil || len(f.Differences) == 0 {
		return f.Scenario.Title
	}
	d := f.Differences[0]
	return fmt.Sprintf("%s: %s %s differs between %s and %s", f.Scenario.Title, d.Who, d.Kind, f.Left, f.Right)
}

// ErrFound is returned by Report.Err if there was a difference.
var ErrFound = errors.New("unlisted differences")

// Err is nil if nothing was found and everything occurred at least n times.
func (r *Report) Err(n int) error {
	var errs []error
	if len(r.Findings) > 0 {
		errs = append(errs, fmt.Errorf("%d %w", len(r.Findings), ErrFound))
	}
	for way, n := range r.Repeated {
		// Chance makes 4 in a hundred scenarios (seed 2067, 1,858 of them); a fault
		// that is taken for leaks makes more.
		if n > leaks+r.Scenarios/4 {
			errs = append(errs, fmt.Errorf("%d plays on the %s were repeated for leaks, of %d: more than chance makes", n, way, r.Scenarios))
		}
	}
	if rare := r.Histogram.Rare(n); len(rare) > 0 {
		errs = append(errs, fmt.Errorf("%d of %d things occurred less than %d times", len(rare), len(r.Histogram.Keys()), n))
	}
	return errors.Join(errs...)
}
