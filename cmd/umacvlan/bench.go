package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/bench"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// Sender, receiver and switch of a benchmark are this program once more; they
// never get to main.
func init() { bench.RunChild() }

// benchOptions are the verb's.
type benchOptions struct {
	full, list, json, floors, details bool

	only, with   []string
	format, svg  string
	parent, wire string
	repetitions  int
	seconds      float64
}

const benchLong = `bench moves the same traffic over umacvlan and over the kernel's macvlan, taking turns, and
prints what each did, the ratio of the two and what the project promises of it. It makes its
own devices, in namespaces that are gone afterwards, and brings its own traffic: TCP streams,
requests and answers, frames of all sizes. The quick profile takes less than a minute; --full
varies everything and also asks the other switches that it finds.

Contenders, for --with; the first is what the others are compared with:
  %s

The exit code is 0 whatever the figures are; with --floors it is 1 if a ratio stays below its
floor in the median of three tries.`

// benchCommand compares umacvlan with the kernel's macvlan and other switches.
func benchCommand() *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure umacvlan beside the kernel's macvlan and other switches",
		Long:  fmt.Sprintf(benchLong, strings.Join(bench.Contenders(), "\n  ")),
		Example: "  umacvlan bench\n" +
			"  umacvlan bench --list\n" +
			"  umacvlan bench --only 'tcp-*' --seconds 2 --details\n" +
			"  umacvlan bench --only frames-in --with kernel,umacvlan,umacvlan:wire=mmsg,naive,ovs,vde\n" +
			"  umacvlan bench --full --svg out --json > out.json\n" +
			"  umacvlan bench --format benchstat > new.txt && benchstat -col /contender new.txt",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.full, "full", false, "every case, with all contenders that there are, longer")
	f.StringSliceVar(&o.only, "only", nil, "these cases: keys of --list, or patterns such as 'tcp-*'")
	f.BoolVar(&o.list, "list", false, "list the cases and their goals, and measure nothing")
	f.StringSliceVar(&o.with, "with", nil, "contenders (default kernel,umacvlan; with --full also what is installed)")
	f.StringVar(&o.format, "format", "text", "text, json or benchstat")
	f.BoolVar(&o.json, "json", false, "print JSON, as --format json")
	f.StringVar(&o.svg, "svg", "", "write pictures and a page that shows them into this directory")
	f.StringVar(&o.parent, "parent", "", "put the vmacs on this device instead of one made for the purpose")
	f.StringVar(&o.wire, "wire", "", "with --parent: the device at the other end of its cable, which is moved away meanwhile")
	f.IntVar(&o.repetitions, "repetitions", 0, "of each case and contender, 5 or more")
	f.Float64Var(&o.seconds, "seconds", 0, "how long each is counted")
	f.BoolVar(&o.floors, "floors", false, "fail if a ratio is below its floor in the median of three tries")
	f.BoolVar(&o.details, "details", false, "print every metric, and the data path")
	return cmd
}

// check refuses what makes no sense, in words, before anything is done.
func (o *benchOptions) check() error {
	switch {
	case o.json && o.format != "text" && o.format != "json":
		return usageError("umacvlan: bench prints JSON or %s, not both", o.format)
	case o.format != "text" && o.format != "json" && o.format != "benchstat":
		return usageError("umacvlan: --format %q is not one of text, json, benchstat", o.format)
	case o.repetitions != 0 && o.repetitions < 5:
		return usageError("umacvlan: --repetitions %d: fewer than 5 say nothing", o.repetitions)
	case o.seconds != 0 && !(o.seconds >= 0.02 && o.seconds <= 600): // no number is neither
		return usageError("umacvlan: --seconds %v is not between 0.02 and 600", o.seconds)
	case o.wire != "" && o.parent == "":
		return usageError("umacvlan: --wire goes with --parent")
	case o.parent != "" && o.parent == o.wire:
		return usageError("umacvlan: %s can't be both ends of its cable", o.parent)
	}
	if o.json {
		o.format = "json"
	}
	return nil
}

func (o *benchOptions) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	cases, err := bench.Select(o.full, o.only)
	if err != nil {
		return usageError("umacvlan: %v; see: umacvlan bench --list", err)
	}
	if o.list {
		if o.only == nil {
			cases = bench.Cases()
		}
		return listCases(cmd.OutOrStdout(), cases, o.json)
	}
	options, absent, err := o.options(cases)
	if err != nil {
		return err
	}
	if o.parent == "" && !lab.Inside() {
		if err := lab.CheckTUN(); err != nil {
			return err
		}
		code, err := lab.Reexec(os.Args[1:]...)
		if err == nil && code != 0 {
			return &failure{code: code} // it has said why
		}
		return err
	}
	if o.parent != "" {
		if o.only == nil {
			cases = options.Suitable(cases)
		}
		for _, c := range cases {
			if err := options.Suits(c); err != nil {
				return usageError("umacvlan: %v", err)
			}
		}
		if err := checkPrivilege(capabilities); err != nil {
			return err
		}
	}
	return o.measure(cmd, options, cases, absent)
}

