package config

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/config.md")

const page = "../../docs/config.md"

// table is what docs/config.md has between the marks of a name.
func table(keys []Key) string {
	var w strings.Builder
	w.WriteString("| key | takes | without it | |\n|---|---|---|---|\n")
	for _, k := range keys {
		fmt.Fprintf(&w, "| `%s` | %s | %s | %s |\n", k.Name, k.Takes, k.Default, k.Means)
	}
	return w.String()
}

// TestPage: every key is documented, with the words of the code.
func TestPage(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, keys := range map[string][]Key{"top": TopKeys, "parent": ParentKeys, "vmac": VmacKeys} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end -->\n"
		before, rest, ok := strings.Cut(text, begin)
		old, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("docs/config.md has no table %q", name)
		}
		if old != table(keys) {
			t.Errorf("the table %q is not that of schema.go; run: go test ./internal/config -run TestPage -update", name)
		}
		text = before + begin + table(keys) + end + after
	}
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEveryKey: what the schema lists is read, and nothing else is.
func TestEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range slices.Concat(TopKeys, ParentKeys, VmacKeys) {
		if !strings.Contains(string(text), k.Name+":") {
			t.Errorf("docs/example.yaml doesn't show %q", k.Name)
		}
	}
	// Each key given a mapping, which none but owner takes, says that it is known.
	for _, k := range VmacKeys {
		_, problems := Parse("f", []byte("parents: [{name: eth0, vmacs: [{"+k.Name+": {1: 2}}]}]\n"))
		if s := problems.Error(); strings.Contains(s, "has no key") || !strings.Contains(s, k.Name+" takes") && k.Name != "owner" {
			t.Errorf("%s: %s", k.Name, s)
		}
	}
}

// TestPageExamples: the file on the page is good.
func TestPageExamples(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rest := string(b); ; n++ {
		_, after, ok := strings.Cut(rest, "```yaml\n")
		if !ok {
			break
		}
		text, more, _ := strings.Cut(after, "```\n")
		if _, problems := Parse("docs/config.md", []byte(text)); len(problems) > 0 {
			t.Errorf("%v\n%s", problems, text)
		}
		rest = more
	}
	if n == 0 {
		t.Error("docs/config.md has no example")
	}
}
