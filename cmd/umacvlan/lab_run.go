package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/lab"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// labRunCommand plays scenarios and shows who got what, and why not.
func labRunCommand() *cobra.Command {
	var o labRun
	cmd := &cobra.Command{
		Use:   "run FILE...",
		Short: "Run scenarios and show who got what, and why not",
		Long: "run plays each scenario on the decision alone (model), on umacvlan with devices of its own\n" +
			"(emulator) and on the kernel's macvlan (kernel), as far as this machine allows, and prints\n" +
			"who got each frame and as what: \"host/other\" is a packet that taps see as host and protocol\n" +
			"handlers as other, \"-\" is nothing, with the reason behind it. A row that is not as expected,\n" +
			"or not the same everywhere, begins with \"!\"; where docs/semantics.md lists the difference,\n" +
			"with its number in parentheses. The exit code is 1 if any row has a \"!\".",
		Example: "  umacvlan lab run first.scenario\n" +
			"  umacvlan lab run --on model *.scenario\n" +
			"  umacvlan lab run --json --pcap captures first.scenario",
		Args: needFiles,
		RunE: func(cmd *cobra.Command, files []string) error { return o.run(cmd, files) },
	}
	cmd.Flags().StringVar(&o.on, "on", "all", "what to run on: model, emulator, kernel, or all that can")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	cmd.Flags().StringVar(&o.pcap, "pcap", "", "write what every end saw into this directory, a pcapng file for each scenario and way")
	return cmd
}

func needFiles(cmd *cobra.Command, files []string) error {
	if len(files) == 0 {
		return usageError("umacvlan: %s needs a file; write one with: umacvlan lab new first.scenario", cmd.CommandPath())
	}
	return nil
}

type labRun struct {
	on, pcap string
	json     bool
}

func (o *labRun) run(cmd *cobra.Command, files []string) error {
	list, err := readScenarios(files)
	if err != nil {
		return err
	}
	args := []string{"lab", "run", "--on", o.on, "--pcap", o.pcap}
	if o.json {
		args = append(args, "--json")
	}
	return labVerb{o.on, append(append(args, "--"), files...), func(ctx context.Context, players []scenario.Player, say *progress) error {
		return o.play(ctx, cmd.OutOrStdout(), list, players, say)
	}}.run(cmd)
}

func (o *labRun) play(ctx context.Context, w io.Writer, list []*scenario.Scenario, players []scenario.Player, say *progress) error {
	captures := captureFiles{dir: o.pcap}
	reports := []*lab.Report{}
	wrong := 0
	p := pace{time.Now()}
	for i, s := range list {
		p.step(say, i, len(list), s.File)
		trial, err := lab.Try(ctx, s, players)
		if err != nil {
			return err
		}
		if !trial.OK() {
			wrong++
		}
		if err := captures.write(trial); err != nil {
			return err
		}
		r := trial.Report()
		reports = append(reports, r)
		if o.json {
			continue
		}
		say.clear()
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := r.WriteText(w); err != nil {
			return err
		}
	}
	say.clear()
	if o.json {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(reports); err != nil {
			return err
		}
	} else if err := legend(w, reports); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("lab: %d of %d scenarios went otherwise than expected, or not alike everywhere", wrong, len(list))
	}
	return nil
}

// legend says what the numbers in front of rows mean.
func legend(w io.Writer, reports []*lab.Report) error {
	var b strings.Builder
	for _, d := range lab.Deviations {
		if slices.ContainsFunc(reports, func(r *lab.Report) bool { return r.Lists(d.Number) }) {
			fmt.Fprintf(&b, "(%s) %s\n", d.Number, d.Name)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(w, "\nThe emulator is known to differ, see docs/semantics.md:\n"+b.String())
	return err
}

// captureFiles writes one file for each scenario and way.
type captureFiles struct {
	dir  string
	used map[string]int
}

func (c *captureFiles) write(t *lab.Trial) error {
	if c.dir == "" {
		return nil
	}
	if err := os.MkdirAll(c.dir, 0o777); err != nil {
		return err
	}
	base := strings.TrimSuffix(filepath.Base(t.Scenario.File), filepath.Ext(t.Scenario.File))
	if c.used == nil {
		c.used = map[string]int{}
	}
	if c.used[base]++; c.used[base] > 1 {
		base = fmt.Sprintf("%s-%d", base, c.used[base])
	}
	for _, run := range t.Runs {
		if run.Result == nil {
			continue
		}
		f, err := os.Create(filepath.Join(c.dir, base+"."+string(run.Way)+".pcapng"))
		if err != nil {
			return err
		}
		if err := errors.Join(lab.WritePcap(f, t.Scenario, run.Result), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
