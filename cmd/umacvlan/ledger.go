package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/control"
)

func (a *app) ledgerCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Print the accounts of every parent: where each frame went",
		Long: "ledger prints equations between counters kept at different places. On a quiet switch\n" +
			"each difference is 0; while frames move, those under way show up as small differences,\n" +
			"so the exit code is 0 in any case. A line that is off is marked.",
		Example: "  umacvlan ledger\n  umacvlan ledger --json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := control.Dial(a.opts.socket)
			if err != nil {
				return err
			}
			defer c.Close()
			ledgers, err := c.Ledgers(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, generic(append([]control.Ledger{}, ledgers...)), true) // [], never null
			}
			return printLedgers(a.stdout, ledgers)
		},
	}
	a.socketFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printLedgers(out io.Writer, ledgers []control.Ledger) error {
	if len(ledgers) == 0 {
		_, err := fmt.Fprintln(out, "no parent has a vmac")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range ledgers {
		fmt.Fprintf(w, "%s:\n", l.Parent)
		for _, e := range l.Equations {
			mark := ""
			if e.Difference != 0 {
				mark = "\t<- off"
			}
			fmt.Fprintf(w, "  %s\t%s\tdifference %d%s\n", e.Name, e.Text, e.Difference, mark)
		}
		printReasons(w, "frames received", l.Frames)
		printReasons(w, "frames sent", l.Sent)
		printReasons(w, "copies", l.Copies)
	}
	return w.Flush()
}

func printReasons(w io.Writer, title string, m map[string]uint64) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] != 0 {
			fmt.Fprintf(w, "  %s\t%s\t%d\n", title, k, m[k])
		}
	}
}
