package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// matrixIn runs the command in this process; err is what it returned.
func matrixIn(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := labMatrixCommand()
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(t.Context())
	for line := range strings.Lines(errs.String()) {
		if !strings.HasSuffix(line, " …\n") { // what is being done, if it takes long
			t.Errorf("stderr: %s", line)
		}
	}
	return out.String(), err
}

// The pages in docs are what the command writes, as their first lines say.
func TestMatrixPages(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "matrix.svg")
	page, err := matrixIn(t, "--on", "model", "--markdown", "--svg", svg)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string]string{"matrix.md": page, "matrix.svg": string(picture)} {
		want, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("docs/%s is not what the command writes: umacvlan lab matrix --on model --markdown --svg docs/matrix.svg > docs/matrix.md", file)
		}
	}
	text, err := matrixIn(t, "--on", "model")
	if err != nil || !strings.HasPrefix(text, "Who receives which frame, and as which packet type.\n") || !strings.Contains(text, " answers are alike.\n") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestMatrixErrors(t *testing.T) {
	for line, want := range map[string]string{
		"--json --markdown":                      "umacvlan: matrix prints JSON or Markdown, not both",
		"--on nonsense":                          `umacvlan: --on nonsense: not one of model, emulator, kernel, all`,
		"--on model --svg /nosuch/directory/svg": "open /nosuch/directory/svg: no such file or directory",
		"more":                                   `umacvlan: "more" means nothing to matrix; see: matrix --help`,
	} {
		stdout, err := matrixIn(t, strings.Fields(line)...)
		if err == nil || err.Error() != want || stdout != "" {
			t.Errorf("%s: %v %q", line, err, stdout)
		}
	}
}

// On devices, in the namespaces of this process.
func TestMatrixOnDevices(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	t.Setenv("UMACVLAN_LAB_INSIDE", "1")
	svg := filepath.Join(t.TempDir(), "matrix.svg")
	out, err := matrixIn(t, "--json", "--on", "emulator", "--svg", svg)
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Ways []struct {
			Way      string
			Recorded bool
		}
		Answers     int
		Differences []struct{ Way string }
	}
	if err := json.Unmarshal([]byte(out), &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Ways) != 3 || page.Ways[1].Way != "emulator" || page.Ways[2].Way != "kernel" || !page.Ways[2].Recorded || page.Answers < 1000 {
		t.Errorf("%+v", page)
	}
	for _, d := range page.Differences {
		if d.Way != "emulator" {
			t.Errorf("%+v", d)
		}
	}
	if _, err := os.Stat(svg); err != nil {
		t.Error(err)
	}
	if !lab.HasMacvlan() {
		if _, err := matrixIn(t, "--on", "kernel"); err == nil || err.Error() != "the kernel can't run here: this kernel has no macvlan" {
			t.Errorf("without macvlan: %v", err)
		}
		return
	}
	if out, err := matrixIn(t, "--on", "kernel"); err != nil || !strings.Contains(out, "\nFrom: model, kernel (Linux ") {
		t.Errorf("%v\n%s", err, out)
	}
}
