package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func needGo(t *testing.T) {
	for _, tool := range []string{"go", "sh", "nice"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("needs the command %s", tool)
			}
			t.Skipf("needs the command %s", tool)
		}
	}
}

const sample = "internal/mutate/testdata/sample/sample.go "

// What is changed in the sample package, and what its tests don't see.
func TestSample(t *testing.T) {
	needGo(t)
	p, err := load("./testdata/sample")
	if err != nil {
		t.Fatal(err)
	}
	p.findMutants()
	if err := p.test(1); err != nil {
		t.Fatal(err)
	}
	var killed, survived []string
	for _, m := range p.mutants {
		if k := strings.TrimPrefix(m.key(), sample); m.killed {
			killed = append(killed, k)
		} else {
			survived = append(survived, k)
		}
	}
	wantKilled := []string{
		"const: 1 | 2 => 1 & 2",
		"Between: low <= n && n < high => low <= n || n < high",
		"Between: low <= n && n < high => low <= n",
		"Between: low <= n && n < high => n < high",
		"Between: return low <= n && n < high => return !(low <= n && n < high)",
		"Between: low <= n => low > n",
		"Between: n < high => n <= high",
		"Between: n < high => n >= high",
		"Name: switch c case Red => case not Red",
		"Name: switch c case Red => no case Red",
		`Name: return "red" => return ""`,
		"Name: switch c case Green => case not Green",
		`Name: return "" => return "mutant"`,
		"Next: if c == Blue => if true",
		"Next: if c == Blue => if false",
		"Next: c == Blue => c != Blue",
		`Next: return 0, errors.New("the last") => return 0, nil`,
		"Next: return c + 1, nil => return 0, nil",
		"Next: return c + 1, nil => return c + 1 + 1, nil",
		"Next: return c + 1, nil => return c + 1, errMutant",
		"Sum: for i < len(list) => for true",
		"Sum: for i < len(list) => for false",
		"Sum: i < len(list) => i <= len(list)",
		"Sum: i < len(list) => i >= len(list)",
		"Sum: if !skip => if true",
		"Sum: if !skip => if false",
		"Sum: !skip => skip",
		"Sum: list[i] << 1 => list[i] >> 1",
		"Sum: p.Y |= Both => p.Y &= Both",
		"Sum: return Point{X: p.X, Y: p.Y} => return Point{}",
		"Count: if enough => if true",
		"Pair: return pair() => return pair(), result 1 is 0",
		"Pair: return pair() => return pair(), result 1 is r0 + 1",
		"pair: return 7, true => return 0, true",
		"pair: return 7, true => return 7 - 1, true",
	}
	wantSurvived := []string{
		"Between: low <= n => low < n",
		"Name: switch c case Green => no case Green",
		`Name: return "green" => return ""`,
		`Next: return 0, errors.New("the last") => return Green, errors.New("the last")`,
		"Count: if enough => if false",
		"Count: return => no return",
		"Pair: return pair() => return pair(), result 2 is !(r1)",
		"pair: return 7, true => return 7, false",
	}
	for _, c := range []struct {
		name      string
		got, want []string
	}{{"killed", killed, wantKilled}, {"survived", survived, wantSurvived}} {
		slices.Sort(c.got)
		slices.Sort(c.want)
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(c.got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestReport(t *testing.T) {
	p := &pkg{name: "here"}
	f := &file{pkg: p, path: "/x/a.go"}
	add := func(n int, killed bool, to string) {
		for range n {
			p.mutants = append(p.mutants, &mutant{file: f, function: "F", from: "a", to: to, nth: 1, killed: killed})
		}
	}
	for _, c := range []struct {
		name           string
		killed, lived  int
		list, mentions string // of equivalent.txt, and in the report
		whole, failed  bool
	}{
		{"all killed", 10, 0, "", "here: 10 of 10 mutants killed (100.00 %)", true, false},
		{"a survivor", 199, 1, "", "survived: here/a.go:0 F: a => c", true, true},
		{"an equivalent", 199, 1, "here/a.go F: a => c\n\tsame thing\n", "equivalent: here/a.go:0 F: a => c\n\tsame thing\nhere: 199 of 200", true, false},
		{"98 %", 98, 2, "here/a.go F: a => c\n\tsame thing\n", "98.00 %", true, false},
		{"too many equivalents", 97, 3, "here/a.go F: a => c\n\tsame thing\n", "97.00 %", true, true},
		{"too many, of some", 97, 3, "here/a.go F: a => c\n\tsame thing\n", "97.00 %", false, false},
		{"listed and killed", 200, 0, "here/a.go F: a => b\n\tsame thing\n", "killed, but listed", true, true},
		{"listed and gone", 200, 0, "here/a.go F: a => d\n\tsame thing\n", "no such mutant: here/a.go F: a => d", true, true},
		{"another package's", 200, 0, "here/there/a.go F: a => d\n\tsame thing\n", "100.00 %", true, false},
	} {
		p.mutants = nil
		add(c.killed, true, "b")
		add(c.lived, false, "c")
		list, err := parseEquivalents(c.list)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if failed := p.report(&out, list, c.whole, time.Second); failed != c.failed || !strings.Contains(out.String(), c.mentions) {
			t.Errorf("%s: failed %v, report\n%s", c.name, failed, out.String())
		}
	}
	for _, bad := range []string{"a\nb\n\tc\n", "\tc\n", "a\n", "a\n\tb\n\tc\n"} {
		if _, err := parseEquivalents(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// What the list of equivalents says is well-formed, and there are no two entries
// for one mutant.
func TestEquivalentText(t *testing.T) {
	list, err := parseEquivalents(equivalentText)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range strings.Split(equivalentText, "\n") {
		if strings.HasPrefix(line, "\t") {
			n++
		}
	}
	if n != len(list) {
		t.Errorf("%d reasons for %d mutants", n, len(list))
	}
}
