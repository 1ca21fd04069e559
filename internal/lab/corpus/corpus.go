// Package corpus is what umacvlan's conformance is held against: scenarios in
// folders by subject, each showing one thing that the kernel's macvlan does.
// README.md says where they come from and what is left out. Its tests run all
// of them in every way that the machine allows.
package corpus

import (
	"embed"
	"io/fs"
	"path"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

//go:embed */*.scenario */*/*.scenario
var files embed.FS

// Files has the scenario files below their folders. It may be used from any
// number of goroutines.
func Files() fs.FS { return files }

// Scenarios reads all files, in the order of their paths.
func Scenarios() ([]*scenario.Scenario, error) {
	var list []*scenario.Scenario
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		src, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		s, err := scenario.Parse(name, src)
		if err != nil {
			return err
		}
		if s.FS, err = fs.Sub(files, path.Dir(name)); err != nil {
			return err
		}
		list = append(list, s)
		return nil
	})
	return list, err
}
