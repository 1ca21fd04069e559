package programs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every block of docs/programs.md is typed by a test.
func TestEveryBlockIsTyped(t *testing.T) {
	blocks, err := snippets()
	if err != nil || len(blocks) == 0 {
		t.Fatalf("%d blocks: %v", len(blocks), err)
	}
	files, err := filepath.Glob("*_linux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	for name := range blocks {
		if !strings.Contains(tests.String(), `snippet(t, "`+name+`")`) {
			t.Errorf("no test types the block %q", name)
		}
	}
}

// snippet is a fenced block of docs/programs.md by the last word behind its
// fence. What users are told to type is what the tests type.
func snippet(t *testing.T, name string) string {
	t.Helper()
	blocks, err := snippets()
	if err != nil {
		t.Fatal(err)
	}
	text, ok := blocks[name]
	if !ok {
		t.Fatalf("docs/programs.md has no block %q", name)
	}
	return text
}

func snippets() (map[string]string, error) {
	doc, err := os.ReadFile("../../docs/programs.md")
	if err != nil {
		return nil, err
	}
	blocks := map[string]string{}
	parts := strings.Split(string(doc), "\n```")
	for i := 1; i < len(parts); i += 2 {
		fence, text, _ := strings.Cut(parts[i], "\n")
		_, name := split(strings.ReplaceAll(fence, " ", ":"))
		if name == "" || blocks[name] != "" {
			return nil, errors.New("docs/programs.md: a block without a name of its own: " + fence)
		}
		blocks[name] = text + "\n"
	}
	return blocks, nil
}

func split(pair string) (first, second string) {
	first, second, _ = strings.Cut(pair, ":")
	return first, second
}
