package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"

	"github.com/umacvlan/umacvlan/internal/control"
)

// ipLink executes "link …".
func (w *wrapper) ipLink(ctx context.Context, args []string) error {
	rest := args[1:]
	if shows(rest) {
		return w.list(ctx, args)
	}
	verb := rest[0]
	switch {
	case matches(verb, "add"):
		return w.change(ctx, args, readLinkWords(rest[1:]), "add")
	case matches(verb, "set") || matches(verb, "change"):
		return w.change(ctx, args, readLinkWords(rest[1:]), "set")
	case matches(verb, "replace"):
		return w.change(ctx, args, readLinkWords(rest[1:]), "replace")
	case matches(verb, "delete"):
		return w.change(ctx, args, readLinkWords(rest[1:]), "delete")
	}
	return w.pass(args)
}

// linkWords is what a request to change something says, sorted by who does it.
type linkWords struct {
	dev, parent, kind string
	ours              []string // keywords of the emulation, type and all behind it too
	others            []string // what any device can do, for the other ip
	carrier           bool     // one of others that a macvlan refuses
	opaque            bool     // it can't be told where one keyword ends
}

// Keywords of ip that the emulation leaves to the TAP itself, and how many words
// follow each.
var anyDevice = map[string]int{
	"broadcast": 1, "brd": 1, "multicast": 1, "trailers": 1, "arp": 1, "carrier": 1, "master": 1, "vrf": 1, "nomaster": 0, "dynamic": 1,
	"group": 1, "mode": 1, "state": 1, "addrgenmode": 1, "protodown": 1, "protodown_reason": 2,
	"gso_max_size": 1, "gso_max_segs": 1, "gro_max_size": 1, "gso_ipv4_max_size": 1, "gro_ipv4_max_size": 1,
}

// readLinkWords follows iplink_parse from keyword to keyword. What it doesn't
// understand is for whoever gets the request to complain of.
func readLinkWords(args []string) (l linkWords) {
	for i := 0; i < len(args); {
		word := args[i]
		n, other := 1, false
		k := slices.IndexFunc(linkKeywords, func(k keyword) bool { return word == k.word || k.short && matches(word, k.word) })
		switch {
		case k < 0 && word == "dev":
			n = 2
			l.dev = at(args, i+1)
		case k < 0:
			l.dev = word
		case linkKeywords[k].word == "type":
			l.kind = at(args, i+1)
			n = len(args) - i
		case linkKeywords[k].word == "vf" || strings.HasPrefix(linkKeywords[k].word, "xdp"):
			l.opaque = true
			return l
		case linkKeywords[k].word == "up" || linkKeywords[k].word == "down":
		default:
			name := linkKeywords[k].word
			more, any := anyDevice[name]
			if other = any; !any {
				more = 1
			}
			n = 1 + more
			l.carrier = l.carrier || name == "carrier"
			switch name {
			case "name":
				if l.dev == "" {
					l.dev = at(args, i+1)
				}
			case "link":
				l.parent = at(args, i+1)
			}
		}
		end := min(i+n, len(args))
		if other {
			l.others = append(l.others, args[i:end]...)
		} else {
			l.ours = append(l.ours, args[i:end]...)
		}
		i = end
	}
	return l
}

func at(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

// change decides who gets a request, and gives it to them.
func (w *wrapper) change(ctx context.Context, args []string, l linkWords, op string) error {
	create := op == "add" || op == "replace"
	switch {
	case l.opaque, op == "delete" && len(l.others) > 0, strings.HasSuffix(l.kind, "_slave"): // what a TAP is to its bridge, too
		return w.pass(args)
	case create && w.ours(ctx, l.dev) && op == "replace":
		return w.emulate(ctx, op, l)
	case create && l.kind == "macvlan" && (w.always || w.ours(ctx, l.parent)):
		return w.emulate(ctx, op, l)
	case create && l.kind == "macvtap" && w.always:
		return otherKind(&control.LinkRequest{Op: op, Kind: l.kind})
	case create && (l.kind == "macvlan" || l.kind == "macvtap"):
		return w.askKernel(ctx, args, op, l)
	case !create && w.ours(ctx, l.dev):
		return w.emulate(ctx, op, l)
	}
	return w.pass(args)
}

// ours says whether the daemon has a vmac of that name. Without a daemon there is
// none.
func (w *wrapper) ours(ctx context.Context, dev string) bool {
	if dev == "" || w.dial() != nil {
		return false
	}
	links, err := w.client.Links(ctx, w.netns, dev)
	return err == nil && len(links) > 0
}

// askKernel has the other ip make a macvlan. If the kernel has no driver for it
// that is not said, and the daemon is asked.
func (w *wrapper) askKernel(ctx context.Context, args []string, op string, l linkWords) error {
	var said bytes.Buffer
	err := w.other(nil, w.stdout, &said, args)
	var f *failure
	if !errors.As(err, &f) || w.real == "" || !noDriver(said.String()) {
		w.stderr.Write(said.Bytes())
		return err
	}
	if l.kind == "macvtap" {
		w.stderr.Write(said.Bytes())
		w.complain("%s", otherKind(&control.LinkRequest{Op: op, Kind: l.kind}).Hint)
		return err
	}
	if missing := w.dial(); missing != nil {
		w.stderr.Write(said.Bytes())
		w.report(missing)
		return err
	}
	return w.emulate(ctx, op, l)
}

// noDriver says that these are the words of an ip whose kernel has no driver for
// a kind of link: with and without extended acks, and of busybox.
func noDriver(said string) bool {
	for _, words := range []string{"Unknown device type", "Operation not supported", "Not supported"} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// emulate has the daemon do what is a macvlan's, and the other ip what any
// device can do.
func (w *wrapper) emulate(ctx context.Context, op string, l linkWords) error {
	if l.carrier && op == "set" {
		return &control.Refusal{Errno: int(syscall.EOPNOTSUPP), Hint: "a macvlan has its parent's carrier"}
	}
	name := l.dev
	if len(l.ours) > 0 && !(op == "set" && isName(l.ours, l.dev)) {
		made, err := w.request(ctx, append([]string{op}, l.ours...))
		if err != nil {
			return err
		}
		if made != nil {
			name = made.IfName
		}
	}
	if len(l.others) == 0 {
		return nil
	}
	return w.other(nil, w.stdout, w.stderr, slices.Concat([]string{"link", "set", "dev", name}, l.others))
}

// request is "umacvlan link" without its warnings, which ip hasn't. The link is
// nil where nothing is left, or nothing was done.
func (w *wrapper) request(ctx context.Context, args []string) (*control.Link, error) {
	cmd, err := parseLink(args, w.resolver)
	if err != nil || cmd.request == nil {
		return nil, err
	}
	answer, err := w.ask(ctx, cmd.request)
	return answer.Link, err
}

// isName says that words do no more than name a device.
func isName(list []string, dev string) bool {
	return slices.Equal(list, []string{dev}) || slices.Equal(list, []string{"dev", dev})
}
