package main

import (
	"context"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/control"
)

func (a *app) linkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "link { add | set | change | replace | delete | show | help } ...",
		Short: "Make, change, delete and list devices, in the grammar of ip link",
		Long: "link speaks the grammar of \"ip link\", keywords instead of flags, with its answers\n" +
			"and exit codes: 0 done, 1 usage, 2 refused, 255 malformed argument.\n\n" +
			linkUsage + "\n\n" + macvlanUsage("macvlan"),
		Example: "  umacvlan link add link eth0 name vmac0 type macvlan mode bridge\n" +
			"  umacvlan link set vmac0 up\n" +
			"  umacvlan -d -s link show vmac0\n" +
			"  umacvlan -n blue link delete vmac0",
		ValidArgs:          []string{"add", "set", "change", "replace", "delete", "show", "help"},
		DisableFlagParsing: true, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && (args[0] == "--help" || args[0] == "-help" || args[0] == "-h") {
				return cmd.Help()
			}
			s, err := a.newSession()
			if err != nil {
				return err
			}
			defer s.close()
			return s.link(cmd.Context(), args)
		},
	}
}

// session is what the commands of one run share: the namespace that -n names,
// and the connection, which is made when the first of them needs it.
type session struct {
	*app
	netns    string
	resolver resolver
	client   *control.Client
}

func (a *app) newSession() (*session, error) {
	s := &session{app: a}
	if n := a.opts.netns; n != "" {
		path, err := namespacePath(n)
		if err != nil {
			return nil, malformed(`Cannot open network namespace "%s": %s`, n, cause(err))
		}
		s.netns = path
	}
	s.resolver = newResolver(s.netns)
	return s, nil
}

func (s *session) close() {
	if s.client != nil {
		s.client.Close()
	}
}

func (s *session) dial() (err error) {
	if s.client == nil {
		s.client, err = control.Dial(s.opts.socket)
	}
	return err
}

// link executes what follows "link".
func (s *session) link(ctx context.Context, args []string) error {
	cmd, err := parseLink(args, s.resolver)
	switch {
	case err != nil:
		return err
	case cmd.show != nil:
		return s.show(ctx, cmd.show)
	case cmd.request == nil:
		_, err := fmt.Fprintln(s.stdout, cmd.help)
		return err
	}
	answer, err := s.ask(ctx, cmd.request)
	// A device that stays down does no harm yet, and scripts expect silence.
	if err == nil && cmd.request.Up != nil && *cmd.request.Up {
		s.warn(answer.Warnings)
	}
	return err
}

// ask has the daemon do what a command line asks for.
func (s *session) ask(ctx context.Context, r *control.LinkRequest) (answer control.LinkAnswer, err error) {
	if refusal := otherKind(r); refusal != nil {
		return answer, refusal
	}
	if err := s.dial(); err != nil {
		return answer, err
	}
	r.NetnsPath = s.netns
	answer, refusal, err := s.client.Link(ctx, *r)
	if err == nil && refusal != nil {
		err = refusal
	}
	return answer, err
}

func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		a.complain("warning: %s", w)
	}
}

// otherKind refuses devices that are no macvlan, with the errno of a kernel
// that lacks their driver (add) or that is asked to change a device of one kind
// as if it were of another; the kind alone rtnl_changelink doesn't look at.
func otherKind(r *control.LinkRequest) *control.Refusal {
	refusal := &control.Refusal{Errno: int(syscall.EOPNOTSUPP)}
	switch {
	case r.Kind == "" || r.Kind == "macvlan" || r.Op == "delete": // rtnl_dellink looks at no kind
		return nil
	case r.Op == "set" && r.Data == nil:
		return nil
	case r.Kind == "macvtap":
		refusal.Hint = "macvtap is not emulated; every umacvlan device is a TAP, so make one of type macvlan and move frames through that"
	default:
		refusal.Hint = fmt.Sprintf("only type macvlan is emulated; for %s use: ip link", r.Kind)
	}
	if r.Op == "add" || r.Op == "replace" {
		refusal.Text = "Unknown device type"
	}
	return refusal
}

// show lists vmacs.
func (s *session) show(ctx context.Context, f *showFilter) error {
	if err := s.dial(); err != nil {
		return err
	}
	var names []string
	if f.dev != "" {
		names = []string{f.dev}
	}
	all, err := s.client.Links(ctx, s.netns, names...)
	if err != nil {
		return err
	}
	if f.dev != "" && len(all) == 0 {
		return &failure{exitUsage, []string{
			fmt.Sprintf(`Device "%s" does not exist.`, f.dev),
			fmt.Sprintf("umacvlan: %s exists, but it is not one of this daemon's; try: ip link show dev %s", f.dev, f.dev),
		}}
	}
	var links []control.Link
	for _, l := range all {
		if f.selects(&l) {
			links = append(links, l)
		}
	}
	if s.opts.json {
		err = printJSON(s.stdout, links, s.opts)
	} else {
		err = printText(s.stdout, links, s.opts, choosePalette(s.opts.color, s.terminal, s.getenv))
	}
	if err != nil {
		return err
	}
	if s.opts.details > 0 && !s.opts.brief {
		for _, l := range links {
			s.warn(l.Umacvlan.Warnings)
		}
	}
	return nil
}
