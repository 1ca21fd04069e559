package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// version -d has a line for every optional feature, also where it may try none.
func TestVersionDetails(t *testing.T) {
	stdout, _, code := runLine(t, "", "version -d")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 3+len(feature.List) || !strings.Contains(lines[1], "the lowest is 4.9") {
		t.Fatalf("%d %q", code, stdout)
	}
	for i, f := range feature.List {
		if words := strings.Fields(lines[3+i]); words[0] != string(f.Name) || words[1] != f.Since {
			t.Errorf("%q", lines[3+i])
		}
		if feature.Off(f.Name) && !strings.Contains(lines[3+i], "instead: "+f.Without) {
			t.Errorf("forced off: %q", lines[3+i])
		}
	}

	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	stdout, stderr, code := runLine(t, "", "version -d --json")
	var v struct {
		LowestKernel string `json:"lowest_kernel"`
		Kernel       string
		Features     []struct{ Name, Since, State, Why, Instead string }
	}
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != 0 || stderr != "" {
		t.Fatalf("%d %v %s", code, err, stderr)
	}
	if v.LowestKernel != "4.9" || v.Kernel == "" || len(v.Features) != len(feature.List) {
		t.Errorf("%+v", v)
	}
	for _, f := range v.Features {
		if (f.State == "not in use") != (f.Why != "" && f.Instead != "") {
			t.Errorf("%+v", f)
		}
	}
}
