package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/lab"
	"github.com/umacvlan/umacvlan/internal/lab/matrix"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// labMatrixCommand prints who receives which frame in each mode.
func labMatrixCommand() *cobra.Command {
	var o matrixOptions
	cmd := &cobra.Command{
		Use:   "matrix",
		Short: "Print who receives which frame, by mode, kind of frame and sender",
		Long: "matrix sends every kind of frame from every kind of sender in every mode and prints who\n" +
			"received it. The model always runs; umacvlan on devices of its own and the kernel's macvlan\n" +
			"run too where that is possible, in namespaces that are gone afterwards. Without the\n" +
			"kernel's driver its answers are those that were recorded. The exit code is 1 if the model\n" +
			"answers otherwise than the kernel.",
		Example: "  umacvlan lab matrix\n" +
			"  umacvlan lab matrix --on kernel --json\n" +
			"  umacvlan lab matrix --on model --markdown --svg docs/matrix.svg > docs/matrix.md",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.on, "on", "all", "what runs beside the model: model (nothing), emulator, kernel or all that can")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	cmd.Flags().BoolVar(&o.markdown, "markdown", false, "print Markdown")
	cmd.Flags().StringVar(&o.svg, "svg", "", "write a picture to this file; with --markdown the page shows it")
	return cmd
}

type matrixOptions struct {
	on, svg        string
	json, markdown bool
}

func (o *matrixOptions) run(cmd *cobra.Command) error {
	switch {
	case o.json && o.markdown:
		return usageError("umacvlan: matrix prints JSON or Markdown, not both")
	case !slices.Contains([]string{"model", "emulator", "kernel", "all"}, o.on):
		return usageError("umacvlan: --on %s: not one of model, emulator, kernel, all", o.on)
	case o.on == "model":
		return o.show(cmd.Context(), cmd.OutOrStdout(), []scenario.Player{scenario.NewModel()}, newProgress(io.Discard))
	case lab.Inside():
		return o.runInside(cmd)
	}
	code, err := lab.Reexec(o.args()...)
	switch {
	case err != nil && o.on == "all":
		fmt.Fprintf(cmd.ErrOrStderr(), "umacvlan: only the model runs: %v\n", err)
		return o.show(cmd.Context(), cmd.OutOrStdout(), []scenario.Player{scenario.NewModel()}, newProgress(io.Discard))
	case err == nil && code != 0:
		return &failure{code: code} // it has said why
	}
	return err
}

// args are the options once more.
func (o *matrixOptions) args() []string {
	args := []string{"lab", "matrix", "--on", o.on, "--svg", o.svg}
	if o.json {
		args = append(args, "--json")
	}
	if o.markdown {
		args = append(args, "--markdown")
	}
	return args
}

func (o *matrixOptions) runInside(cmd *cobra.Command) (err error) {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	say := newProgress(cmd.ErrOrStderr())
	players := []scenario.Player{scenario.NewModel()}
	for _, way := range []struct {
		name  string
		check func() error
		make  func() *lab.Player
	}{
		{"emulator", lab.CheckTUN, lab.EmulatorPlayer},
		{"kernel", checkMacvlan, lab.KernelPlayer},
	} {
		if o.on != "all" && o.on != way.name {
			continue
		}
		if err := way.check(); err != nil {
			if o.on == way.name {
				return fmt.Errorf("the %s can't run here: %w", way.name, err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "umacvlan: without the %s: %v\n", way.name, err)
			continue
		}
		p := way.make()
		defer func() { err = errors.Join(err, p.Close()) }()
		players = append(players, p)
	}
	err = o.show(ctx, cmd.OutOrStdout(), players, say)
	if ctx.Err() != nil {
		return &failure{code: 130, lines: []string{"umacvlan: matrix interrupted; nothing is left of it"}}
	}
	return err
}

func checkMacvlan() error {
	if !lab.HasMacvlan() {
		return errors.New("this kernel has no macvlan")
	}
	return nil
}

// show runs the players and prints what came of it.
func (o *matrixOptions) show(ctx context.Context, w io.Writer, players []scenario.Player, say *progress) error {
	m, err := matrix.Build(ctx, players, say.step)
	say.clear()
	if err != nil {
		return err
	}
	if o.svg != "" {
		if err := os.WriteFile(o.svg, m.SVG(), 0o644); err != nil {
			return err
		}
	}
	switch {
	case o.json:
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err = enc.Encode(m); err == nil {
			_, err = b.WriteTo(w)
		}
	case o.markdown:
		picture := ""
		if o.svg != "" {
			picture = filepath.Base(o.svg)
		}
		_, err = w.Write(m.Markdown(picture))
	default:
		err = m.WriteText(w)
	}
	if err != nil {
		return err
	}
	return o.judge(m)
}

// judge fails if the model was wrong about a kernel. What user space can't do
// is no fault of the matrix: docs/semantics.md lists it.
func (o *matrixOptions) judge(m *matrix.Matrix) error {
	list, _ := m.Differences()
	var wrong []string
	for _, d := range list {
		if d.Way == scenario.Model {
			wrong = append(wrong, d.String())
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("matrix: the kernel answers otherwise than the model: %s", strings.Join(wrong, "; "))
	}
	return nil
}
