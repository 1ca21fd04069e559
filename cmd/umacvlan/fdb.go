package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/control"
)

const fdbUsage = `Usage: umacvlan fdb { add | append | replace | del } ADDR dev DEV
              [ self ] [ master ] [ local | permanent | static | temp | dynamic ]
              [ use ] [ router ] [ extern_learn ] [ sticky ] [ vlan VID ]
       umacvlan fdb [ show [ dev DEV ] [ brport DEV ] [ vlan VID ]
              [ state STATE ] [ dynamic ] ]`

func (a *app) fdbCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "fdb { add | append | replace | del | show | help } ...",
		Short: "Give devices further addresses, in the grammar of bridge fdb",
		Long: "fdb speaks the grammar of \"bridge fdb\" for what a macvlan can do with it: further\n" +
			"unicast addresses of a passthru device, and groups of any. Exit codes are those of\n" +
			"bridge: 0 done, 255 refused or not understood.\n\n" + fdbUsage,
		Example: "  umacvlan fdb add 01:00:5e:11:22:33 dev vmac0\n" +
			"  umacvlan -j fdb show dev vmac0",
		ValidArgs:          []string{"add", "append", "replace", "del", "show", "help"},
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
			return s.fdb(cmd.Context(), args)
		},
	}
}

// fdb executes what follows "fdb" (do_fdb). Unlike ip, bridge has one exit code
// for all that goes wrong.
func (s *session) fdb(ctx context.Context, args []string) error {
	verb := "show"
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	for _, v := range []struct{ word, op string }{
		{"add", "add"}, {"append", "append"}, {"replace", "replace"}, {"delete", "delete"},
	} {
		if matches(verb, v.word) {
			return s.changeFdb(ctx, v.op, args)
		}
	}
	for _, word := range []string{"show", "lst", "list"} {
		if matches(verb, word) {
			return s.showFdb(ctx, args)
		}
	}
	if matches(verb, "help") {
		return malformed("%s", fdbUsage)
	}
	return malformed(`Command "%s" is unknown, try "umacvlan fdb help".`, verb)
}

func (s *session) changeFdb(ctx context.Context, op string, args []string) error {
	r, err := parseFdb(op, args, s.resolver)
	if err != nil {
		return err
	}
	if err := s.dial(); err != nil {
		return err
	}
	r.NetnsPath = s.netns
	refusal, err := s.client.Fdb(ctx, *r)
	if err != nil || refusal == nil {
		return err
	}
	f := &failure{code: exitMalformed, lines: []string{"RTNETLINK answers: " + strerror(refusal.Errno)}}
	switch {
	case refusal.Device != "":
		f.lines[0] = fmt.Sprintf(`Cannot find device "%s"`, refusal.Device)
	case refusal.Text != "":
		f.lines[0] = fmt.Sprintf("Error: %s.", refusal.Text)
	}
	if refusal.Hint != "" {
		f.lines = append(f.lines, "umacvlan: "+refusal.Hint)
	}
	return f
}

// Words of fdb_modify that the driver does not look at: it keeps every address
// until it is taken away, learns none and routes none. Those in the second list
// come after "vlan".
var (
	fdbIdle     = []string{"router", "local", "permanent", "temp", "static", "dynamic"}
	fdbIdleLast = []string{"use", "extern_learn", "sticky"}
)

