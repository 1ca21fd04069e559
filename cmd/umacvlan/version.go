package main

import (
	"fmt"
	"runtime/debug"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// lowestKernel is the oldest that umacvlan is written for.
const lowestKernel = "4.9"

func (a *app) versionCommand() *cobra.Command {
	var asJSON, details bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and what is made of this kernel",
		Long: "version -d tries every optional kernel feature, in network namespaces that it makes\n" +
			"and takes away again, and says what is done instead where one is missing. They can\n" +
			"be forced off by " + feature.Variable + "=NAME,NAME or =all.",
		Example: "  umacvlan version\n  umacvlan version -d\n  umacvlan version -d --json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			out := object{{"version", version()}}
			var list []control.FeatureState
			if details {
				var err error
				if list, err = control.Features(); err != nil {
					fmt.Fprintf(a.stderr, "umacvlan: not everything could be tried (%v); try again as root\n", err)
				}
				out = append(out, member{"lowest_kernel", lowestKernel}, member{"kernel", control.Kernel()}, member{"features", generic(list)})
			}
			if asJSON {
				return writeJSON(a.stdout, out, true)
			}
			if _, err := fmt.Fprintf(a.stdout, "umacvlan %s\n", version()); err != nil || !details {
				return err
			}
			fmt.Fprintf(a.stdout, "kernel %s, the lowest is %s\n", control.Kernel(), lowestKernel)
			return a.printFeatures(list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&details, "details", "d", false, "try the kernel's optional features")
	return cmd
}

func (a *app) printFeatures(list []control.FeatureState) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FEATURE\tSINCE\tSTATE\tFOR")
	for _, f := range list {
		text := f.For
		if f.State == "not in use" {
			text += fmt.Sprintf("; instead: %s (%s)", f.Instead, f.Why)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Name, f.Since, f.State, text)
	}
	return w.Flush()
}

// version is what the toolchain recorded: a tag, or a commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}
