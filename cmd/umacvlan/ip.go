package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) ipCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ip [ --force ] [ OPTIONS ] OBJECT { COMMAND | help }",
		Short: "Be ip, with macvlan devices where the kernel has none",
		Long: "ip hands everything to the ip that comes next in $PATH, except macvlan devices: those\n" +
			"that the kernel refuses to make for want of a driver are made by the daemon, and what\n" +
			"is set, shown or deleted of such a device goes to the daemon, too. \"ip link\" and\n" +
			"\"ip addr\" show them as macvlan. With --force, or $UMACVLAN_FORCE, the kernel is not\n" +
			"asked. Options are those of ip; --socket is ours.\n\n" +
			"So that scripts find it: a link named ip to umacvlan in a directory that stands in front\n" +
			"of ip's in $PATH. For a shell's prompt: alias ip='umacvlan ip'.",
		Example: "  umacvlan ip link add link eth0 name vmac0 type macvlan mode bridge\n" +
			"  alias ip='umacvlan ip'\n" +
			"  ln -s $(which umacvlan) /usr/local/sbin/ip",
		DisableFlagParsing: true, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error { return a.ip(cmd.Context(), args) },
	}
}

// wrapper is one run of "umacvlan ip". Its session has the options in our terms.
type wrapper struct {
	*session
	real    string   // the other ip; empty: there is none
	options []string // in front of the object, for the other ip; not ours, nor those about a batch
	always  bool     // never ask the kernel for a macvlan
	batched bool
}

// ip is main of ip, as far as it has to be looked at.
func (a *app) ip(ctx context.Context, args []string) error {
	w := &wrapper{real: findIP(a.getenv("PATH")), always: a.opts.force}
	if v := a.getenv("UMACVLAN_FORCE"); v != "" && v != "0" {
		w.always = true
	}
	o, rest, known := readIPOptions(args)
	if len(args) == 1 && args[0] == "--help" {
		cmd := a.rootCommand()
		cmd.SetArgs([]string{"help", "ip"})
		return cmd.Execute()
	}
	w.always = w.always || o.always
	w.options = o.pass
	if o.socket == "" {
		o.socket = a.opts.socket
	}
	a.opts = o.options
	if !known || a.opts.version || len(rest) == 0 && a.opts.batch == "" {
		return w.hand(a, o.all)
	}
	s, err := a.newSession()
	if err != nil {
		return err
	}
	defer s.close()
	w.session = s
	if a.opts.batch != "" {
		w.batched = true
		return s.batchOf(ctx, a.opts.batch, w.run)
	}
	return w.run(ctx, rest)
}

// run executes an object with what follows it.
func (w *wrapper) run(ctx context.Context, args []string) error {
	switch object, rest := args[0], args[1:]; {
	case matches(object, "address") && shows(rest):
		return w.list(ctx, args)
	case matches(object, "link"):
		return w.ipLink(ctx, args)
	case strings.HasPrefix(object, "net") && matches(object, "netns"):
		return w.pass(w.withinNetns(args))
	}
	return w.pass(args)
}

// shows says that what follows the object asks for a list.
func shows(args []string) bool {
	return len(args) == 0 || matches(args[0], "show") || matches(args[0], "lst") || matches(args[0], "list")
}

// withinNetns makes the ip that "netns exec" is asked to start this one.
func (w *wrapper) withinNetns(args []string) []string {
	at := 3 // netns exec NAME COMMAND
	all := func(o string) bool { o = strings.Replace(o, "--", "-", 1); return o != "-" && matches(o, "-all") }
	if slices.ContainsFunc(w.options, all) {
		at = 2
	}
	self, err := os.Executable()
	if err != nil || len(args) <= at || !matches(args[1], "exec") {
		return args
	}
	if c := args[at]; c != "ip" && !(filepath.Base(c) == "ip" && (sameFile(c, w.real) || sameFile(c, self))) {
		return args
	}
	us := []string{self}
	if w.opts.socket != "" {
		us = append(us, "--socket", w.opts.socket)
	}
	us = append(us, "ip")
	if w.always {
		us = append(us, "--force")
	}
	return slices.Concat(args[:at], us, args[at+1:])
}

// ipOptions are ip's, with what they mean to our own listing.
type ipOptions struct {
	options
	always bool
	all    []string // the command line without what is ours
	pass   []string // the options that the other ip gets for each command
}

type ipOption struct {
	word     string
	argument bool
	whole    bool // may not be abbreviated
	set      func(o *options, arg string)
}

// ipOptionTable stands in ip's order of comparison.
var ipOptionTable = []ipOption{
	{"-loops", true, false, nil}, {"-family", true, false, nil},
	{"-4", false, true, nil}, {"-6", false, true, nil}, {"-0", false, true, nil}, {"-M", false, true, nil}, {"-B", false, true, nil},
	{"-human-readable", false, false, func(o *options, _ string) { o.human = true }},
	{"-iec", false, false, func(o *options, _ string) { o.iec = true }},
	{"-stats", false, false, func(o *options, _ string) { o.stats++ }},
	{"-statistics", false, false, func(o *options, _ string) { o.stats++ }},
	{"-details", false, false, func(o *options, _ string) { o.details++ }},
	{"-resolve", false, false, nil},
	{"-oneline", false, false, func(o *options, _ string) { o.oneline = true }},
	{"-timestamp", false, false, nil}, {"-tshort", false, false, nil},
	{"-Version", false, false, func(o *options, _ string) { o.version = true }},
	{"-force", false, false, func(o *options, _ string) { o.force = true }},
	{"-batch", true, false, func(o *options, arg string) { o.batch = arg }},
	{"-brief", false, false, func(o *options, _ string) { o.brief = true }},
	{"-json", false, false, func(o *options, _ string) { o.json = true }},
	{"-pretty", false, false, func(o *options, _ string) { o.pretty = true }},
	{"-rcvbuf", true, false, nil},
	{"-netns", true, false, func(o *options, arg string) { o.netns = arg }},
	{"-Numeric", false, false, nil}, {"-all", false, false, nil}, {"-echo", false, false, nil},
}

// readIPOptions reads the options in front of the object. known is false if one
// is unknown, or asks for help: the other ip knows what to say then.
func readIPOptions(args []string) (o ipOptions, rest []string, known bool) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		word := args[0]
		args = args[1:]
		if word == "--" {
			o.all = append(o.all, word)
			break
		}
		// Two dashes: of the two meanings of force the one that is ours.
		if word == "--force" {
			o.always = true
			continue
		}
		if word == "--socket" && len(args) > 0 {
			o.socket, args = args[0], args[1:]
			continue
		}
		opt := strings.Replace(word, "--", "-", 1)
		if o.readColor(opt) {
			o.pass, o.all = append(o.pass, word), append(o.all, word)
			continue
		}
		i := slices.IndexFunc(ipOptionTable, func(t ipOption) bool {
			return opt == t.word || !t.whole && opt != "-" && matches(opt, t.word)
		})
		if i < 0 || ipOptionTable[i].argument && len(args) == 0 {
			o.all = append(append(o.all, word), args...)
			return o, nil, false
		}
		t := ipOptionTable[i]
		words := []string{word}
		if t.argument {
			words = append(words, args[0])
			args = args[1:]
		}
		if t.set != nil {
			t.set(&o.options, words[len(words)-1])
		}
		o.all = append(o.all, words...)
		if t.word != "-batch" && t.word != "-force" {
			o.pass = append(o.pass, words...)
		}
	}
	o.all = append(o.all, args...)
	return o, args, true
}
