package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/control"
)

func (a *app) runCommand() *cobra.Command {
	var parent string
	var options control.EngineOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "run --parent DEV NAME [ mode MODE ] [ address MAC ] ... [ NAME ... ]",
		Short: "Make devices and move their frames in the foreground, until Ctrl-C",
		Long: "run needs no daemon. Each NAME makes a device in the caller's network namespace and\n" +
			"brings it up; behind it stand the keywords of \"link add\" (address, mtu, txqueuelen,\n" +
			"alias, netns) and of \"type macvlan\" (mode, flag, nopromisc, nodst, macaddr,\n" +
			"bcqueuelen, bclim), written out in full. Flags stand before the first NAME. When run\n" +
			"ends, the devices are gone.",
		Example: "  umacvlan run --parent eth0 vmac0 mode bridge\n" +
			"  umacvlan run --parent eth0 vmac0 mode bridge address 02:00:00:00:01:01 vmac1 mode private",
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			requests, err := parseRun(parent, args, newResolver(""))
			if err != nil {
				return err
			}
			if err := checkPrivilege(capabilities); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return a.foreground(ctx, requests, options, asJSON)
		},
	}
	cmd.Flags().StringVar(&parent, "parent", "", "the device below, such as eth0")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the devices as JSON")
	pathFlags(cmd, &options)
	// What follows the first name is not ours to read as flags: bclim -1.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// runKeywords may follow a name; true where they belong behind "type macvlan".
var runKeywords = map[string]bool{
	"address": false, "mtu": false, "txqueuelen": false, "alias": false, "netns": false,
	"mode": true, "flag": true, "nopromisc": true, "nodst": true,
	"macaddr": true, "bcqueuelen": true, "bclim": true,
}

// parseRun turns the words of run into requests, by way of the grammar of
// "link add".
func parseRun(parent string, args []string, r resolver) ([]control.LinkRequest, error) {
	if parent == "" {
		return nil, usageError("umacvlan: run needs a parent; try: umacvlan run --parent eth0 vmac0 mode bridge")
	}
	if len(args) == 0 {
		return nil, usageError("umacvlan: run needs a name for a device; try: umacvlan run --parent %s vmac0 mode bridge", parent)
	}
	var requests []control.LinkRequest
	for len(args) > 0 {
		name := args[0]
		if strings.HasPrefix(name, "-") {
			return nil, malformed(`Error: "%s" stands where the name of a device belongs; options stand before the first name`, name)
		}
		if _, keyword := runKeywords[name]; keyword || !checkIfname(name) {
			return nil, malformed(`Error: "%s" stands where the name of a device belongs`, name)
		}
		generic := []string{"link", parent, "name", name, "up"}
		kind := []string{"type", "macvlan"}
		args = args[1:]
		for len(args) > 0 {
			macvlan, keyword := runKeywords[args[0]]
			if !keyword {
				break
			}
			n := min(keywordLength(args), len(args))
			if macvlan {
				kind = append(kind, args[:n]...)
			} else {
				generic = append(generic, args[:n]...)
			}
			args = args[n:]
		}
		cmd, err := parseModify("add", slices.Concat(generic, kind), r)
		if err != nil {
			return nil, err
		}
		requests = append(requests, *cmd.request)
	}
	return requests, nil
}

// keywordLength counts the words of the keyword at the front of args.
func keywordLength(args []string) int {
	switch {
	case args[0] == "nopromisc" || args[0] == "nodst":
		return 1
	case args[0] != "macaddr" || len(args) < 2 || args[1] == "flush":
		return 2
	case args[1] != "set":
		return 3
	}
	n := 2
	for n < len(args) && strings.Count(args[n], ":") == 5 {
		n++
	}
	return n
}

// foreground makes what is asked for, says so, and stays until ctx is done.
func (a *app) foreground(ctx context.Context, requests []control.LinkRequest, options control.EngineOptions, asJSON bool) error {
	ns, err := control.CurrentNamespace()
	if err != nil {
		return err
	}
	defer ns.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	engine := control.NewEngine(options)
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	links, warnings, err := makeAll(ctx, engine, ns, requests)
	if err == nil {
		a.warn(warnings)
		err = a.printMade(links, asJSON)
	}
	if err != nil {
		cancel()
		if why := <-ended; why != nil {
			return why // the engine never ran, or broke: requests were refused for that
		}
		return err
	}
	err = <-ended
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func makeAll(ctx context.Context, engine *control.Engine, ns control.Namespace, requests []control.LinkRequest) (links []control.Link, warnings []string, err error) {
	for _, r := range requests {
		r.NetnsInode = ns.Inode()
		answer, refusal := engine.Link(ctx, r, ns)
		if refusal != nil {
			return nil, nil, refusal
		}
		warnings = append(warnings, answer.Warnings...)
		if answer.Link != nil {
			links = append(links, *answer.Link)
		}
	}
	return links, warnings, nil
}

func (a *app) printMade(links []control.Link, asJSON bool) error {
	if asJSON {
		return writeJSON(a.stdout, generic(links), true)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tADDRESS\tMODE\tPARENT\tSTATE\tWIRE")
	for _, l := range links {
		parent := l.Parent
		if parent == "" {
			parent = fmt.Sprintf("if%d", l.LinkIndex)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.IfName, l.Address, l.LinkInfo.Data.Mode, parent, l.OperState, l.Umacvlan.Wire)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.stderr, "umacvlan: running; Ctrl-C ends it and takes the devices away")
	return err
}
