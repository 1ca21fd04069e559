package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// demoCommand shows what macvlan's modes do, from nothing. It needs no daemon
// and touches nothing outside the namespaces that it makes.
func demoCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show who hears whom in each mode, and real TCP, on nothing but this machine",
		Long: "demo makes a parent, a host on the wire and vmacs in namespaces of its own, sends frames\n" +
			"in each of the five modes and captures who hears them, compares that with the decision\n" +
			"and with the kernel's macvlan if there is one, then runs TCP. It needs no network card,\n" +
			"no configuration and, where user namespaces and /dev/net/tun allow it, no root, and it\n" +
			"leaves nothing behind. The exit code is 0 if everything was as decided, else 1.",
		Example: "  umacvlan demo\n  umacvlan demo --json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !lab.Inside() {
				return demoOutside(asJSON)
			}
			return demoInside(cmd, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(&cobra.Command{
		Use:    "endpoint",
		Short:  "Be one end of the demo's TCP stream",
		Hidden: true,
		RunE:   func(_ *cobra.Command, args []string) error { return lab.Endpoint(args) },
	})
	return cmd
}

// demoOutside runs the command again where it may do as it likes.
func demoOutside(asJSON bool) error {
	if err := lab.CheckTUN(); err != nil {
		return err
	}
	args := []string{"demo"}
	if asJSON {
		args = append(args, "--json")
	}
	code, err := lab.Reexec(args...)
	if err == nil && code != 0 {
		return &failure{code: code} // it has said why
	}
	return err
}

func demoInside(cmd *cobra.Command, asJSON bool) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	say := newProgress(cmd.ErrOrStderr())
	report, err := lab.Demo(ctx, time.Second, say.step)
	say.clear()
	switch {
	case ctx.Err() != nil:
		return &failure{code: 130, lines: []string{"umacvlan: demo interrupted; nothing is left of it"}}
	case err != nil:
		return fmt.Errorf("demo: %w", err)
	}
	out := cmd.OutOrStdout()
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = report.WriteText(out, os.Getenv("NO_COLOR") == "" && onTerminal(out))
	}
	if err == nil && !report.OK {
		err = errors.New("demo: what was captured is not what was decided")
	}
	return err
}

// progress says on stderr what takes long: on a terminal on one line, which
// goes away at the end; elsewhere line by line, once it has taken two seconds.
type progress struct {
	w        io.Writer
	terminal bool
	start    time.Time
}

func newProgress(w io.Writer) *progress {
	return &progress{w, onTerminal(w), time.Now()}
}

func (p *progress) step(what string) {
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r\x1b[K%s …", what)
	case time.Since(p.start) > 2*time.Second:
		fmt.Fprintf(p.w, "%s …\n", strings.TrimSpace(what))
	}
}

func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f)
}
