package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/lab"
	"github.com/umacvlan/umacvlan/internal/lab/random"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// labFuzzCommand plays random scenarios and looks for differences.
func labFuzzCommand() *cobra.Command {
	o := labFuzz{Options: random.Options{Size: random.Size{Frames: 400, Controls: 30}}}
	cmd := &cobra.Command{
		Use:   "fuzz",
		Short: "Play random scenarios in several ways and look for differences",
		Long: "fuzz makes ports, vmacs, frames and control actions by chance, plays them in all the ways\n" +
			"given, side by side, and compares every delivery, counter and answer with those of the first:\n" +
			"of the kernel's macvlan if it is among them. What differs and isn't listed in\n" +
			"docs/semantics.md is made as small as it gets and written as a scenario that\n" +
			"\"umacvlan lab run\" plays. The exit code is 1 if anything was found, or if something that\n" +
			"can occur occurred less often than --at-least says.\n\n" +
			"The same seed makes the same scenarios, whatever they are played on.",
		Example: "  umacvlan lab fuzz --for 60s\n" +
			"  umacvlan lab fuzz --seed 7 --frames 1000000 --at-least 1000\n" +
			"  umacvlan lab fuzz --seed 7 --number 31 --scenarios 1 --on kernel,emulator",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.Uint64Var(&o.Seed, "seed", rand.Uint64N(1_000_000), "what chance begins with")
	f.Lookup("seed").DefValue = "another each time" // manual pages are always the same
	f.Uint64Var(&o.First, "number", 0, "number of the first scenario")
	f.IntVar(&o.Scenarios, "scenarios", 0, "stop after so many scenarios")
	f.DurationVar(&o.For, "for", 0, "stop beginning scenarios then (60s if nothing else stops it)")
	f.IntVar(&o.Frames, "frames", 0, "stop after so many frames")
	f.IntVar(&o.jobs, "jobs", 1, "scenarios to play at the same time, 1 to 64")
	f.StringVar(&o.on, "on", "all", "ways to compare, with commas: kernel, emulator, model, or all that can")
	f.IntVar(&o.atLeast, "at-least", 0, "fail unless every reason, cell and action occurred so often")
	f.DurationVar(&o.Shrink, "shrink", 20*time.Second, "how long to make what was found smaller")
	f.StringVar(&o.out, "out", ".", "directory for what is found")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

type labFuzz struct {
	random.Options
	on, out string
	atLeast int
	jobs    int
	json    bool
}

func (o *labFuzz) run(cmd *cobra.Command) error {
	if o.For == 0 && o.Frames == 0 && o.Scenarios == 0 {
		o.For = time.Minute
	}
	if o.jobs < 1 || o.jobs > 64 {
		return usageError("umacvlan: --jobs %d: not from 1 to 64", o.jobs)
	}
	ways, err := o.ways()
	if err != nil {
		return err
	}
	if lab.Inside() || !slices.ContainsFunc(ways, func(w scenario.Way) bool { return w != scenario.Model }) {
		return o.inside(cmd, ways)
	}
	out, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	args := []string{
		"lab", "fuzz", "--seed", strconv.FormatUint(o.Seed, 10), "--number", strconv.FormatUint(o.First, 10),
		"--scenarios", strconv.Itoa(o.Scenarios), "--for", o.For.String(), "--frames", strconv.Itoa(o.Frames), "--on", o.on, "--jobs", strconv.Itoa(o.jobs),
		"--at-least", strconv.Itoa(o.atLeast), "--shrink", o.Shrink.String(), "--out", out, "--json=" + strconv.FormatBool(o.json),
	}
	code, err := lab.Reexec(args...)
	if err == nil && code != 0 {
		return &failure{code: code} // it has said why
	}
	return err
}

// ways are those asked for, the one that is right by definition first.
func (o *labFuzz) ways() (list []scenario.Way, err error) {
	asked := strings.Split(o.on, ",")
	for _, w := range asked {
		if !slices.Contains(labWays, w) {
			return nil, usageError("umacvlan: --on %s: not kernel, emulator, model, or several with commas between them, or all", o.on)
		}
	}
	for _, w := range []scenario.Way{scenario.Kernel, scenario.Model, scenario.Emulator} {
		if slices.Contains(asked, string(w)) || slices.Contains(asked, "all") {
			list = append(list, w)
		}
	}
	if len(list) < 2 {
		return nil, usageError("umacvlan: --on %s: there must be two ways to compare", o.on)
	}
	return list, nil
}

func (o *labFuzz) inside(cmd *cobra.Command, ways []scenario.Way) (err error) {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	sets := make([][]scenario.Player, o.jobs)
	for _, w := range ways {
		open, check := lab.KernelPlayer, lab.CheckMacvlan
		switch w {
		case scenario.Model:
			for i := range sets {
				sets[i] = append(sets[i], scenario.NewModel())
			}
			continue
		case scenario.Emulator:
			open, check = lab.EmulatorPlayer, lab.CheckTUN
		}
		if err := check(); err != nil {
			if !strings.Contains(o.on, "all") {
				return fmt.Errorf("the %s can't run here: %w", w, err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "umacvlan: without the %s: %v\n", w, err)
			continue
		}
		for i := range sets {
			p := open()
			defer func() { err = errors.Join(err, p.Close()) }()
			sets[i] = append(sets[i], lab.Bursts{Player: p})
		}
	}
	players := sets[0]
	o.Beside = sets[1:]
	if len(players) < 2 {
		return errors.New("lab fuzz: nothing to compare with")
	}
	say := newProgress(cmd.ErrOrStderr())
	o.Compare = lab.CompareBursts
	o.Progress = func(r *random.Report) {
		say.step(fmt.Sprintf("seed %d: %d frames in %d scenarios, %.0f a second", r.Seed, r.Frames, r.Scenarios, float64(r.Frames)/r.Took.Seconds()))
	}
	var writing error
	files := map[*random.Finding]string{}
	o.Found = func(f *random.Finding) {
		say.clear()
		fmt.Fprintf(cmd.ErrOrStderr(), "umacvlan: %v\n", f)
		name, err := o.write(f)
		files[f], writing = name, errors.Join(writing, err)
	}
	report, err := random.Run(ctx, players, o.Options)
	say.clear()
	if err != nil {
		return err
	}
	if o.json {
		err = o.printJSON(cmd.OutOrStdout(), report, files)
	} else {
		err = o.print(cmd.OutOrStdout(), report, players, files)
	}
	if ctx.Err() != nil {
		return &failure{code: 130, lines: []string{"umacvlan: lab interrupted; nothing is left of it"}}
	}
	if err = errors.Join(err, writing, report.Err(o.atLeast)); err != nil {
		return fmt.Errorf("lab fuzz: %w", err)
	}
	return nil
}

// write makes a file of what was found.
func (o *labFuzz) write(f *random.Finding) (string, error) {
	s := *f.Scenario
	s.Title = f.Title()
	s.Steps = slices.Clone(s.Steps)
	if len(s.Steps) > 0 {
		above := []string{"", fmt.Sprintf("# umacvlan lab fuzz --seed %d --number %d --scenarios 1", o.Seed, f.Number)}
		for _, d := range f.Differences {
			above = append(above, fmt.Sprintf("# %s: %s %s", s.Steps[d.Step].String(), d.Who, d.What))
		}
		if !f.Again {
			above = append(above, "# It was not seen again.")
		}
		s.Steps[0].Note.Above = append(above, "")
	}
	name := filepath.Join(o.out, fmt.Sprintf("random-%d-%d-%s.scenario", o.Seed, f.Number, f.Right))
	return name, os.WriteFile(name, s.Format(), 0o666)
}

func (o *labFuzz) print(w io.Writer, r *random.Report, players []scenario.Player, files map[*random.Finding]string) error {
	var b strings.Builder
	var on []string
	for _, p := range players {
		on = append(on, string(p.Way()))
	}
	r.Histogram.Print(&b)
	fmt.Fprintf(&b, "\nseed %d, scenarios %d to %d, on %s, %s\n", r.Seed, r.First, int(r.First)+r.Scenarios-1, strings.Join(on, " beside "), r.Took.Round(time.Second))
	fmt.Fprintf(&b, "%d frames and %d actions; %.0f frames a second\n", r.Frames, r.Controls, float64(r.Frames)/max(r.Took.Seconds(), 1e-3))
	for _, way := range slices.Sorted(maps.Keys(r.Repeated)) {
		if n := r.Repeated[way]; n > 0 {
			fmt.Fprintf(&b, "%d scenarios played again on the %s with other vmacs, as a group leaked through a filter\n", n, way)
		}
	}
	for _, d := range lab.Deviations {
		if n := r.Listed[d.Number]; n > 0 {
			fmt.Fprintf(&b, "%d steps (%.2f %%) differ as listed: (%s) %s\n", n, 100*float64(n)/float64(r.Frames), d.Number, d.Name)
		}
	}
	if o.atLeast > 0 {
		for _, k := range r.Histogram.Rare(o.atLeast) {
			fmt.Fprintf(&b, "less than %d times: %s (%d)\n", o.atLeast, k, r.Histogram.Count(k))
		}
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%v\n  %s\n", f, files[f])
	}
	fmt.Fprintf(&b, "%d unlisted differences\n", len(r.Findings))
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *labFuzz) printJSON(w io.Writer, r *random.Report, files map[*random.Finding]string) error {
	type finding struct {
		Number uint64 `json:"number"`
		Left   string `json:"left"`
		Right  string `json:"right"`
		What   string `json:"what"`
		Again  bool   `json:"again"`
		File   string `json:"file"`
	}
	out := struct {
		Seed      uint64         `json:"seed"`
		First     uint64         `json:"first"`
		Scenarios int            `json:"scenarios"`
		Frames    int            `json:"frames"`
		Actions   int            `json:"actions"`
		Seconds   float64        `json:"seconds"`
		Repeated  map[string]int `json:"repeated"`
		Listed    map[string]int `json:"listed"`
		Occurred  map[string]int `json:"occurred"`
		Findings  []finding      `json:"findings"`
	}{r.Seed, r.First, r.Scenarios, r.Frames, r.Controls, r.Took.Seconds(), map[string]int{}, r.Listed, map[string]int{}, []finding{}}
	for way, n := range r.Repeated {
		out.Repeated[string(way)] = n
	}
	for _, k := range r.Histogram.Keys() {
		out.Occurred[k] = r.Histogram.Count(k)
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, finding{f.Number, string(f.Left), string(f.Right), f.String(), f.Again, files[f]})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
