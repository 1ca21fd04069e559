package rooms

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Every test that docs/hostile.md names exists, and no row goes without one.
func TestHostileTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/hostile.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")
	rows := 0
	for _, row := range regexp.MustCompile(`(?m)^\| .*$`).FindAllString(string(text), -1) {
		if row[:7] == "| input" {
			continue
		}
		rows++
		named := name.FindAllStringSubmatch(row, -1)
		if named == nil {
			t.Errorf("no test is named: %.80s", row)
		}
		for _, n := range named {
			if !declared(t, n[1], n[2]) {
				t.Errorf("there is no %s in %s", n[2], n[1])
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d rows were found", rows)
	}
}

func declared(t *testing.T, dir, test string) bool {
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^func ` + test + `\(`).Match(text) {
			return true
		}
	}
	return false
}
