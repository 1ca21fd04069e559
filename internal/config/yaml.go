package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// where is the place of a node.
func where(n ast.Node) pos {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return pos{1, 1}
	}
	// The token of a mapping in block style is the first colon.
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return where(m.Values[0].Key)
	}
	if v, ok := n.(*ast.MappingValueNode); ok {
		return where(v.Key)
	}
	p := n.GetToken().Position
	return pos{p.Line, p.Column}
}

// found says what a node is, for "…, not a list".
func found(n ast.Node) string {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return fmt.Sprintf("%v", n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", n.Value)
	case *ast.LiteralNode:
		return "a text of several lines"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias, which this file doesn't have"
	case *ast.TagNode:
		return "a tag, which this file doesn't have"
	}
	return "something else"
}

func article(n ast.Node, key, takes string) string {
	return fmt.Sprintf("%s takes %s, not %s", key, takes, found(n))
}

// entries walks over a mapping, whose keys are texts and given once.
func (d *decoder) entries(n ast.Node, key, takes string, each func(key string, v ast.Node)) places {
	at := places{"": where(n)}
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		d.fail(where(n), "%s", article(n, key, takes))
		return at
	}
	for _, kv := range values {
		s, ok := kv.Key.(*ast.StringNode)
		if !ok {
			d.fail(where(kv.Key), "a key is a text, not %s", found(kv.Key))
			continue
		}
		if before, twice := at[s.Value]; twice && s.Value != "" {
			d.fail(where(s), "key %q is given twice, first in line %d", s.Value, before.line)
			continue
		}
		at[s.Value] = where(s)
		each(s.Value, kv.Value)
	}
	return at
}

// mapping is entries for a mapping of known keys. The places that it returns are
// those of the values, because those are what is wrong later on.
func (d *decoder) mapping(n ast.Node, what string, keys []Key, each func(key string, v ast.Node)) places {
	values := places{"": where(n)}
	failed := len(d.problems)
	given := d.entries(n, what, "a mapping", func(key string, v ast.Node) {
		i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == key })
		if i < 0 {
			names := make([]string, len(keys))
			for i, k := range keys {
				names[i] = k.Name
			}
			d.fail(keyPlace(n, key), "%s has no key %q; it has %s", what, key, strings.Join(names, ", "))
			return
		}
		if _, null := v.(*ast.NullNode); v == nil || null {
			d.fail(keyPlace(n, key), "%s needs a value: %s", key, keys[i].Takes)
			return
		}
		values[key] = where(v)
		each(key, v)
	})
	for _, k := range keys {
		if _, ok := given[k.Name]; !ok && k.Default == "required" && len(d.problems) == failed {
			d.fail(values[""], "%s needs the key %q: %s", what, k.Name, k.Takes)
		}
	}
	return values
}

// keyPlace is where a key of a mapping stands, the last if there are several.
func keyPlace(n ast.Node, key string) pos {
	at := where(n)
	if m, ok := n.(*ast.MappingNode); ok {
		for _, kv := range m.Values {
			if s, ok := kv.Key.(*ast.StringNode); ok && s.Value == key {
				at = where(s)
			}
		}
	}
	return at
}

func (d *decoder) list(n ast.Node, key, takes string, each func(ast.Node)) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(where(n), "%s", article(n, key, takes))
		return
	}
	for _, v := range s.Values {
		if v == nil {
			d.fail(where(n), "%s has an entry without a value", key)
			continue
		}
		each(v)
	}
}

// text reads a text, which isn't empty; it returns "" after a problem.
func (d *decoder) text(n ast.Node, key string) string {
	s, ok := n.(*ast.StringNode)
	if !ok {
		hint := ""
		if _, number := n.(*ast.IntegerNode); number {
			hint = "; put it between quotes if that is meant"
		}
		d.fail(where(n), "%s%s", article(n, key, "a text"), hint)
		return ""
	}
	if s.Value == "" {
		d.fail(where(n), "%s is empty", key)
	}
	if strings.ContainsFunc(s.Value, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		d.fail(where(n), "%s has a character that can't be printed", key)
		return ""
	}
	return s.Value
}

func (d *decoder) boolean(n ast.Node, key string) bool {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		d.fail(where(n), "%s", article(n, key, "true or false"))
		return false
	}
	return b.Value
}

// number reads a whole number between least and most; it returns least after a
// problem.
func (d *decoder) number(n ast.Node, key string, least, most int64) int64 {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		d.fail(where(n), "%s", article(n, key, "a whole number"))
		return least
	}
	var v int64
	switch x := i.Value.(type) {
	case int64:
		v = x
	case uint64:
		v = int64(min(x, 1<<62))
	}
	if v < least || v > most {
		d.fail(where(n), "%s is %d to %d, not %s", key, least, most, n.GetToken().Value)
		return least
	}
	return v
}
