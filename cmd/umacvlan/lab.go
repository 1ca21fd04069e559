package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/lab"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// labCommand is for experiments: scenarios, and what is made of them. A new verb
// is a file with a function here.
func labCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Experiment: run scenarios on the decision, on umacvlan and on the kernel's macvlan",
		Long: "lab runs experiments that are written down in a few lines: vmacs, frames, and who is\n" +
			"expected to get them. It needs no network card, works in namespaces of its own, and\n" +
			"leaves nothing behind.",
		Example: "  umacvlan lab new first.scenario\n  umacvlan lab run first.scenario",
	}
	cmd.AddCommand(labRunCommand(), labRecordCommand(), labNewCommand(), labMatrixCommand(), labFuzzCommand())
	return cmd
}

// labVerb is one verb that plays scenarios.
type labVerb struct {
	on   string   // way, or "all"
	args []string // with which the command is run again in namespaces of its own
	do   func(ctx context.Context, players []scenario.Player, say *progress) error
}

var labWays = []string{string(scenario.Model), string(scenario.Emulator), string(scenario.Kernel), "all"}

// run opens the players that this machine can have, in namespaces of their own
// if they need any.
func (v labVerb) run(cmd *cobra.Command) error {
	if !slices.Contains(labWays, v.on) {
		return usageError("umacvlan: --on %s: not one of model, emulator, kernel, all", v.on)
	}
	if v.on == string(scenario.Model) || lab.Inside() {
		return v.inside(cmd)
	}
	code, err := lab.Reexec(v.args...)
	switch {
	case err != nil && v.on == "all":
		fmt.Fprintf(cmd.ErrOrStderr(), "umacvlan: on the model alone: %v\n", err)
		v.on = string(scenario.Model)
		return v.inside(cmd)
	case err == nil && code != 0:
		return &failure{code: code} // it has said why
	}
	return err
}

func (v labVerb) inside(cmd *cobra.Command) (err error) {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	var players []scenario.Player
	if v.wants(scenario.Model) {
		players = append(players, scenario.NewModel())
	}
	for _, w := range []struct {
		way   scenario.Way
		check func() error
		open  func() *lab.Player
	}{{scenario.Emulator, lab.CheckTUN, lab.EmulatorPlayer}, {scenario.Kernel, lab.CheckMacvlan, lab.KernelPlayer}} {
		if !v.wants(w.way) {
			continue
		}
		if err := w.check(); err != nil {
			if v.on != "all" {
				return fmt.Errorf("the %s can't run here: %w", w.way, err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "umacvlan: without the %s: %v\n", w.way, err)
			continue
		}
		p := w.open()
		defer func() { err = errors.Join(err, p.Close()) }()
		players = append(players, p)
	}
	say := newProgress(cmd.ErrOrStderr())
	err = v.do(ctx, players, say)
	say.clear()
	if ctx.Err() != nil {
		return &failure{code: 130, lines: []string{"umacvlan: lab interrupted; nothing is left of it"}}
	}
	return err
}

func (v labVerb) wants(w scenario.Way) bool { return v.on == "all" || v.on == string(w) }

// pace lets a note on progress through every two seconds, or always where it
// takes the place of the one before.
type pace struct{ last time.Time }

func (p *pace) step(say *progress, i, n int, file string) {
	if say.terminal || time.Since(p.last) >= 2*time.Second {
		p.last = time.Now()
		say.step(fmt.Sprintf("%d of %d: %s", i+1, n, file))
	}
}

// readScenarios parses all files before the first is played.
func readScenarios(files []string) (list []*scenario.Scenario, err error) {
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		s, err := scenario.Parse(f, src)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}