// parseFdb mirrors fdb_modify.
func parseFdb(op string, args []string, r resolver) (*control.FdbRequest, error) {
	q := &control.FdbRequest{Op: op}
	var self, master bool
	var addr *string
	w := &words{list: args}
	for ; w.more(); w.at++ {
		var err error
		switch word := w.word(); {
		case word == "dev":
			q.Dev, err = w.next()
		case slices.Contains([]string{"dst", "nhid", "port", "vni", "src_vni", "via"}, word):
			err = malformed(`umacvlan: "%s" is about tunnels, which a vmac has none of`, word)
		case word == "self":
			self = true
		case matches(word, "master"):
			master = true
		case matchesAny(word, fdbIdle):
		case matches(word, "vlan"):
			err = readVlan(w, q)
		case matchesAny(word, fdbIdleLast):
		default:
			if word == "to" {
				_, err = w.next()
			}
			switch {
			case err != nil:
			case matches(w.word(), "help"):
				err = malformed("%s", fdbUsage)
			case addr != nil:
				err = duparg2("to", w.word())
			default:
				addr = w.ptr()
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if q.Dev == "" || addr == nil {
		return nil, malformed("Device and address are required arguments.")
	}
	mac, ok := scanMAC(*addr)
	if !ok {
		return nil, malformed("Invalid mac address %s", *addr)
	}
	if !r.device(q.Dev) {
		return nil, malformed(`Cannot find device "%s"`, q.Dev)
	}
	q.MAC, q.Master = mac, master && !self
	return q, nil
}

func matchesAny(word string, list []string) bool {
	return slices.ContainsFunc(list, func(keyword string) bool { return matches(word, keyword) })
}

func readVlan(w *words, q *control.FdbRequest) error {
	if q.Vlan != nil {
		return duparg2("vlan", w.word())
	}
	text, err := w.next()
	if err != nil {
		return err
	}
	// As atoi does: what is no number is 0, which is refused later.
	vlan := uint16(0)
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		vlan = uint16(n)
	}
	q.Vlan = &vlan
	return nil
}

// scanMAC is sscanf with six times %hhx: what follows the sixth octet is not
// looked at, and of each octet the last two digits count.
func scanMAC(s string) (string, bool) {
	parts := strings.SplitN(s, ":", 7)
	if len(parts) < 6 {
		return "", false
	}
	b := make([]byte, 6)
	for i := range b {
		v, ok := scanHex(parts[i])
		if !ok {
			return "", false
		}
		b[i] = byte(v)
	}
	return formatLLAddr(b), true
}

// fdbFilter is what fdb_show selects by.
type fdbFilter struct {
	dev  string
	none bool // nothing can pass: no address of a vmac belongs to a VLAN or ages
}

func parseFdbShow(args []string, r resolver) (*fdbFilter, error) {
	f := &fdbFilter{}
	w := &words{list: args}
	for ; w.more(); w.at++ {
		var err error
		word := w.word()
		switch {
		case word == "brport" || word == "dev":
			f.dev, err = w.next()
		case word == "br":
			err = malformed(`umacvlan: a vmac is no bridge; try: bridge fdb show br ...`)
		case word == "vlan":
			f.none = true
			_, err = w.next()
		case word == "state":
			var state string
			if state, err = w.next(); err == nil {
				err = f.setState(state)
			}
		case word == "dynamic":
			f.none = true
		case word == "self":
		case matches(word, "help"):
			err = malformed("%s", fdbUsage)
		default: // bridge says nothing, and shows everything
			err = malformed(`umacvlan: "%s" selects nothing; did you mean: fdb show dev %s`, word, word)
		}
		if err != nil {
			return nil, err
		}
	}
	if f.dev != "" && !r.device(f.dev) {
		return nil, malformed(`Cannot find device "%s"`, f.dev)
	}
	return f, nil
}

// setState is state_a2n.
func (f *fdbFilter) setState(s string) error {
	switch {
	case matches(s, "permanent") || s == "all":
		return nil
	case matches(s, "static") || matches(s, "temp") || matches(s, "dynamic") || matches(s, "reachable") || s == "stale":
		f.none = true
		return nil
	}
	return invarg("invalid state", s)
}

func (s *session) showFdb(ctx context.Context, args []string) error {
	f, err := parseFdbShow(args, s.resolver)
	if err != nil {
		return err
	}
	if err := s.dial(); err != nil {
		return err
	}
	var names []string
	if f.dev != "" {
		names = []string{f.dev}
	}
	entries, err := s.client.FdbEntries(ctx, s.netns, names...)
	if err != nil {
		return err
	}
	if f.none {
		entries = nil
	}
	if !s.opts.json {
		return printFdb(s.stdout, entries, f)
	}
	list := make([]any, len(entries))
	for i, e := range entries {
		o := object{{"mac", e.MAC}}
		if f.dev == "" {
			o.add("ifname", e.Dev)
		}
		list[i] = append(o, object{{"flags", strs(e.Flags)}, {"state", e.State}}...)
	}
	return writeJSON(s.stdout, list, s.opts.pretty)
}

func printFdb(w io.Writer, entries []control.FdbEntry, f *fdbFilter) error {
	var b strings.Builder
	for _, e := range entries {
		dev := ""
		if f.dev == "" {
			dev = "dev " + e.Dev + " "
		}
		fmt.Fprintf(&b, "%s %s%s %s\n", e.MAC, dev, strings.Join(e.Flags, " "), e.State)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
