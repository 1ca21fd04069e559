package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// commands lists the verbs. A new one is a file with a function here.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		demoCommand(),
		labCommand(),
		benchCommand(),
		a.runCommand(),
		a.daemonCommand(),
		a.linkCommand(),
		a.fdbCommand(),
		a.ipCommand(),
		a.explainCommand(),
		a.ledgerCommand(),
		a.statusCommand(),
		a.checkCommand(),
		a.applyCommand(),
		a.exportCommand(),
		a.unitsCommand(),
		a.versionCommand(),
		a.manCommand(),
	}
}

// dispatch reads the options in front of the verb and hands over to it.
func (a *app) dispatch(args []string) error {
	opts, args, err := parseOptions(args)
	if err != nil {
		return err
	}
	a.opts = opts
	root := a.rootCommand()
	switch {
	case opts.version:
		args = []string{"version"}
	case opts.help:
		args = []string{"--help"}
	case opts.batch != "":
		return a.batch(root.Context(), opts.batch)
	case len(args) == 0 && opts.human && opts == (options{human: true, linkOnly: opts.linkOnly}):
		args = []string{"--help"} // -h alone is what people type for help
	case len(args) > 0 && matches(args[0], "link"):
		args = append([]string{"link"}, args[1:]...)
	case len(args) > 0 && args[0] == "fdb" && opts.forFdb():
	case len(args) > 0 && args[0] == "ip":
		if opts != (options{socket: opts.socket, force: opts.force, linkOnly: opts.linkOnly}) {
			return usageError(`umacvlan: options of ip stand behind it: umacvlan ip %s ...`, cmp.Or(opts.linkOnly, "-j"))
		}
	case len(args) > 0 && args[0] == "version" && opts == (options{details: opts.details, json: opts.json, linkOnly: opts.linkOnly}):
		if opts.details > 0 {
			args = append(args, "--details")
		}
		if opts.json {
			args = append(args, "--json")
		}
	case len(args) > 1 && args[0] == "help":
		args = append(args[1:], "--help") // what isn't there is an error then
	case len(args) > 0 && opts.linkOnly != "":
		return usageError(`umacvlan: option %s goes with "link", not with %q`, opts.linkOnly, args[0])
	case len(args) > 1 && opts.json && args[0] == "lab":
		args = slices.Insert(slices.Clone(args), 2, "--json")
	case len(args) > 0 && opts.json:
		args = append([]string{args[0], "--json"}, args[1:]...)
	}
	if cmd, rest, err := root.Find(args); err == nil && cmd != root && cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return usageError(`Command "%s" is unknown, try "%s --help".`, rest[0], cmd.CommandPath())
	}
	root.SetArgs(args)
	err = root.Execute()
	if _, _, unknown := root.Find(args); unknown != nil {
		return usageError(`Object "%s" is unknown, try "umacvlan help".`, args[0])
	}
	return err
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "umacvlan",
		Short:         "macvlan in user space, for kernels that have none",
		Example:       rootExample,
		Long:          rootLong,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetContext(context.Background())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("umacvlan: %v; see: %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(a.commands()...)
	root.InitDefaultCompletionCmd()
	return root
}

const rootLong = `umacvlan makes macvlan devices on kernels that have no macvlan: many MAC addresses
on one network card, each a device of its own, in the modes private, vepa, bridge,
passthru and source.`

const rootExample = `  See it work, without a network card and without configuration:
      umacvlan demo

  In the foreground, until Ctrl-C:
      umacvlan run --parent eth0 vmac0 mode bridge

  As with ip, with a daemon that does the work:
      umacvlan daemon &
      umacvlan link add link eth0 name vmac0 type macvlan mode bridge
      ip link set vmac0 up
      umacvlan -d link show

  Options of "link" stand in front of it, as with ip (some go with "fdb", too): -d[etails] -s[tatistics] -j[son]
  -p[retty] -br[ief] -o[neline] -c[olor] -h[uman] -iec -n[etns] NAME -b[atch] FILE
  -force -V[ersion]; every verb takes --socket PATH there.`
