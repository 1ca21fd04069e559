package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/config"
	"github.com/umacvlan/umacvlan/internal/control"
)

func (a *app) checkCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file, without a daemon",
		Long: "check reads a file for \"daemon --config\" and says what is wrong with it, with line and\n" +
			"column. It asks no daemon and changes nothing. Exit 0: the file is good, 1: it is not.",
		Example: "  umacvlan check /etc/umacvlan/config.yaml",
		Args:    exactly(1, "check needs a file; try: umacvlan check /etc/umacvlan/config.yaml"),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := a.readFile(args[0])
			if err != nil {
				return err
			}
			_, problems := config.Parse(args[0], text)
			if asJSON {
				if problems == nil {
					problems = config.Problems{}
				}
				err = writeJSON(a.stdout, generic(problems), true)
			} else {
				printProblems(a.stderr, problems)
			}
			if err == nil && problems.Failed() {
				return &failure{code: exitUsage}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON, on stdout")
	return cmd
}

// exactly is cobra.ExactArgs with words that help.
func exactly(n int, hint string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError("umacvlan: %s", hint)
		}
		return nil
	}
}

// noArguments is cobra.NoArgs with words that help.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("umacvlan: %q means nothing to %s; see: %s --help", args[0], cmd.Name(), cmd.CommandPath())
	}
	return nil
}

// atMostOne is for verbs that take a file or none.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError("umacvlan: %s takes one file, not %d", cmd.Name(), len(args))
	}
	return nil
}

// readFile reads a file; "-" is stdin.
func (a *app) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(a.stdin)
	}
	return os.ReadFile(name)
}

func printProblems(w io.Writer, problems config.Problems) {
	for _, p := range problems {
		fmt.Fprintln(w, p)
	}
}

func (a *app) applyCommand() *cobra.Command {
	var asJSON, dryRun bool
	cmd := &cobra.Command{
		Use:   "apply [FILE]",
		Short: "Make what runs what a configuration file says",
		Long: "apply compares what runs with the file and changes what differs; the rest goes on\n" +
			"undisturbed. Without FILE the daemon reads the one that it was started with again, as it\n" +
			"does on SIGHUP. What a file made and the file no longer has is deleted; what was made\n" +
			"with \"link add\" is left alone. Exit 0: all is as the file says, 2: something is not.",
		Example: "  umacvlan apply --dry-run new.yaml\n  umacvlan apply",
		Args:    atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := control.ApplyRequest{DryRun: dryRun}
			if len(args) == 1 {
				text, err := a.readFile(args[0])
				if err != nil {
					return err
				}
				// An empty text would mean the daemon's own file.
				if c, problems := config.Parse(args[0], text); c == nil {
					printProblems(a.stderr, problems)
					return &failure{code: exitUsage}
				}
				r.File, r.Text = args[0], string(text)
			}
			c, err := control.Dial(a.opts.socket)
			if err != nil {
				return err
			}
			defer c.Close()
			report, err := c.Apply(cmd.Context(), r)
			var refusal *control.Refusal
			if errors.As(err, &refusal) && refusal.Hint != "" { // no answer of rtnetlink's
				return &failure{exitRefused, []string{"umacvlan: " + refusal.Hint}}
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(a.stdout, generic(report), true)
			} else {
				a.printReport(&report)
			}
			switch {
			case err != nil:
				return err
			case report.Problems.Failed():
				return &failure{code: exitUsage}
			case report.Failed():
				return &failure{code: exitRefused}
			}
			return nil
		},
	}
	a.socketFlag(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only print what would be changed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printReport writes the changes to stdout and all else to stderr.
func (a *app) printReport(r *control.ApplyReport) {
	printProblems(a.stderr, r.Problems)
	if r.Problems.Failed() {
		return
	}
	for _, s := range r.Steps {
		if s.Error == "" {
			fmt.Fprintln(a.stdout, s.Text)
		}
	}
	if len(r.Steps) == 0 {
		fmt.Fprintln(a.stdout, "no change")
	}
	for _, s := range r.Steps {
		if s.Error != "" {
			a.complain("%s: %s", s.Text, s.Error)
		}
	}
	for _, w := range r.Waiting {
		a.complain("waits: %s", w)
	}
	for _, n := range r.Notes {
		a.complain("note: %s", n)
	}
}

func (a *app) exportCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Write what runs as a configuration file",
		Long:    "export writes to stdout what \"umacvlan apply\" would find nothing to change in.",
		Example: "  umacvlan export > config.yaml",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := control.Dial(a.opts.socket)
			if err != nil {
				return err
			}
			defer c.Close()
			x, err := c.Export(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, generic(x), true)
			}
			for _, n := range x.Notes {
				a.complain("note: %s", n)
			}
			_, err = io.WriteString(a.stdout, x.Text)
			return err
		},
	}
	a.socketFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
