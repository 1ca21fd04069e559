package corpus

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The scenarios that docs/semantics.md names for the driver's operations exist.
func TestOperations(t *testing.T) {
	page, err := os.ReadFile("../../../docs/semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## The driver's operations\n")
	operations, patterns := 0, 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "--") || cells[1] == " operation " {
			continue
		}
		operations++
		if strings.HasPrefix(cells[3], " none") {
			continue
		}
		found := 0
		for _, m := range regexp.MustCompile("`([a-z0-9*/-]+)`").FindAllStringSubmatch(cells[3], -1) {
			pattern := m[1]
			if !strings.Contains(pattern, "/") {
				pattern = "*/" + pattern
			}
			if strings.HasPrefix(pattern, "cmd/") || pattern == "*/show" {
				found++
				continue
			}
			list, err := fs.Glob(Files(), pattern+".scenario")
			if err != nil || len(list) == 0 {
				t.Errorf("%s: no scenario %s (%v)", cells[1], m[1], err)
			}
			found += len(list)
			patterns++
		}
		if found == 0 {
			t.Errorf("%s: no scenario, and no reason for it", cells[1])
		}
	}
	if operations < 20 || patterns < 40 {
		t.Errorf("%d operations with %d names of scenarios: is that the table?", operations, patterns)
	}
}
