package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
)

// pkg is a package that is being mutated.
type pkg struct {
	dir     string // absolute
	name    string // its path inside the module
	fset    *token.FileSet
	files   []*file
	info    *types.Info
	types   *types.Package
	mutants []*mutant
	count   map[string]int // mutants by key
}

// file is one of its source files.
type file struct {
	*pkg
	path  string
	src   []byte
	ast   *ast.File
	sites []*site
}

// mutant is one change.
type mutant struct {
	id       int // what the variable has to be, from 1
	file     *file
	function string // in which it is, "const" for a constant
	line     int
	from, to string // source text, on one line
	nth      int    // from 1, among those in this function that read the same

	// alone is the whole file with the change, for what can't be switched at
	// run time.
	alone []byte

	killed bool
}

// key is how equivalent.txt names a mutant: it survives changes elsewhere.
func (m *mutant) key() string {
	k := fmt.Sprintf("%s/%s %s: %s => %s", m.file.name, filepath.Base(m.file.path), m.function, m.from, m.to)
	if m.nth > 1 {
		k += fmt.Sprintf(" (%d)", m.nth)
	}
	return k
}

func (m *mutant) String() string {
	return fmt.Sprintf("%s/%s:%d %s", m.file.name, filepath.Base(m.file.path), m.line, m.key()[len(m.file.name)+1+len(filepath.Base(m.file.path))+1:])
}

// keep drops the mutants whose description doesn't match, and their sites'
// share in them.
func (p *pkg) keep(only *regexp.Regexp) {
	p.mutants = slices.DeleteFunc(p.mutants, func(m *mutant) bool { return !only.MatchString(m.String()) })
}

// load parses and checks the package in dir.
func load(dir string) (*pkg, error) {
	type listed struct {
		Dir, ImportPath, Export string
		GoFiles                 []string
		Module                  *struct{ Path string }
		DepOnly                 bool
	}
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=Dir,ImportPath,Export,GoFiles,Module,DepOnly", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", dir, err)
	}
	exports := map[string]string{}
	var target listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list %s: %w", dir, err)
		}
		exports[l.ImportPath] = l.Export
		if !l.DepOnly {
			target = l
		}
	}
	p := &pkg{dir: target.Dir, name: target.ImportPath, fset: token.NewFileSet(), count: map[string]int{}}
	if target.Module != nil && len(p.name) > len(target.Module.Path) {
		p.name = p.name[len(target.Module.Path)+1:]
	}
	var trees []*ast.File
	for _, base := range target.GoFiles {
		f := &file{pkg: p, path: filepath.Join(target.Dir, base)}
		if f.src, err = os.ReadFile(f.path); err != nil {
			return nil, err
		}
		if f.ast, err = parser.ParseFile(p.fset, f.path, f.src, parser.SkipObjectResolution); err != nil {
			return nil, err
		}
		p.files = append(p.files, f)
		trees = append(trees, f.ast)
	}
	p.info = &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{},
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	conf := types.Config{Importer: importer.ForCompiler(p.fset, "gc", lookup)}
	p.types, err = conf.Check(target.ImportPath, p.fset, trees, p.info)
	return p, err
}
