package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/control"
)

// pathFlags let each part of a frame's way be chosen that is otherwise chosen by
// trying what the kernel has.
func pathFlags(cmd *cobra.Command, o *control.EngineOptions) {
	for _, f := range []struct {
		value       *string
		of          []string
		name, usage string
	}{
		{&o.Steal, control.StealRungs, "steal", "what takes from the host's own stack what macvlan would"},
		{&o.Wire.Backend, control.WireBackends, "wire", "how frames are received from the parent"},
		{&o.Wire.Waking, control.Wakings, "waking", "how a data thread waits for frames (yield: it looks again for a while before it sleeps)"},
	} {
		*f.value = f.of[0]
		cmd.Flags().Var(choice{f.value, f.of}, f.name, f.usage+": "+strings.Join(f.of, ", "))
		cmd.Flags().Lookup(f.name).DefValue = f.of[0]
		if err := cmd.RegisterFlagCompletionFunc(f.name, cobra.FixedCompletions(f.of, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the flag is there
		}
	}
}

// choice is a flag that takes one of several words.
type choice struct {
	value *string
	of    []string
}

func (c choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

func (c choice) Type() string { return "word" }

func (c choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("not one of %s", strings.Join(c.of, ", "))
	}
	*c.value = s
	return nil
}
