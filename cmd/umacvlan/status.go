package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/control"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Describe the daemon that answers",
		Example: "  umacvlan status\n  umacvlan status --json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := control.Dial(a.opts.socket)
			if err != nil {
				return err
			}
			defer c.Close()
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, generic(s), true)
			}
			parents := "none"
			if len(s.Parents) > 0 {
				parents = strings.Join(s.Parents, " ")
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "version\t%s\nprocess\t%d\nsocket\t%s\nkernel\t%s\nparents\t%s\nvmacs\t%d\n",
				s.Version, s.PID, s.Socket, s.Kernel, parents, s.Vmacs)
			for _, rung := range s.Steal {
				fmt.Fprintf(w, "steal\t%s\n", rung)
			}
			writeStay(w, &s)
			return w.Flush()
		},
	}
	a.socketFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
