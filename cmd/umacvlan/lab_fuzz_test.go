package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab"
)

func TestLabFuzz(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	dir := t.TempDir()
	t.Setenv(feature.Variable, "all") // the stack keeps its copies, which is listed
	out, errs, code := labDo(t, dir, "fuzz", "--seed", "5", "--scenarios", "2", "--on", "model,emulator", "--json")
	var r struct {
		Seed, Scenarios, Frames, Actions int
		Listed, Occurred                 map[string]int
		Findings                         []any
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s\n%s", code, err, errs, out)
	}
	if r.Seed != 5 || r.Scenarios != 2 || r.Frames < 700 || r.Actions < 40 || len(r.Findings) != 0 || r.Listed["1"] == 0 || r.Occurred["reason delivered"] == 0 {
		t.Errorf("it says %s", out)
	}
	out, errs, code = labDo(t, dir, "fuzz", "--seed", "5", "--scenarios", "1", "--on", "model,emulator", "--at-least", "100000")
	if code != 1 || !strings.Contains(out, "0 unlisted differences") || !strings.Contains(out, "less than 100000 times: action add") || !strings.Contains(errs, "occurred less than") {
		t.Errorf("exit code %d, %q, and it says %s", code, errs, out)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("it left %v: %v", list, err)
	}
}

func TestLabFuzzUsage(t *testing.T) {
	for _, on := range []string{"model", "kernel,model,other", ""} {
		out, errs, code := labDo(t, t.TempDir(), "fuzz", "--on", on)
		if code != 255 && code != 1 && code != 2 || !strings.Contains(errs, "--on "+on) || out != "" {
			t.Errorf("--on %q: exit code %d, %q", on, code, errs)
		}
	}
}
