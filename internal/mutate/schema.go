package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// variable is the name, in the mutated package, of the number of the mutant that
// is alive; pick chooses between two values by it.
const (
	variable    = "mutantAlive"
	pick        = "mutantPick"
	errMutant   = "errMutant"
	environment = "UMACVLAN_MUTANT"
)

// prelude is the file that is added to the mutated package.
const prelude = `package %s

import (
	"errors"
	"os"
	"strconv"
)

var mutantAlive, _ = strconv.Atoi(os.Getenv("UMACVLAN_MUTANT"))

var errMutant = errors.New("mutant")

func mutantPick[T any](id int, mutant, original T) T {
	if mutantAlive == id {
		return mutant
	}
	return original
}
`

// site is a piece of source text that is rewritten: an expression, a statement,
// or a keyword with what belongs to it. Sites nest.
type site struct {
	start, end int
	choices    []choice
	// write returns the new text, given that of the inside with its own sites
	// rewritten. A mutant's own text has no other mutant in it, since only one
	// is alive.
	write func(choices []choice, inside string) string
}

// choice is one mutant of a site, and the text that it consists in.
type choice struct {
	*mutant
	text string
}

// siteAt returns the site of that stretch; two kinds of change to the same
// expression share one.
func (f *file) siteAt(n ast.Node, write func([]choice, string) string) *site {
	start, end := f.offset(n.Pos()), f.offset(n.End())
	for _, s := range f.sites {
		if s.start == start && s.end == end {
			return s
		}
	}
	s := &site{start: start, end: end, write: write}
	f.sites = append(f.sites, s)
	return s
}

func (f *file) offset(p token.Pos) int { return f.fset.Position(p).Offset }

func (f *file) text(n ast.Node) string { return string(f.src[f.offset(n.Pos()):f.offset(n.End())]) }

// writeBool switches a boolean expression. Its operands are evaluated as often,
// and in the order, as the one that is alive asks for.
func writeBool(choices []choice, inside string) string {
	var b strings.Builder
	b.WriteByte('(')
	for _, c := range choices {
		fmt.Fprintf(&b, "%s == %d && (%s) || ", variable, c.id, c.text)
	}
	for _, c := range choices {
		fmt.Fprintf(&b, "%s != %d && ", variable, c.id)
	}
	fmt.Fprintf(&b, "(%s))", inside)
	return b.String()
}

// writeValue switches an expression of the type, whose evaluation has no other
// effect.
func writeValue(typ string) func([]choice, string) string {
	return func(choices []choice, inside string) string {
		for _, c := range choices {
			inside = fmt.Sprintf("%s[%s](%d, %s, %s)", pick, typ, c.id, c.text, inside)
		}
		return inside
	}
}

// writeStatement puts the mutants before a statement that ends its list.
func writeStatement(choices []choice, inside string) string {
	var b strings.Builder
	for _, c := range choices {
		fmt.Fprintf(&b, "if %s == %d { %s }; ", variable, c.id, c.text)
	}
	return b.String() + inside
}

// writeInstead puts the mutants in the place of a statement.
func writeInstead(choices []choice, inside string) string {
	var b strings.Builder
	for _, c := range choices {
		fmt.Fprintf(&b, "if %s == %d { %s } else ", variable, c.id, c.text)
	}
	return b.String() + "{ " + inside + " }"
}

// rewritten is the file with all mutants in it that p still has.
func (f *file) rewritten() []byte {
	slices.SortFunc(f.sites, func(a, b *site) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return b.end - a.end
	})
	rest := f.sites
	var write func(from, to int) string
	write = func(from, to int) string {
		var b bytes.Buffer
		for len(rest) > 0 && rest[0].start < to {
			s := rest[0]
			rest = rest[1:]
			b.Write(f.src[from:s.start])
			b.WriteString(s.write(s.choices, write(s.start, s.end)))
			from = s.end
		}
		b.Write(f.src[from:to])
		return b.String()
	}
	return []byte(write(0, len(f.src)))
}
