package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/bench"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// benchAs runs the verb as a process of its own.
func benchAs(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := benchProcess(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func benchProcess(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{"bench"}, args...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

func TestBenchErrors(t *testing.T) {
	for line, want := range map[string]string{
		"--only tcp-inn":                       `umacvlan: there is no case "tcp-inn"; see: umacvlan bench --list`,
		"--only [":                             `umacvlan: "[" is no pattern; see: umacvlan bench --list`,
		"--with kernel,linux":                  `umacvlan: --with: there is no contender "linux"; there are kernel, umacvlan, naive, ovs, vde, none`,
		"--with umacvlan:wire=x":               "umacvlan: --with: umacvlan:wire=x: not one of ring, mmsg",
		"--format xml":                         `umacvlan: --format "xml" is not one of text, json, benchstat`,
		"--json --format benchstat":            "umacvlan: bench prints JSON or benchstat, not both",
		"--repetitions 4":                      "umacvlan: --repetitions 4: fewer than 5 say nothing",
		"--repetitions -1":                     "umacvlan: --repetitions -1: fewer than 5 say nothing",
		"--repetitions many":                   `umacvlan: invalid argument "many" for "--repetitions" flag: strconv.ParseInt: parsing "many": invalid syntax; see: umacvlan bench --help`,
		"--seconds 0.001":                      "umacvlan: --seconds 0.001 is not between 0.02 and 600",
		"--seconds 601":                        "umacvlan: --seconds 601 is not between 0.02 and 600",
		"--seconds NaN":                        "umacvlan: --seconds NaN is not between 0.02 and 600",
		"--wire eth1":                          "umacvlan: --wire goes with --parent",
		"--parent eth0 --wire eth0":            "umacvlan: eth0 can't be both ends of its cable",
		"--parent eth0 --with kernel,ovs":      "umacvlan: --with ovs: would take eth0 away from the host; without --parent it gets a device of its own",
		"--parent eth0 --only tcp-in-1g":       "umacvlan: case tcp-in-1g needs a parent of its own",
		"--parent eth0 --only tcp-sibling,t*n": "umacvlan: case tcp-in needs the other end of the parent's cable: --wire",
		"--list --full extra":                  `umacvlan: "extra" means nothing to bench; see: umacvlan bench --help`,
		"--loud":                               "umacvlan: unknown flag: --loud; see: umacvlan bench --help",
	} {
		stdout, stderr, code := runLine(t, "", "bench "+line)
		if code != 1 || stderr != want+"\n" || stdout != "" {
			t.Errorf("%s: code %d\n%s%s", line, code, stdout, stderr)
		}
	}
	if _, stderr, code := benchAs(t, "--parent", "nobody0", "--only", "tcp-sibling"); os.Geteuid() == 0 && (code != 1 || !strings.Contains(stderr, "device nobody0: ")) {
		t.Errorf("code %d, %s", code, stderr)
	}
}

func TestBenchList(t *testing.T) {
	stdout, stderr, code := runLine(t, "", "bench --list")
	if code != 0 || stderr != "" || strings.Count(stdout, "\n") != len(bench.Cases())+1 {
		t.Errorf("%d, %d lines, %s", code, strings.Count(stdout, "\n"), stderr)
	}
	if !regexp.MustCompile(`(?m)^request-in +quick +UDP request/response wire→vmac, µs +≤ 1× \(≤ 0\.5\); p99 µs ≤ 1\.5× \(≤ 1\)$`).MatchString(stdout) {
		t.Errorf("request-in is not as it should be:\n%s", stdout)
	}
	stdout, _, _ = runLine(t, "", "bench --list --only loss-out-* --json")
	var cases []bench.Case
	if err := json.Unmarshal([]byte(stdout), &cases); err != nil || len(cases) != 7 || cases[0].Rate != 100_000 {
		t.Errorf("%v, %d cases", err, len(cases))
	}
}

// A run of some tenths of a second, in every format, that leaves nothing.
func TestBench(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	before := links(t)
	dir := filepath.Join(t.TempDir(), "pictures")
	stdout, stderr, code := benchAs(t, "--only", "request-in", "--seconds", "0.02", "--json", "--svg", dir)
	var r bench.Report
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil || code != 0 {
		t.Fatalf("code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if r.Version != bench.ReportVersion || r.Repetitions != 5 || len(r.Results) != 1 || len(r.Verdicts) != 2 || r.LastMS != 20 ||
		r.Command != "umacvlan bench --only request-in --seconds 0.02 --json --svg "+dir {
		t.Errorf("%+v", r)
	}
	if len(r.Results[0].Series) == 0 || len(r.Results[0].Series[0].Samples) != 5 {
		t.Errorf("%+v", r.Results)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "request-in.svg"))
	for d := xml.NewDecoder(bytes.NewReader(svg)); err == nil; {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("the picture: %v", err)
	}
	if page, err := os.ReadFile(filepath.Join(dir, "index.html")); err != nil || !bytes.Contains(page, []byte("request/response")) {
		t.Errorf("the page: %v", err)
	}
	if stdout, stderr, code = benchAs(t, "--only", "request-in", "--with", "umacvlan", "--seconds", "0.02", "--format", "benchstat"); code != 0 ||
		strings.Count(stdout, "\nBenchmarkForwarding/traffic=request/way=in/contender=umacvlan-") != 5 {
		t.Errorf("code %d\n%s%s", code, stdout, stderr)
	}
	if after := links(t); after != before {
		t.Errorf("devices before:\n%s\nand after:\n%s", before, after)
	}
}

// links is what the machine has of devices and namespaces.
func links(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ip", "-br", "link", "show").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Ctrl-C goes to all processes at once.
func TestBenchInterrupted(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	cmd := benchProcess("--only", "tcp-sibling", "--with", "umacvlan", "--seconds", "20")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 64)
	n, err := stderr.Read(first) // it says what it does
	if err != nil || !strings.Contains(string(first[:n]), "0 %, ") {
		t.Errorf("%q, %v", first[:n], err)
	}
	if err := unix.Kill(-cmd.Process.Pid, unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(stderr) // ends when the last process has
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.HasSuffix(string(rest), "bench interrupted; nothing is left of it\n") {
		t.Errorf("code %d, %q", code, rest)
	}
}

// A run that breaks off prints the cases that it had finished, and that it did.
func TestBenchBreaksOff(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	cases, err := bench.Select(true, []string{"tcp-sibling"})
	if err != nil {
		t.Fatal(err)
	}
	broken := cases[0]
	broken.Sides = []bench.Side{{Contender: "umacvlan:exe=/nowhere", Label: "nobody", Scene: broken.Scene}}
	umacvlan, err := bench.ParseContender("umacvlan")
	if err != nil {
		t.Fatal(err)
	}
	run := bench.Options{Contenders: []bench.Contender{umacvlan}, Repetitions: 1, Warmup: 20 * time.Millisecond, Last: 40 * time.Millisecond}
	var stdout bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&stdout)
	cmd.SetErr(io.Discard)
	cmd.SetContext(t.Context())
	o := benchOptions{format: "json", svg: t.TempDir()}
	if err := o.measure(cmd, run, append(cases, broken), nil); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Error(err)
	}
	var report bench.Report
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil || len(report.Results) != 1 || !strings.Contains(report.Broken, "nobody") {
		t.Errorf("%v\n%s", err, &stdout)
	}
	if pictures, err := os.ReadDir(o.svg); err != nil || len(pictures) > 0 {
		t.Errorf("%v, %v", pictures, err)
	}
}

// The list in the documentation is what the command prints.
func TestBenchDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "host# umacvlan bench --list\n")
	documented, _, _ := strings.Cut(rest, "```")
	stdout, _, _ := runLine(t, "", "bench --list")
	want := regexp.MustCompile(` +\n`).ReplaceAllString(stdout, "\n")
	if !ok || documented != want {
		t.Errorf("docs/performance.md has another list than umacvlan bench --list:\n%s", want)
	}
}
