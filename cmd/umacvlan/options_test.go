package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	for line, want := range map[string]options{
		"-d -s -s":                    {details: 1, stats: 2, linkOnly: "-s"},
		"--details -stat":             {details: 1, stats: 1, linkOnly: "-stat"},
		"-j -p":                       {json: true, pretty: true, linkOnly: "-p"},
		"-json":                       {json: true},
		"-br -o":                      {brief: true, oneline: true, linkOnly: "-o"},
		"-h -iec":                     {human: true, iec: true, linkOnly: "-iec"},
		"-he":                         {help: true},
		"-V":                          {version: true},
		"-n blue -b - -force":         {netns: "blue", batch: "-", force: true, linkOnly: "-force"},
		"-c":                          {color: colorAuto, linkOnly: "-c"},
		"-color=always":               {color: colorAlways, linkOnly: "-color=always"},
		"-c=never":                    {color: colorNever, linkOnly: "-c=never"},
		"--socket /s":                 {socket: "/s"},
		"--socket=/s -netns /n/x -fo": {socket: "/s", netns: "/n/x", force: true, linkOnly: "-fo"},
		"--":                          {},
	} {
		got, rest, err := parseOptions(append(fields(line), "link", "-d"))
		if err != nil || got != want || strings.Join(rest, " ") != "link -d" {
			t.Errorf("%s: %+v %v %v", line, got, rest, err)
		}
	}
	for line, want := range map[string]expect{
		"-x":           {code: 255, stderr: `Option "-x" is unknown, try "umacvlan -help".`},
		"-":            {code: 255, stderr: `Option "-" is unknown, try "umacvlan -help".`},
		"-f inet":      {code: 255, stderr: `Option "-f" is unknown, try "umacvlan -help".`},
		"-c=x":         {code: 255, stderr: `Option "-c=x" is unknown, try "umacvlan -help".`},
		"--sock /s":    {code: 255, stderr: `Option "-sock" is unknown, try "umacvlan -help".`},
		"-n":           {code: 255, stderr: `Error: argument "netns" is required`},
		"-b":           {code: 255, stderr: `Error: argument "batch file" is required`},
		"-n /none l":   {code: 255, stderr: `Cannot open network namespace "/none": No such file or directory`},
		"-d status":    {code: 1, stderr: `umacvlan: option -d goes with "link", not with "status"`},
		"foo":          {code: 1, stderr: `Object "foo" is unknown, try "umacvlan help".`},
		"-j foo":       {code: 1, stderr: `Object "foo" is unknown, try "umacvlan help".`},
		"run --x":      {code: 1, stderr: `umacvlan: unknown flag: --x; see: umacvlan run --help`},
		"status x":     {code: 1, stderr: `umacvlan: "x" means nothing to status; see: umacvlan status --help`},
		"-j lab run":   {code: 1, stderr: `umacvlan: umacvlan lab run needs a file; write one with: umacvlan lab new first.scenario`},
		"-j lab new":   {code: 1, stderr: `umacvlan: unknown flag: --json; see: umacvlan lab new --help`},
		"man":          {code: 1, stderr: `umacvlan: man needs a directory; try: umacvlan man /usr/local/share/man/man1`},
		"lab x":        {code: 1, stderr: `Command "x" is unknown, try "umacvlan lab --help".`},
		"completion x": {code: 1, stderr: `Command "x" is unknown, try "umacvlan completion --help".`},
		"help x":       {code: 1, stderr: `Object "x" is unknown, try "umacvlan help".`},
		"-s version":   {code: 1, stderr: `umacvlan: option -s goes with "link", not with "version"`},
		"-j ip link":   {code: 1, stderr: `umacvlan: options of ip stand behind it: umacvlan ip -j ...`},
	} {
		stdout, stderr, code := runLine(t, "", line)
		if code != want.code || stdout != "" || strings.TrimSpace(stderr) != want.stderr {
			t.Errorf("umacvlan %s: %d %q %q, want %d %q", line, code, stdout, stderr, want.code, want.stderr)
		}
	}
}

