package main

import (
	"embed"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// The files for service managers. /usr/sbin/umacvlan in them stands for wherever
// the command is.
//
//go:embed units
var unitFiles embed.FS

const unitBinary = "/usr/sbin/umacvlan"

func (a *app) unitsCommand() *cobra.Command {
	var binary string
	cmd := &cobra.Command{
		Use:   "units [FILE]",
		Short: "Print a file for systemd or OpenRC",
		Long: "units prints the file, with this command's own path in it. Without FILE it lists them:\n" +
			"umacvlan.service and umacvlan.socket for systemd, umacvlan.openrc for OpenRC.",
		Example: "  umacvlan units umacvlan.service > /etc/systemd/system/umacvlan.service\n" +
			"  umacvlan units umacvlan.socket > /etc/systemd/system/umacvlan.socket\n" +
			"  umacvlan units umacvlan.openrc > /etc/init.d/umacvlan && chmod +x /etc/init.d/umacvlan",
		Args: atMostOne,
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := unitFiles.ReadDir("units")
			if err != nil {
				return err
			}
			var names []string
			for _, f := range files {
				names = append(names, f.Name())
			}
			if len(args) == 0 {
				_, err = fmt.Fprintln(a.stdout, strings.Join(names, "\n"))
				return err
			}
			if binary == "" {
				if binary, err = os.Executable(); err != nil {
					return err
				}
			}
			text, err := unitFiles.ReadFile("units/" + args[0])
			if err != nil {
				return usageError("umacvlan: no file %q; there are %s", args[0], strings.Join(names, ", "))
			}
			_, err = io.WriteString(a.stdout, strings.ReplaceAll(string(text), unitBinary, binary))
			return err
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "", "the path of the command (default: this one's)")
	return cmd
}
