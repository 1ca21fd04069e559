package classify

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// No path of a decision allocates once the slice has grown.
func TestNoAllocations(t *testing.T) {
	done := map[string]bool{}
	for _, line := range strings.Split(rows+moreRows, "\n") {
		if line == "" {
			continue
		}
		r := parseRow(line)
		table, err := NewTable(r.spec)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]Copy, 0, 64)
		var v Verdict
		decide := func() { dst, v = table.Ingress(r.frame, Meta{Type: TypeOther}, dst[:0]) }
		if r.from != FromWire {
			decide = func() { dst, v = table.Egress(r.from, r.frame, Meta{}, dst[:0]) }
		}
		if n := testing.AllocsPerRun(10, decide); n != 0 {
			t.Errorf("%s: %v allocations", line, n)
		}
		done[v.Reason.Key()] = true
	}
	for _, r := range []Reason{
		Unicast, Flooded, Echoed, SourceOnly, NoOwner, SourceMode, NoGroup, PauseToHost, ToWire, ToLocal, ToBoth,
		VmacDown, ParentDown, Runt, VLANTruncated,
	} {
		if !done[r.Key()] {
			t.Errorf("no frame came to %v", r)
		}
	}
}

// compile builds the package and returns what the compiler says about it.
func compile(t *testing.T, gcflags string) string {
	if testing.Short() {
		t.Skip("-short: builds the package")
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no go tool")
		}
		t.Skip("no go tool in PATH")
	}
	out, err := exec.Command(tool, "build", "-gcflags="+gcflags, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go build -gcflags=%s: %v\n%s", gcflags, err, out)
	}
	return string(out)
}

// What the data path calls for every frame must be part of it.
func TestInlining(t *testing.T) {
	out := compile(t, "-m")
	can := map[string]bool{}
	for _, m := range regexp.MustCompile(`: can inline (\S+)`).FindAllStringSubmatch(out, -1) {
		can[m[1]] = true
	}
	for _, f := range []string{
		"MACFrom", "MAC.IsGroup", "MAC.groupHash", "(*groupFilter).has", "(*macHash).lookup", "(*sourceHash).find", "vmacOf",
		"isVLAN", "isPause", "(*receiver).hears", "groupType", "echoes", "fromSibling", "(*Table).parentType", "(*Table).refuses",
	} {
		if !can[f] {
			t.Errorf("%s is not inlined", f)
		}
	}
	for _, call := range []string{"(*sourceHash).find", "(*macHash).lookup", "binary.littleEndian.Uint64", "MAC.IsGroup"} {
		if !regexp.MustCompile(`ingress\.go:\d+:\d+: inlining call to ` + regexp.QuoteMeta(call)).MatchString(out) {
			t.Errorf("Ingress calls %s", call)
		}
	}
}

// A lookup, and what leads to it, has no bounds check.
func TestNoBoundsChecks(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("a 32-bit machine indexes with 64 bits")
	}
	out := compile(t, "-d=ssa/check_bce")
	checked := map[string]bool{}
	for _, m := range regexp.MustCompile(`(\w+\.go:\d+):\d+: Found Is`).FindAllStringSubmatch(out, -1) {
		checked[m[1]] = true
	}
	if len(checked) == 0 {
		t.Fatal("the compiler names no bounds check at all")
	}
	for file, lines := range map[string][]string{
		"hash.go":    {"if s := slots[i]; s == 0", "if keys[i] == 0 {", "if keys[i] == m {"},
		"ingress.go": {"binary.LittleEndian.Uint64(frame)", "binary.LittleEndian.Uint64(frame[6:14])"},
	} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range lines {
			before, _, ok := strings.Cut(string(src), want)
			if !ok {
				t.Errorf("%s has no %q", file, want)
			} else if at := file + ":" + strconv.Itoa(strings.Count(before, "\n")+1); checked[at] {
				t.Errorf("%s: %s has a bounds check", at, want)
			}
		}
	}
}
