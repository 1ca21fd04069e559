package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"
)

// add makes a mutant of s that reads to in the place of from.
func (f *file) add(s *site, fn string, at token.Pos, from, to, text string) *mutant {
	m := &mutant{file: f, function: fn, line: f.fset.Position(at).Line, from: oneLine(from), to: oneLine(to)}
	f.count[m.key()]++
	m.nth = f.count[m.key()]
	f.mutants = append(f.mutants, m)
	m.id = len(f.mutants)
	if s != nil {
		s.choices = append(s.choices, choice{m, text})
	}
	return m
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// findMutants fills p.mutants and the files' sites.
func (p *pkg) findMutants() {
	for _, f := range p.files {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Body != nil {
					w := walker{file: f, fn: d.Name.Name, results: p.info.Defs[d.Name].Type().(*types.Signature).Results()}
					if d.Recv != nil {
						w.fn = strings.TrimPrefix(f.text(d.Recv.List[0].Type), "*") + "." + w.fn
					}
					w.walk(d.Body)
				}
			case *ast.GenDecl:
				w := walker{file: f, fn: d.Tok.String()}
				if d.Tok == token.CONST {
					w.constants(d)
				} else {
					w.walk(d)
				}
			}
		}
	}
}

// walker looks at one function.
type walker struct {
	*file
	fn      string
	results *types.Tuple // of the function, or of the literal inside it
}

func (w walker) walk(root ast.Node) {
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			inner := w
			inner.results = w.info.TypeOf(n).(*types.Signature).Results()
			inner.walk(n.Body)
			return false
		case *ast.ArrayType:
			return false // its length is a constant
		case *ast.BinaryExpr:
			w.binary(n)
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				w.add(w.siteAt(n, writeBool), w.fn, n.Pos(), w.text(n), w.text(n.X), w.text(n.X))
			}
		case *ast.IfStmt:
			w.condition("if ", n.Cond)
		case *ast.ForStmt:
			if n.Cond != nil {
				w.condition("for ", n.Cond)
			}
		case *ast.SwitchStmt:
			w.cases(n)
		case *ast.AssignStmt:
			w.assign(n)
		case *ast.ReturnStmt:
			w.returns(n)
		}
		return true
	})
}

// neighbours are the operators that each is replaced by. Those of what has an
// order come second.
var neighbours = map[token.Token][2][]token.Token{
	token.EQL: {{token.NEQ}, {token.LEQ, token.GEQ}},
	token.NEQ: {{token.EQL}, {token.LSS, token.GTR}},
	token.LSS: {{token.LEQ, token.GEQ}},
	token.LEQ: {{token.LSS, token.GTR}},
	token.GTR: {{token.GEQ, token.LEQ}},
	token.GEQ: {{token.GTR, token.LSS}},

	token.LAND: {{token.LOR}},
	token.LOR:  {{token.LAND}},

	token.AND:     {{token.OR}},
	token.OR:      {{token.AND}},
	token.XOR:     {{token.OR}},
	token.AND_NOT: {{token.AND}},
	token.SHL:     {{token.SHR}},
	token.SHR:     {{token.SHL}},
}

func (w walker) binary(n *ast.BinaryExpr) {
	ops, ok := neighbours[n.Op]
	if !ok {
		return
	}
	var s *site
	if isBool(w.info.TypeOf(n)) {
		s = w.siteAt(n, writeBool)
	} else {
		s = w.siteAt(n, writeValue(w.typeName(w.info.TypeOf(n))))
	}
	for _, op := range append(ops[0], w.ordered(n, ops[1])...) {
		if w.same(n, op) {
			continue
		}
		text := fmt.Sprintf("(%s) %v (%s)", w.text(n.X), op, w.text(n.Y))
		w.add(s, w.fn, n.OpPos, w.text(n), w.operand(n.X, op)+" "+op.String()+" "+w.operand(n.Y, op), text)
	}
	if n.Op == token.LAND || n.Op == token.LOR {
		for _, operand := range []ast.Expr{n.X, n.Y} {
			w.add(s, w.fn, n.OpPos, w.text(n), w.text(operand), w.text(operand))
		}
	}
}

// operand is the text of an operand, in parentheses if it would be read wrongly
// beside op.
func (w walker) operand(e ast.Expr, op token.Token) string {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op.Precedence() <= op.Precedence() && b.Op != op {
		return "(" + w.text(e) + ")"
	}
	return w.text(e)
}

