package main

import "github.com/umacvlan/umacvlan/internal/control"

// linkCommand is one parsed "link …": a request to the daemon, a listing, or a
// text that was asked for.
type linkCommand struct {
	request *control.LinkRequest
	show    *showFilter
	help    string
}

// showFilter says which vmacs "link show" lists.
type showFilter struct {
	dev      string
	up, down bool
	kind     string
}

// resolver answers what ip looks up while it reads a command line. Names of
// devices are those of the namespace that the command is about.
type resolver struct {
	// device says whether a device of that name exists.
	device func(name string) bool
	// netns turns a name under /run/netns, a path or a process id into a path.
	netns func(name string) (path string, ok bool)
}

// parseLink reads what follows "link" (do_iplink).
func parseLink(args []string, r resolver) (linkCommand, error) {
	if len(args) == 0 {
		return linkCommand{show: &showFilter{}}, nil
	}
	verb, rest := args[0], args[1:]
	for _, v := range []struct{ word, op string }{
		{"add", "add"}, {"set", "set"}, {"change", "set"}, {"replace", "replace"}, {"delete", "delete"},
	} {
		if matches(verb, v.word) {
			return parseModify(v.op, rest, r)
		}
	}
	for _, word := range []string{"show", "lst", "list"} {
		if matches(verb, word) {
			return parseShow(rest, r)
		}
	}
	if matches(verb, "help") {
		return linkHelp(rest)
	}
	return linkCommand{}, malformed(`Command "%s" is unknown, try "umacvlan link help".`, verb)
}

func linkHelp(rest []string) (linkCommand, error) {
	if len(rest) > 0 && (rest[0] == "macvlan" || rest[0] == "macvtap") {
		return linkCommand{help: macvlanUsage(rest[0])}, nil
	}
	return linkCommand{}, malformed("%s", linkUsage)
}

// modify is a request being read.
type modify struct {
	words
	resolver
	req *control.LinkRequest

	create             bool
	name, dev          *string // as in iplink_parse they are compared as pointers
	link               *string
	addressLen         int
	kind               *string
	mtu, txqlen, netns bool // seen
}

// parseModify mirrors iplink_modify.
func parseModify(op string, args []string, r resolver) (linkCommand, error) {
	m := &modify{
		words:    words{list: args},
		resolver: r,
		req:      &control.LinkRequest{Op: op},
		create:   op == "add" || op == "replace",
	}
	for m.kind == nil && m.more() {
		if err := m.readKeyword(); err != nil {
			return linkCommand{}, err
		}
		m.at++
	}
	if err := m.finish(); err != nil {
		return linkCommand{}, err
	}
	if m.kind == nil {
		if m.create {
			return linkCommand{}, usageError(`Not enough information: "type" argument is required`)
		}
		return linkCommand{request: m.req}, nil
	}
	if err := m.readKind(); err != nil {
		return linkCommand{}, err
	}
	return linkCommand{request: m.req}, nil
}

// finish is what iplink_parse does once it has read the last word.
func (m *modify) finish() error {
	switch {
	case m.name == nil:
		m.name = m.dev
	case m.dev == nil || *m.name == *m.dev:
		m.dev = m.name
	}
	if m.create {
		if m.name != m.dev {
			return malformed(`both "name" and "dev" cannot be used when creating devices.`)
		}
		if m.link != nil {
			if !m.device(*m.link) {
				return nodev(*m.link)
			}
			m.req.Parent = *m.link
		}
		if m.name != nil {
			m.req.Name = *m.name
		}
		return nil
	}
	if m.dev == nil {
		return malformed(`Not enough information: "dev" argument is required.`)
	}
	if !m.device(*m.dev) {
		return nodev(*m.dev)
	}
	if m.addressLen != 0 && m.addressLen != 6 {
		return usageError("Invalid address length %d - must be 6 bytes", m.addressLen)
	}
	// "link" is not looked at: neither ip nor the kernel moves a vmac to
	// another parent, and both say nothing.
	m.req.Name = *m.dev
	if m.name != m.dev {
		m.req.NewName = m.name
	}
	return nil
}

// readKind reads what follows "type KIND".
func (m *modify) readKind() error {
	m.req.Kind = *m.kind
	if m.req.Kind == "macvlan" || m.req.Kind == "macvtap" {
		if !m.more() {
			return nil
		}
		data, err := parseMacvlan(m.req.Kind, m.list[m.at:])
		m.req.Data = data
		return err
	}
	if m.more() && matches(m.word(), "help") {
		return malformed("%s", linkUsage)
	}
	// The options of other kinds are not ours to read: that there are some is
	// what the request is refused for.
	if m.more() {
		m.req.Data = &control.MacvlanData{}
	}
	return nil
}