// options are those of the run; absent says which contenders can't take part.
func (o *benchOptions) options(cases []bench.Case) (run bench.Options, absent []string, err error) {
	run = bench.Quick()
	with := []string{"kernel", "umacvlan"}
	if o.full {
		run = bench.Full()
		if o.parent == "" {
			with = append(with, "umacvlan:wire=mmsg", "umacvlan:waking=sleep", "umacvlan:offload=off", "naive", "ovs", "vde")
		}
	}
	if o.with != nil {
		with = o.with
		if o.only != nil { // who asks for a case and for contenders wants them all
			for i := range cases {
				cases[i].Wide = true
			}
		}
	}
	for _, spec := range with {
		c, err := bench.ParseContender(spec)
		if err != nil {
			return run, nil, usageError("umacvlan: --with: %v", err)
		}
		if o.parent != "" && !strings.HasPrefix(spec, "umacvlan") && spec != "kernel" {
			return run, nil, usageError("umacvlan: --with %s: would take %s away from the host; without --parent it gets a device of its own", spec, o.parent)
		}
		why := c.Missing()
		if spec == "kernel" && why == nil {
			why = lab.CheckMacvlan()
		}
		switch {
		case why == nil:
			run.Contenders = append(run.Contenders, c)
		case o.with != nil && spec != "kernel":
			return run, nil, fmt.Errorf("bench: %w", why)
		default:
			absent = append(absent, why.Error())
		}
	}
	run.Parent, run.Wire = o.parent, o.wire
	if o.repetitions > 0 {
		run.Repetitions = o.repetitions
	}
	if o.seconds > 0 {
		run.Last = time.Duration(o.seconds * float64(time.Second))
		run.Warmup = min(run.Warmup, run.Last)
	}
	return run, absent, nil
}

func (o *benchOptions) measure(cmd *cobra.Command, run bench.Options, cases []bench.Case, absent []string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	for _, line := range absent {
		fmt.Fprintln(cmd.ErrOrStderr(), "umacvlan:", line)
	}
	started := time.Now()
	results, err := o.once(ctx, cmd.ErrOrStderr(), run, cases)
	broken := err
	switch {
	case ctx.Err() != nil:
		broken = &failure{code: 130, lines: []string{"umacvlan: bench interrupted; nothing is left of it"}}
	case err != nil:
		broken = fmt.Errorf("bench: %w", err)
	}
	if broken != nil && len(results) == 0 {
		return broken
	}
	// The cases that were finished before something broke are printed too.
	report := bench.NewReport(run, strings.Join(append([]string{"umacvlan"}, os.Args[1:]...), " "), started, results, absent)
	if broken != nil {
		report.Broken = cmp.Or(err, broken).Error()
	}
	switch out := cmd.OutOrStdout(); o.format {
	case "json":
		err = report.WriteJSON(out)
	case "benchstat":
		err = report.WriteBenchstat(out)
	default:
		err = report.WriteText(out, o.details)
	}
	if err == nil && broken == nil && o.svg != "" {
		err = report.WritePictures(o.svg)
	}
	if err = cmp.Or(broken, err); err != nil || !o.floors {
		return err
	}
	return o.judge(ctx, cmd.ErrOrStderr(), run, results)
}

// once plays the cases and says how far it is.
func (o *benchOptions) once(ctx context.Context, stderr io.Writer, run bench.Options, cases []bench.Case) ([]bench.Result, error) {
	say := newProgress(stderr)
	say.start = time.Time{} // it takes long, that is known
	var last time.Time
	start := time.Now()
	run.Step = func(what string, done float64) {
		if !say.terminal && time.Since(last) < 10*time.Second {
			return
		}
		last = time.Now()
		left := "…"
		if done > 0.02 {
			left = fmt.Sprintf("%v left", time.Duration(float64(time.Since(start))*(1-done)/done).Round(time.Second))
		}
		say.step(fmt.Sprintf("%3.0f %%, %s: %s", 100*done, left, what))
	}
	defer say.clear()
	return bench.Run(ctx, run, cases)
}

// judge plays what is below its floor twice more and fails if the median of the
// three stays below.
func (o *benchOptions) judge(ctx context.Context, stderr io.Writer, run bench.Options, results []bench.Result) error {
	ratios := map[string][]float64{}
	var low []bench.Case
	for _, r := range results {
		if len(r.Series) > 1 && r.BelowFloor(1) {
			low = append(low, r.Case)
			ratios[r.Case.Key] = []float64{r.Ratio(1).Median}
		}
	}
	for range 2 {
		if len(low) == 0 {
			return nil
		}
		again, err := o.once(ctx, stderr, run, low)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		for _, r := range again {
			ratios[r.Case.Key] = append(ratios[r.Case.Key], r.Ratio(1).Median)
		}
	}
	var errs []error
	for _, c := range low {
		if m := bench.Median(ratios[c.Key]); !(m >= c.Floor) { // NaN: it failed
			errs = append(errs, fmt.Errorf("%s: %.2f of kernel macvlan, and the floor is %.2f", c.Title, m, c.Floor))
		}
	}
	return errors.Join(errs...)
}

// listCases prints what --only takes.
func listCases(w io.Writer, cases []bench.Case, asJSON bool) error {
	if asJSON {
		return writeIndented(w, cases)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "case\tprofile\twhat\tgoals: must (aim)\n")
	for _, c := range cases {
		profile := "full"
		if c.Quick {
			profile = "quick"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s, %s\t%s\n", c.Key, profile, c.Title, c.Unit, strings.Join(c.GoalLines(), "; "))
	}
	return tw.Flush()
}

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
