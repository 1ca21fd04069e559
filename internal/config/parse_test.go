package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestProblems: each is found where it stands, and says what was expected.
func TestProblems(t *testing.T) {
	one := func(vmac string) string {
		return "parents:\n  - name: eth0\n    vmacs:\n      - name: a\n" + vmac
	}
	for name, c := range map[string]struct {
		text string
		want string // line:column and words of the only error
	}{
		"empty":             {"", "1:1: the file is empty"},
		"comment":           {"# nothing\n", "1:1: the file is empty"},
		"no YAML":           {"parents: [\n", ":"},
		"two documents":     {"parents: []\n---\nparents: []\n", "3:1: a second document"},
		"a list":            {"- a\n", "1:1: the file takes a mapping, not a list"},
		"unknown top":       {"parents: []\nparent: 1\n", "2:1: the file has no key \"parent\"; it has parents"},
		"no parents":        {"{}\n", "the file needs the key \"parents\""},
		"null parents":      {"parents:\n", "1:1: parents needs a value: a list of parents"},
		"parents a mapping": {"parents:\n  name: eth0\n", "2:3: parents takes a list of parents, not a mapping"},
		"parent a text":     {"parents:\n  - eth0\n", "2:5: a parent takes a mapping, not the text \"eth0\""},
		"no vmacs":          {"parents:\n  - name: eth0\n", "2:5: a parent needs the key \"vmacs\""},
		"no name":           {"parents:\n  - vmacs: []\n", "2:5: a parent needs the key \"name\""},
		"unknown":           {one("        addres: x\n"), "5:9: a vmac has no key \"addres\"; it has name, netns, mode"},
		"twice":             {one("        mtu: 1400\n        mtu: 1401\n"), "6:9: key \"mtu\" is given twice, first in line 5"},
		"number for text":   {one("        netns: 12\n"), "5:16: netns takes a text, not the number 12; put it between quotes"},
		"text for number":   {one("        mtu: large\n"), "5:14: mtu takes a whole number, not the text \"large\""},
		"fraction":          {one("        mtu: 1400.5\n"), "5:14: mtu takes a whole number, not the number 1400.5"},
		"mtu low":           {one("        mtu: 67\n"), "5:14: mtu is 68 to 65535, not 67"},
		"mtu huge":          {one("        mtu: 99999999999999999999\n"), "5:14: mtu"},
		"negative":          {one("        bcqueuelen: -1\n"), "5:21: bcqueuelen is 0 to 4294967295, not -1"},
		"bool":              {one("        up: yes\n"), "5:13: up takes true or false, not the text \"yes\""},
		"null":              {one("        mac:\n"), "5:9: mac needs a value: an Ethernet address"},
		"mode":              {one("        mode: brigde\n"), "5:15: mode is private, vepa, bridge, passthru or source, not \"brigde\""},
		"flag":              {one("        flags: [nodst, x]\n"), "5:24: a flag is nopromisc or nodst, not \"x\""},
		"flags no list":     {one("        flags: nodst\n"), "5:16: flags takes a list of nopromisc, nodst, not the text"},
		"mac":               {one("        mac: \"02:00:00\"\n"), "5:14: mac takes Ethernet addresses such as"},
		"mac group":         {one("        mac: \"01:00:00:00:00:01\"\n"), "5:14: 01:00:00:00:00:01 is all zero or a group address"},
		"macaddr twice":     {one("        mode: source\n        macaddr: [\"02:00:00:00:00:01\", \"02:00:00:00:00:01\"]\n"), "6:40: 02:00:00:00:00:01 stands in the list already"},
		"macaddr no source": {one("        macaddr: [\"02:00:00:00:00:01\"]\n"), "5:18: only a vmac of mode source has a source list"},
		"address":           {one("        addresses: [192.0.2.1]\n"), "5:21: an address has a prefix length"},
		"address group":     {one("        addresses: [224.0.0.1/4]\n"), "5:21: 224.0.0.1/4 is no address that a device can have"},
		"owner":             {one("        owner: {a: 1}\n"), "5:20: a takes a text, not the number 1"},
		"relative netns":    {one("        netns: a/b\n"), "5:16: netns is a name under /run/netns or a path from the root"},
		"alias":             {one("        alias: " + strings.Repeat("x", 256) + "\n"), "5:16: alias has 256 bytes"},
		"anchor":            {one("        alias: &x a\n"), "not an anchor"},
		"tag":               {one("        alias: !!str a\n"), "not a tag"},
		"long name":         {"parents:\n  - name: eth0\n    vmacs:\n      - name: sixteen-bytes-xx\n", "4:15: \"sixteen-bytes-xx\" is no valid device name"},
		"template":          {"parents:\n  - name: eth0\n    vmacs:\n      - name: a%d\n", "4:15: \"a%d\" has a %"},
		"parent's name":     {"parents:\n  - name: a/b\n    vmacs: []\n", "2:11: \"a/b\" is no valid device name"},
		"parent twice":      {"parents:\n  - name: eth0\n    vmacs: []\n  - name: eth0\n    vmacs: []\n", "4:11: parent eth0 is in line 2 already"},
		"vmac twice":        {one("      - name: a\n"), "5:15: a is in line 4 already"},
		"on a vmac":         {one("  - name: a\n    vmacs: []\n"), "5:11: a is a vmac of this file (line 4)"},
		"two passthru":      {one("        mode: passthru\n      - name: b\n        mode: passthru\n"), "7:15: a is passthru, which shares its parent"},
		"late passthru":     {one("      - name: b\n        mode: passthru\n"), "6:15: passthru shares its parent with no other vmac, and eth0 has a"},
		"same mac":          {one("        mac: \"02:00:00:00:00:01\"\n      - name: b\n        mac: \"02:00:00:00:00:01\"\n"), "7:14: b can't come up with 02:00:00:00:00:01, the address of the vmac a"},
	} {
		_, problems := Parse("f", []byte(c.text))
		if len(problems) != 1 || !strings.Contains(problems[0].String(), c.want) || !strings.HasPrefix(problems[0].String(), "f:") {
			t.Errorf("%s: %q, want one with %q", name, problems, c.want)
		}
	}
}

