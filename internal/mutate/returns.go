package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// returns mutates each result of a return, by its type; a return without
// results is left out.
func (w walker) returns(n *ast.ReturnStmt) {
	if w.results.Len() == 0 {
		w.add(w.siteAt(n, writeInstead), w.fn, n.Pos(), "return", "no return", "")
		return
	}
	if len(n.Results) == 0 {
		return // named results: what they hold was decided elsewhere
	}
	s := w.siteAt(n, writeStatement)
	if len(n.Results) == 1 && w.results.Len() > 1 { // return f()
		names := make([]string, w.results.Len())
		for i := range names {
			names[i] = fmt.Sprintf("r%d", i)
		}
		all := strings.Join(names, ", ")
		for i, name := range names {
			for _, other := range w.others(name, nil, w.results.At(i).Type()) {
				list := slices.Clone(names)
				list[i] = other
				text := fmt.Sprintf("%s := %s; _ = %s; return %s", all, w.text(n.Results[0]), name, strings.Join(list, ", "))
				w.add(s, w.fn, n.Pos(), w.text(n), fmt.Sprintf("%s, result %d is %s", w.text(n), i+1, other), text)
			}
		}
		return
	}
	for i, r := range n.Results {
		for _, other := range w.others(w.text(r), r, w.results.At(i).Type()) {
			list := make([]string, len(n.Results))
			for j, e := range n.Results {
				list[j] = w.text(e)
			}
			list[i] = other
			text := "return " + strings.Join(list, ", ")
			w.add(s, w.fn, n.Pos(), w.text(n), text, text)
		}
		w.constantsOf(r)
	}
}

// others returns what a result of type t can be instead; e is its expression,
// if it has one of its own.
func (w walker) others(text string, e ast.Expr, t types.Type) []string {
	var value constant.Value
	if e != nil {
		value = w.info.Types[e].Value
		if w.info.Types[e].IsNil() {
			return w.instead(t, true)
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		switch info := u.Info(); {
		case info&types.IsBoolean != 0:
			switch e := unparen(e).(type) {
			case *ast.BinaryExpr:
				if e.Op.Precedence() == token.EQL.Precedence() {
					return nil // a comparison's negation is a mutant already
				}
			case *ast.UnaryExpr:
				return nil // so is a negation's
			}
			return []string{negated(text, value)}
		case info&types.IsString != 0:
			if value != nil && constant.StringVal(value) == "" {
				return []string{`"mutant"`}
			}
			return []string{`""`}
		case info&types.IsInteger != 0:
			if value != nil {
				return w.otherConstants(text, value, t)
			}
			return []string{"0", text + " + 1"}
		}
	case *types.Struct:
		if lit, ok := unparen(e).(*ast.CompositeLit); ok && len(lit.Elts) == 0 {
			return w.instead(t, true)
		}
	}
	return w.instead(t, false)
}

func unparen(e ast.Expr) ast.Expr {
	if e == nil {
		return nil
	}
	return ast.Unparen(e)
}

func negated(text string, value constant.Value) string {
	if value != nil {
		return fmt.Sprint(!constant.BoolVal(value))
	}
	return "!(" + text + ")"
}

// instead is a value of type t that isn't its zero value, or is.
func (w walker) instead(t types.Type, wasZero bool) []string {
	name := w.typeName(t)
	switch u := t.Underlying().(type) {
	case *types.Interface:
		if !wasZero {
			return []string{"nil"}
		} else if types.Identical(t, types.Universe.Lookup("error").Type()) {
			return []string{errMutant}
		}
	case *types.Pointer:
		if wasZero {
			return []string{"new(" + w.typeName(u.Elem()) + ")"}
		}
		return []string{"nil"}
	case *types.Slice:
		if wasZero {
			return []string{"make(" + name + ", 1)"}
		}
		return []string{"nil"}
	case *types.Map, *types.Signature, *types.Chan:
		if !wasZero {
			return []string{"nil"}
		}
	case *types.Array:
		return []string{name + "{}"}
	case *types.Struct:
		if !wasZero {
			return []string{name + "{}"}
		}
		for i := range u.NumFields() {
			field := u.Field(i)
			b, ok := field.Type().Underlying().(*types.Basic)
			if ok && b.Info()&types.IsInteger != 0 {
				return []string{fmt.Sprintf("%s{%s: 1}", name, field.Name())}
			}
		}
	}
	return nil
}

// otherConstants are zero, and the next constant of t: the next of its
// enumeration, if it is one.
func (w walker) otherConstants(text string, value constant.Value, t types.Type) []string {
	var out []string
	names := w.constantsIn(t)
	less := func(a, b constant.Value) bool { return constant.Compare(a, token.LSS, b) }
	next := ""
	for name, v := range names {
		if less(value, v) && (next == "" || less(v, names[next]) || !less(names[next], v) && name < next) {
			next = name
		}
	}
	if constant.Sign(value) != 0 {
		out = append(out, "0")
	}
	switch {
	case next != "":
		out = append(out, next)
	case constant.Sign(value) == 0:
		out = append(out, "1")
	case constant.Sign(value) > 0:
		out = append(out, text+" - 1")
	}
	return out
}

// constantsIn are the constants of a type, by the name that they have here.
func (f *file) constantsIn(t types.Type) map[string]constant.Value {
	named, ok := t.(*types.Named)
	if !ok || named.Obj().Pkg() == nil {
		return nil
	}
	names := map[string]constant.Value{}
	home := named.Obj().Pkg()
	for _, name := range home.Scope().Names() {
		c, ok := home.Scope().Lookup(name).(*types.Const)
		switch {
		case !ok || !types.Identical(c.Type(), t):
		case home == f.types:
			names[name] = c.Val()
		case c.Exported():
			names[home.Name()+"."+name] = c.Val()
		}
	}
	return names
}

// constantsOf mutates the booleans and named constants that stand inside a
// result: fields of a literal, arguments of a call.
func (w walker) constantsOf(result ast.Expr) {
	var parts []ast.Expr
	ast.Inspect(result, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.KeyValueExpr:
			parts = append(parts, n.Value)
		case *ast.CallExpr:
			parts = append(parts, n.Args...)
		case *ast.CompositeLit:
			parts = append(parts, n.Elts...)
		}
		return true
	})
	for _, e := range parts {
		value, t := w.info.Types[e].Value, w.info.TypeOf(e)
		if value == nil {
			continue
		}
		switch e.(type) {
		case *ast.Ident, *ast.SelectorExpr:
		default:
			continue
		}
		var others []string
		switch {
		case isBool(t):
			others = []string{negated("", value)}
		case value.Kind() == constant.Int:
			others = w.otherConstants(w.text(e), value, t)
		}
		for _, other := range others {
			s := w.siteAt(e, writeValue(w.typeName(t)))
			w.add(s, w.fn, e.Pos(), "return … "+w.text(e), other, other)
		}
	}
}