// ordered returns ops if n compares integers. An enumeration has no order: that
// the last constant is the largest says nothing.
func (w walker) ordered(n *ast.BinaryExpr, ops []token.Token) []token.Token {
	t := w.info.TypeOf(n.X)
	if b, ok := t.Underlying().(*types.Basic); !ok || b.Info()&types.IsInteger == 0 || len(w.constantsIn(t)) > 1 {
		return nil
	}
	return ops
}

// same reports whether op instead of n's operator is the same program: what
// can't be negative and isn't zero is more than zero.
func (w walker) same(n *ast.BinaryExpr, op token.Token) bool {
	v := w.info.Types[n.Y].Value
	if v == nil || v.Kind() != constant.Int || constant.Sign(v) != 0 {
		return false
	}
	b, ok := w.info.TypeOf(n.X).Underlying().(*types.Basic)
	natural := ok && b.Info()&types.IsUnsigned != 0
	if call, ok := n.X.(*ast.CallExpr); ok {
		if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "len" {
			natural = true
		}
	}
	pair := [2]token.Token{n.Op, op}
	return natural && (pair == [2]token.Token{token.EQL, token.LEQ} || pair == [2]token.Token{token.NEQ, token.GTR} ||
		pair == [2]token.Token{token.GTR, token.NEQ})
}

// condition forces what an if or a for asks.
func (w walker) condition(keyword string, cond ast.Expr) {
	if !isBool(w.info.TypeOf(cond)) {
		return
	}
	s := w.siteAt(cond, writeBool)
	for _, v := range []string{"true", "false"} {
		w.add(s, w.fn, cond.Pos(), keyword+w.text(cond), keyword+v, v)
	}
}

// cases are conditions too; those of a switch with a tag are comparisons, and
// written as such.
func (w walker) cases(n *ast.SwitchStmt) {
	if n.Tag != nil {
		w.siteAt(n.Tag, func([]choice, string) string { return "" })
	}
	for _, stmt := range n.Body.List {
		for _, e := range stmt.(*ast.CaseClause).List {
			if n.Tag == nil {
				w.condition("case ", e)
				continue
			}
			tag := w.text(n.Tag)
			s := w.siteAt(e, func(choices []choice, inside string) string {
				return writeBool(choices, fmt.Sprintf("(%s) == (%s)", tag, inside))
			})
			from := "switch " + tag + " case " + w.text(e)
			w.add(s, w.fn, e.Pos(), from, "case not "+w.text(e), fmt.Sprintf("(%s) != (%s)", tag, w.text(e)))
			w.add(s, w.fn, e.Pos(), from, "no case "+w.text(e), "false")
		}
	}
}

// assign is the bit operators' other form.
func (w walker) assign(n *ast.AssignStmt) {
	to, ok := map[token.Token]token.Token{
		token.AND_ASSIGN: token.OR_ASSIGN, token.OR_ASSIGN: token.AND_ASSIGN, token.XOR_ASSIGN: token.OR_ASSIGN,
		token.AND_NOT_ASSIGN: token.AND_ASSIGN, token.SHL_ASSIGN: token.SHR_ASSIGN, token.SHR_ASSIGN: token.SHL_ASSIGN,
	}[n.Tok]
	if !ok {
		return
	}
	text := w.text(n.Lhs[0]) + " " + to.String() + " " + w.text(n.Rhs[0])
	w.add(w.siteAt(n, writeInstead), w.fn, n.Pos(), w.text(n), text, text)
}

// constants mutates the bit operators of a constant declaration, each in a copy
// of the file.
func (w walker) constants(d *ast.GenDecl) {
	ast.Inspect(d, func(n ast.Node) bool {
		b, ok := n.(*ast.BinaryExpr)
		if !ok {
			return true
		}
		for _, op := range neighbours[b.Op][0] {
			text := w.text(b.X) + " " + op.String() + " " + w.text(b.Y)
			m := w.add(nil, w.fn, b.OpPos, w.text(b), text, "")
			start, end := w.offset(b.Pos()), w.offset(b.End())
			m.alone = []byte(string(w.src[:start]) + fmt.Sprintf("((%s) %v (%s))", w.text(b.X), op, w.text(b.Y)) + string(w.src[end:]))
		}
		return true
	})
}

func isBool(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsBoolean != 0
}

// typeName is t as this file has to write it.
func (f *file) typeName(t types.Type) string {
	return types.TypeString(types.Default(t), func(other *types.Package) string {
		if other == f.types {
			return ""
		}
		return other.Name()
	})
}