// TestAllProblemsAtOnce: a person wants them in one go, in order.
func TestAllProblemsAtOnce(t *testing.T) {
	_, problems := Parse("f", []byte("x: 1\nparents:\n  - name: 1\n    vmacs:\n      - name: a\n        mode: b\n        up: 3\n"))
	var at []string
	for _, p := range problems {
		at = append(at, fmt.Sprintf("%d:%d", p.Line, p.Column))
	}
	if got := strings.Join(at, " "); got != "1:1 3:11 6:15 7:13" {
		t.Errorf("problems at %s: %v", got, problems)
	}
}

func TestWarnings(t *testing.T) {
	c, problems := Parse("f", []byte(`parents:
  - name: eth0
    vmacs:
      - {name: a, flags: [nopromisc], addresses: [192.0.2.1/24]}
      - {name: b, flags: [nodst], addresses: [192.0.2.1/32]}
      - {name: c, mode: source}
      - {name: d, up: false, mac: "02:00:00:00:00:01"}
      - {name: e, up: false, mac: "02:00:00:00:00:01"}
`))
	if c == nil || problems.Failed() || len(problems) != 4 {
		t.Fatalf("%v", problems)
	}
	for i, want := range []string{"4:26: warning: nopromisc", "5:26: warning: nodst", "5:46: warning: 192.0.2.1 is an address of a too", "6:25: warning: a vmac of mode source hears nobody"} {
		if !strings.Contains(problems[i].String(), want) {
			t.Errorf("%v, want %s", problems[i], want)
		}
	}
}

// TestRoundTrip: what is written reads as the same.
func TestRoundTrip(t *testing.T) {
	text, err := os.ReadFile("../../docs/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, problems := Parse("example.yaml", text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	again, problems := Parse("again", []byte(c.Text()))
	if len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, c.Text())
	}
	if again.Text() != c.Text() {
		t.Errorf("first\n%sthen\n%s", c.Text(), again.Text())
	}
	run := asRunning(c)
	if plan := Diff(run, again, machine(c)); len(plan.Steps)+len(plan.Waiting)+len(plan.Refused)+len(plan.Notes) > 0 {
		t.Errorf("differs: %+v", plan)
	}
}

func FuzzParse(f *testing.F) {
	if text, err := os.ReadFile("../../docs/example.yaml"); err == nil {
		f.Add(text)
	}
	f.Add([]byte("parents:\n  - name: eth0\n    vmacs:\n      - {name: a, mac: \"02:00:00:00:00:01\", flags: [nodst], owner: {a: b}}\n"))
	f.Add([]byte("parents: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems := Parse("f", text)
		if c == nil != problems.Failed() {
			t.Fatalf("%v %v", c, problems)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Text == "" {
				t.Fatalf("problem without a place: %+v", p)
			}
		}
		if c == nil {
			return
		}
		again, problems := Parse("again", []byte(c.Text()))
		if again == nil || again.Text() != c.Text() {
			t.Fatalf("written\n%s\nproblems %v", c.Text(), problems)
		}
	})
}
