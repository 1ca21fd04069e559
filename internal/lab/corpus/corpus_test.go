package corpus

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

func read(t testing.TB) []*scenario.Scenario {
	t.Helper()
	list, err := Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Every file is written as Format writes it, so that what is recorded changes
// only what was observed.
func TestCanonical(t *testing.T) {
	for _, s := range read(t) {
		src, err := fs.ReadFile(Files(), s.File)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Format(), src) {
			t.Errorf("%s is not as Format writes it:\n%s", s.File, s.Format())
		}
	}
}

func TestTitles(t *testing.T) {
	seen := map[string]string{}
	list := read(t)
	if len(list) < 300 {
		t.Errorf("%d scenarios", len(list))
	}
	for _, s := range list {
		if other := seen[s.Title]; other != "" {
			t.Errorf("%s and %s have the same title", s.File, other)
		}
		seen[s.Title] = s.File
		if strings.Count(s.Title, " ") < 3 || strings.HasSuffix(s.Title, ".") {
			t.Errorf("%s: the title %q is no sentence", s.File, s.Title)
		}
		if len(s.Steps) == 0 {
			t.Errorf("%s has no steps", s.File)
		}
		if s.Runs(scenario.Kernel) == (s.Recorded == "") {
			t.Errorf("%s: recorded %q; on the kernel %v", s.File, s.Recorded, s.Runs(scenario.Kernel))
		}
		stated := false
		for _, step := range s.Steps {
			stated = stated || step.Stated
		}
		if !stated {
			t.Errorf("%s expects nothing", s.File)
		}
	}
}
