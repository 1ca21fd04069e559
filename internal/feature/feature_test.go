package feature

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	version := func(s string) (v int) {
		var major, minor int
		if n, _ := fmt.Sscanf(s, "%d.%d", &major, &minor); n != 2 {
			t.Fatalf("version %q", s)
		}
		return 100*major + minor
	}
	seen := map[Name]bool{}
	for i, f := range List {
		if seen[f.Name] || f.For == "" || f.Without == "" || strings.ContainsAny(string(f.Name), ", ") {
			t.Errorf("entry %+v", f)
		}
		seen[f.Name] = true
		if i > 0 && version(List[i-1].Since) > version(f.Since) {
			t.Errorf("%s stands behind %s, which is newer", f.Name, List[i-1].Name)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string][]Name{
		"": nil, " , ": nil, "tcx": {TCX}, "tcx, uso": {TCX, USO},
	} {
		if got, err := parse(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("parse(%q) = %v, %v", text, got, err)
		}
	}
	if got, err := parse("all"); err != nil || len(got) != len(List) {
		t.Errorf("all is %v, %v", got, err)
	}
	if _, err := parse("tcx,frob"); err == nil || !strings.Contains(err.Error(), `"frob"`) || !strings.Contains(err.Error(), "tcx") {
		t.Errorf("a name that is none: %v", err)
	}
}

func TestWhy(t *testing.T) {
	const n Name = "a feature of this test"
	if _, known := Why(n); known {
		t.Error("known before there was a use")
	}
	cause := errors.New("cause")
	for _, err := range []error{cause, nil} {
		Note(n, err)
		if got, known := Why(n); !known || got != err {
			t.Errorf("after Note(%v): %v, %v", err, got, known)
		}
	}
}
