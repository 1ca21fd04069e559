package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/umacvlan/umacvlan/internal/control"
)

// list has the other ip list devices, and rewrites what it says of ours: they are
// TAPs to it, and macvlans to whoever asked.
func (w *wrapper) list(ctx context.Context, args []string) error {
	ours := map[string]*control.Link{}
	if w.dial() == nil {
		links, err := w.client.Links(ctx, w.netns)
		if err != nil {
			return err
		}
		for i := range links {
			ours[links[i].IfName] = &links[i]
		}
	}
	if len(ours) == 0 || w.real == "" {
		return w.pass(args)
	}
	v := &ipView{wrapper: w, ours: ours, link: matches(args[0], "link")}
	kind, others := takeKind(args)
	for _, l := range ours {
		l.Qdisc = withoutQueue(l.Qdisc)
	}
	out, err := v.output(args)
	if kind == "" || err != nil {
		v.write(out, nil)
		return err
	}
	// By kind the kernel selects, which takes ours for TAPs.
	selected := v.names(out)
	all, err := v.output(others)
	if err != nil {
		return err
	}
	v.write(all, func(name string) bool {
		if l := ours[name]; l != nil {
			return l.LinkInfo.Kind == kind
		}
		return slices.Contains(selected, name)
	})
	return nil
}

// withoutQueue is noqueue, which a macvlan has, for what a TAP gets by itself. What
// somebody has chosen stays.
func withoutQueue(qdisc string) string {
	own, _ := os.ReadFile("/proc/sys/net/core/default_qdisc")
	if qdisc == "pfifo_fast" || qdisc == strings.TrimSpace(string(own)) {
		return "noqueue"
	}
	return qdisc
}

// output is what the other ip prints; what it says on stderr goes there.
func (v *ipView) output(args []string) (string, error) {
	var out bytes.Buffer
	options := v.options
	if choosePalette(v.opts.color, v.terminal, v.getenv) != (palette{}) {
		v.options = append(slices.Clip(options), "-c=always") // it sees no terminal
	}
	err := v.other(nil, &out, v.stderr, args)
	v.options = options
	return out.String(), err
}

// takeKind takes "type KIND" out of what a list selects by
// (ipaddr_list_flush_or_save).
func takeKind(args []string) (kind string, others []string) {
	for i := 0; i < len(args); i++ {
		switch word := args[i]; {
		case i >= 2 && word == "type" && i+1 < len(args):
			kind = args[i+1]
			return kind, slices.Concat(args[:i], args[i+2:])
		case i >= 2 && slices.Contains([]string{"to", "scope", "dev", "label", "group", "master", "vrf", "proto"}, word):
			i++
		}
	}
	return "", args
}

// ipView is one listing.
type ipView struct {
	*wrapper
	ours map[string]*control.Link
	link bool // of links, and not of addresses
}

// write prints what the other ip said with our part put right; if keep is not
// nil only what it names.
func (v *ipView) write(out string, keep func(name string) bool) {
	if v.opts.json {
		out = v.rewriteJSON(out, keep)
	} else {
		var b strings.Builder
		for _, block := range v.blocks(out) {
			name := v.nameOf(block)
			if keep != nil && !keep(name) {
				continue
			}
			if l := v.ours[name]; l != nil {
				block = v.rewrite(block, l)
			}
			b.WriteString(block)
		}
		out = b.String()
	}
	io.WriteString(v.stdout, out)
}

// names are the devices in a listing.
func (v *ipView) names(out string) (list []string) {
	if v.opts.json {
		return namesInJSON(out)
	}
	for _, block := range v.blocks(out) {
		list = append(list, v.nameOf(block))
	}
	return list
}

const sgr = `(?:\x1b\[[0-9;]*m)*` // colours

var (
	blockStart = regexp.MustCompile(`^[0-9]+: `)
	blockName  = regexp.MustCompile(`^[0-9]+: ` + sgr + `([^:@\s\x1b]+)`)
	briefName  = regexp.MustCompile(`^` + sgr + `([^@\s\x1b]+)`)
)

// blocks cuts a listing into devices.
func (v *ipView) blocks(out string) (list []string) {
	for line := range strings.Lines(out) {
		if len(list) == 0 || v.opts.brief || blockStart.MatchString(line) {
			list = append(list, line)
		} else {
			list[len(list)-1] += line
		}
	}
	return list
}

func (v *ipView) nameOf(block string) string {
	form := blockName
	if v.opts.brief {
		form = briefName
	}
	if m := form.FindStringSubmatch(block); m != nil {
		return m[1]
	}
	return ""
}

