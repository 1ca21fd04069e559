package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/umacvlan/umacvlan/classify"
)

// Parse reads a file and checks it. The Config is nil if one of the problems is
// no warning. All that can be found is reported at once, in order of lines.
func Parse(file string, text []byte) (*Config, Problems) {
	d := &decoder{file: file}
	c := d.document(text)
	if !d.problems.Failed() {
		d.check(c)
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if d.problems.Failed() {
		return nil, d.problems
	}
	return c, d.problems
}

// decoder collects the problems of one file.
type decoder struct {
	file     string
	problems Problems
}

func (d *decoder) fail(at pos, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: at.line, Column: at.column, Text: fmt.Sprintf(format, args...)})
}

func (d *decoder) warn(at pos, format string, args ...any) {
	d.fail(at, format, args...)
	d.problems[len(d.problems)-1].Warning = true
}

func (d *decoder) document(text []byte) *Config {
	c := &Config{File: d.file}
	// Keys given twice are found below, with words of ours.
	f, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at, what := pos{1, 1}, err.Error()
		var e yaml.Error
		if errors.As(err, &e) {
			what = e.GetMessage()
			if t := e.GetToken(); t != nil && t.Position != nil {
				at = pos{t.Position.Line, t.Position.Column}
			}
		}
		d.fail(at, "this is no YAML: %s", what)
		return c
	}
	var body ast.Node
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			d.fail(where(doc.Body), "a second document; the file is one")
			return c
		}
		body = doc.Body
	}
	if body == nil {
		d.fail(pos{1, 1}, "the file is empty; one without vmacs says: parents: []")
		return c
	}
	d.mapping(body, "the file", TopKeys, func(_ string, v ast.Node) {
		d.list(v, "parents", "a list of parents", func(n ast.Node) { c.Parents = append(c.Parents, d.parent(n)) })
	})
	return c
}

func (d *decoder) parent(n ast.Node) Parent {
	p := newParent()
	p.at = d.mapping(n, "a parent", ParentKeys, func(key string, v ast.Node) {
		switch key {
		case "name":
			p.Name = d.text(v, key)
		case "netns":
			p.Netns = d.namespace(v)
		case "bclim":
			p.BCLim = int32(d.number(v, key, -1, math.MaxInt32))
		case "vmacs":
			d.list(v, key, "a list of vmacs", func(n ast.Node) { p.Vmacs = append(p.Vmacs, d.vmac(n)) })
		}
	})
	return p
}

func (d *decoder) vmac(n ast.Node) Vmac {
	v := newVmac()
	v.at = d.mapping(n, "a vmac", VmacKeys, func(key string, n ast.Node) {
		switch key {
		case "name":
			v.Name = d.text(n, key)
		case "netns":
			v.Netns = d.namespace(n)
		case "mode":
			if s := d.text(n, key); s != "" {
				var err error
				if v.Mode, err = classify.ParseMode(s); err != nil {
					d.fail(where(n), "mode is private, vepa, bridge, passthru or source, not %q", s)
				}
			}
		case "flags":
			d.list(n, key, "a list of nopromisc, nodst", func(n ast.Node) { v.Flags |= d.flag(n) })
		case "mac":
			v.MAC = d.mac(n, key)
		case "macaddr":
			d.list(n, key, "a list of Ethernet addresses", func(n ast.Node) {
				m := d.mac(n, key)
				if slices.Contains(v.Sources, m) {
					d.fail(where(n), "%v stands in the list already", m)
				}
				v.Sources = append(v.Sources, m)
			})
			slices.Sort(v.Sources)
		case "mtu":
			v.MTU = int(d.number(n, key, 68, 65535))
		case "bcqueuelen":
			v.BCQueueLen = uint32(d.number(n, key, 0, math.MaxUint32))
		case "txqueuelen":
			v.TxQueueLen = uint32(d.number(n, key, 0, math.MaxInt32))
		case "up":
			v.Up = d.boolean(n, key)
		case "promisc":
			b := d.boolean(n, key)
			v.Promisc = &b
		case "allmulticast":
			b := d.boolean(n, key)
			v.Allmulti = &b
		case "alias":
			if v.Alias = d.text(n, key); len(v.Alias) > 255 {
				d.fail(where(n), "alias has %d bytes; 255 are possible", len(v.Alias))
			}
		case "owner":
			v.Owner = map[string]string{}
			d.entries(n, "owner", "a mapping of texts", func(label string, value ast.Node) { v.Owner[label] = d.text(value, label) })
		case "addresses":
			d.list(n, key, "a list of IP addresses", func(n ast.Node) {
				a := d.address(n)
				if slices.Contains(v.Addresses, a) {
					d.fail(where(n), "%v stands in the list already", a)
				}
				v.Addresses = append(v.Addresses, a)
			})
		}
	})
	return v
}

func (d *decoder) flag(n ast.Node) classify.Flags {
	switch s := d.text(n, "flags"); s {
	case "nopromisc":
		return classify.NoPromisc
	case "nodst":
		return classify.NoDst
	case "":
	default:
		d.fail(where(n), "a flag is nopromisc or nodst, not %q", s)
	}
	return 0
}

func (d *decoder) namespace(n ast.Node) string {
	s := d.text(n, "netns")
	switch {
	case strings.Contains(s, "/") && !strings.HasPrefix(s, "/"):
		d.fail(where(n), "netns is a name under /run/netns or a path from the root, not %q", s)
	case s == "." || s == "..":
		d.fail(where(n), "%q is no name of a namespace", s)
	}
	return s
}

func (d *decoder) mac(n ast.Node, key string) classify.MAC {
	s := d.text(n, key)
	if s == "" {
		return 0
	}
	m, err := classify.ParseMAC(s)
	switch {
	case err != nil:
		d.fail(where(n), "%s takes Ethernet addresses such as 02:00:00:00:01:01, not %q", key, s)
	case m == 0 || m.IsGroup():
		d.fail(where(n), "%v is all zero or a group address (the lowest bit of the first octet is set)", m)
	}
	return m
}

func (d *decoder) address(n ast.Node) netip.Prefix {
	s := d.text(n, "addresses")
	if s == "" {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		d.fail(where(n), "an address has a prefix length, such as 192.0.2.1/24 or 2001:db8::1/64, not %q", s)
	case p.Addr().IsMulticast() || p.Addr().IsUnspecified() || p.Addr().Is4In6():
		d.fail(where(n), "%v is no address that a device can have", p)
	}
	return p
}
