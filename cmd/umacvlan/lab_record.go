package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/lab"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// labRecordCommand writes what the kernel does into scenario files.
func labRecordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "record FILE...",
		Short: "Run scenarios on the kernel's macvlan and write what it did into the files",
		Long: "record plays each scenario on the kernel's own driver, and rewrites the file with what was\n" +
			"observed as its expectations and with the kernel's version. Comments stay, and so do\n" +
			"expectations that hold. With that the file is a test on machines without macvlan, too.",
		Example: "  umacvlan lab record first.scenario",
		Args:    needFiles,
		RunE: func(cmd *cobra.Command, files []string) error {
			list, err := readScenarios(files)
			if err != nil {
				return err
			}
			args := append([]string{"lab", "record", "--"}, files...)
			return labVerb{string(scenario.Kernel), args, func(ctx context.Context, players []scenario.Player, say *progress) error {
				p := pace{time.Now()}
				for i, s := range list {
					p.step(say, i, len(list), s.File)
					if err := record(ctx, s, players[0]); err != nil {
						return err
					}
					say.clear()
					fmt.Fprintf(cmd.OutOrStdout(), "%s: recorded on %s\n", s.File, lab.KernelVersion())
				}
				return nil
			}}.run(cmd)
		},
	}
}

func record(ctx context.Context, s *scenario.Scenario, p scenario.Player) error {
	t, err := lab.Try(ctx, s, []scenario.Player{p})
	if err != nil {
		return err
	}
	run := t.Runs[0]
	switch {
	case run.Err != nil:
		return run.Err
	case run.Skipped != "":
		return fmt.Errorf("%s: the kernel can't record it: %s", s.File, run.Skipped)
	}
	return replaceFile(s.File, s.Record(run.Result, run.Result.Version).Format())
}

// replaceFile leaves either the old or the new content behind, whatever happens.
func replaceFile(name string, content []byte) error {
	// A link stays one: what it points to is replaced.
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(name)
	if err != nil || bytes.Equal(old, content) {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