// Parts of print_linkinfo that are otherwise for a TAP.
var (
	header    = regexp.MustCompile(`^([0-9]+: ` + sgr + `)[^:@\s\x1b]+(?:@[^:\s\x1b]+)?(: ` + sgr + `)<[^>]*>( mtu [0-9]+ qdisc )\S+(.*? state ` + sgr + `)[A-Z]+`)
	addresses = regexp.MustCompile(`link/ether \S+ brd [^\s\\]+`)
	maxMTU    = regexp.MustCompile(` maxmtu [0-9]+`)
	tunInfo   = regexp.MustCompile(`tun type tap [^\\\n]*?(addrgenmode |numtxqueues |[\\\n]|$)`)
	ourAlias  = regexp.MustCompile(`(?:\n|\\)    alias umacvlan mode [^\\\n]*`)
	counters  = regexp.MustCompile(`    RX: `)
	briefLine = regexp.MustCompile(`^` + sgr + `\S+\s+` + sgr + `[A-Z]+\s+` + sgr)
)

// rewrite makes of a TAP's part of a listing a macvlan's.
func (v *ipView) rewrite(block string, l *control.Link) string {
	var b strings.Builder
	t := textPrinter{Builder: &b, o: v.opts, nl: "\n", palette: choosePalette(v.opts.color, v.terminal, v.getenv)}
	if v.opts.brief {
		if v.link {
			t.brief(l)
			return b.String()
		}
		t.briefHead(l)
		return b.String() + briefLine.ReplaceAllLiteralString(block, "")
	}
	if v.opts.oneline {
		t.nl = "\\"
	}
	block = replaceParts(header, block, func(m []string) string {
		return m[1] + nameAndLink(l) + m[2] + "<" + strings.Join(l.Flags, ",") + ">" + m[3] + l.Qdisc + m[4] + l.OperState
	})
	block = replaceParts(addresses, block, func(m []string) string { return m[0] + linkNetns(l) })
	block = replaceParts(maxMTU, block, func([]string) string { return fmt.Sprintf(" maxmtu %d", l.MaxMTU) })
	block = replaceParts(tunInfo, block, func(m []string) string { return kindText(l) + m[1] })
	block = ourAlias.ReplaceAllLiteralString(block, "")
	if at := counters.FindStringIndex(block); at != nil && v.opts.stats > 0 {
		t.statistics(&l.Stats64)
		block = block[:at[0]] + b.String() + "\n"
	}
	return block
}

// replaceParts replaces what matches by what is made of it and of its groups.
func replaceParts(re *regexp.Regexp, s string, by func(m []string) string) string {
	return re.ReplaceAllStringFunc(s, func(part string) string { return by(re.FindStringSubmatch(part)) })
}

// rewriteJSON does to objects what rewrite does to text.
func (v *ipView) rewriteJSON(out string, keep func(name string) bool) string {
	list, err := parseJSON(out)
	if err != nil {
		return out // a form that we don't know
	}
	rewritten := []any{}
	for _, e := range list {
		o, ok := e.(object)
		name, _ := o.get("ifname").(string)
		if ok && keep != nil && !keep(name) {
			continue
		}
		if l := v.ours[name]; ok && l != nil {
			o = v.rewriteObject(o, l)
		}
		if ok {
			e = o
		}
		rewritten = append(rewritten, e)
	}
	var b strings.Builder
	writeJSON(&b, rewritten, v.opts.pretty)
	return b.String()
}

func (v *ipView) rewriteObject(o object, l *control.Link) object {
	var parent, out object
	parent.addParent(l)
	if o.get("ifindex") == nil {
		out = parent
	}
	for _, m := range o {
		switch m.key {
		case "link", "link_index", "link_netnsid":
			continue
		case "ifalias":
			if s, _ := m.value.(string); strings.HasPrefix(s, "umacvlan mode ") {
				continue
			}
		case "flags":
			m.value = strs(l.Flags)
		case "qdisc":
			m.value = l.Qdisc
		case "operstate":
			m.value = l.OperState
		case "max_mtu":
			m.value = l.MaxMTU
		case "linkinfo":
			if info, ok := m.value.(object); ok && info.get("info_kind") == "tun" {
				m.value = slices.Concat(object{{"info_kind", l.LinkInfo.Kind}, {"info_data", infoData(&l.LinkInfo.Data)}}, info.without("info_kind", "info_data"))
			}
		case "stats64":
			m.value = statistics(&l.Stats64, v.opts.stats > 1)
		}
		out = append(out, m)
		switch {
		case m.key == "ifindex":
			out = append(out, parent...)
		case m.key == "broadcast" && l.LinkNetnsID != nil:
			out.add("link_netnsid", *l.LinkNetnsID)
		}
	}
	return out
}

func namesInJSON(out string) (names []string) {
	list, _ := parseJSON(out)
	for _, e := range list {
		if o, ok := e.(object); ok {
			name, _ := o.get("ifname").(string)
			names = append(names, name)
		}
	}
	return names
}