func TestColors(t *testing.T) {
	env := func(vars ...string) func(string) string {
		return func(k string) string {
			for _, v := range vars {
				if value, ok := strings.CutPrefix(v, k+"="); ok {
					return value
				}
			}
			return ""
		}
	}
	for _, tt := range []struct {
		choice   colorChoice
		terminal bool
		env      func(string) string
		want     palette
	}{
		{colorUnset, true, env(), palette{}},
		{colorAuto, true, env(), darkPalette},
		{colorAuto, false, env(), palette{}},
		{colorAuto, true, env("NO_COLOR=1"), palette{}},
		{colorAuto, true, env("COLORFGBG=0;15"), lightPalette},
		{colorAuto, true, env("COLORFGBG=15;0"), darkPalette},
		{colorAlways, false, env("NO_COLOR=1"), darkPalette},
		{colorNever, true, env(), palette{}},
	} {
		if got := choosePalette(tt.choice, tt.terminal, tt.env); got != tt.want {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}

// TestHelp: the first screen leads to the three ways in, and every verb has an
// example.
func TestHelp(t *testing.T) {
	for _, line := range []string{"", "-h", "-help", "--help", "help"} {
		stdout, stderr, code := runLine(t, "", line)
		if code != 0 || stderr != "" {
			t.Errorf("umacvlan %s: %d %q", line, code, stderr)
		}
		for _, want := range []string{"umacvlan demo", "umacvlan run --parent", "umacvlan daemon", "umacvlan link add"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("umacvlan %s: no %q in\n%s", line, want, stdout)
			}
		}
	}
	a := &app{getenv: os.Getenv}
	for _, c := range a.commands() {
		if c.Example == "" {
			t.Errorf("%s has no example", c.Name())
		}
	}
	for _, line := range []string{"link --help", "link -h", "help link", "help run", "link help macvlan"} {
		stdout, stderr, code := runLine(t, "", line)
		if code != 0 || stderr != "" || !strings.Contains(stdout, "bcqueuelen") {
			t.Errorf("umacvlan %s: %d %q %q", line, code, stdout, stderr)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, line := range []string{"version", "-V", "-Version", "--version"} {
		if stdout, _, code := runLine(t, "", line); code != 0 || !strings.HasPrefix(stdout, "umacvlan ") {
			t.Errorf("umacvlan %s: %d %q", line, code, stdout)
		}
	}
}

func TestCompletionAndManualPages(t *testing.T) {
	if stdout, stderr, code := runLine(t, "", "completion bash"); code != 0 || !strings.Contains(stdout, "umacvlan") {
		t.Errorf("completion: %d %q", code, stderr)
	}
	dir := filepath.Join(t.TempDir(), "man1")
	if _, stderr, code := runLine(t, "", "man "+dir); code != 0 {
		t.Fatalf("man: %d %q", code, stderr)
	}
	again := filepath.Join(t.TempDir(), "man1")
	runLine(t, "", "man "+again)
	if out, err := exec.Command("diff", "-r", dir, again).CombinedOutput(); err != nil {
		t.Errorf("the pages differ: %v\n%s", err, out)
	}
	page, err := os.ReadFile(filepath.Join(dir, "umacvlan-run.1"))
	if err != nil || !strings.Contains(string(page), "bcqueuelen") {
		t.Errorf("%v %s", err, page)
	}
}

func TestMissingCapability(t *testing.T) {
	const status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t0000000000003000\nCapBnd:\t000001ffffffffff\n"
	if err := missingCapability(status, capabilities[:2]); err != nil {
		t.Error(err)
	}
	err := missingCapability(status, capabilities)
	if err == nil || !strings.Contains(err.Error(), "CAP_SYS_ADMIN is missing") {
		t.Error(err)
	}
	if err := missingCapability("", capabilities); err == nil {
		t.Error("no status, no error")
	}
}

// FuzzCommandLine: options and batch lines of any shape are read or refused.
func FuzzCommandLine(f *testing.F) {
	for _, s := range []string{"-d -s link show", "--socket=/s -n blue link", "-c=always l", "link 'a b' \"c\" # d", "-b - --", "'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args, err := splitWords(line)
		if err != nil {
			return
		}
		for _, a := range args {
			if !strings.Contains(line, a) {
				t.Fatalf("%q is no part of %q", a, line)
			}
		}
		_, rest, err := parseOptions(args)
		if err == nil && !slices.Equal(rest, args[len(args)-len(rest):]) {
			t.Fatalf("%q is not the end of %q", rest, args)
		}
	})
}
