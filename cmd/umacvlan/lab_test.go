package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// labProcess is "umacvlan lab ..." as a process of its own, in dir.
func labProcess(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"lab"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

func labDo(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := labProcess(t, dir, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func writeScenario(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a new user does: from nothing to the answer, in under a minute.
func TestLabFirstExperiment(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN, lab.NeedMacvlan)
	dir, start := t.TempDir(), time.Now()
	if out, errs, code := labDo(t, dir, "new", "first.scenario"); code != 0 || out+errs != "" {
		t.Fatalf("new: %d %q %q", code, out, errs)
	}
	out, errs, code := labDo(t, dir, "run", "first.scenario")
	if code != 0 || errs != "" {
		t.Fatalf("run: %d %q\n%s", code, errs, out)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	for _, want := range []string{
		"Does a vepa vmac hear its bridge-mode sibling's broadcast?",
		"model      emulator   kernel",
		"b2        broadcast  broadcast  broadcast",
		"v1        -          -          -          its mode does not hear groups from this sender",
		"v1        broadcast  broadcast  broadcast",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	_, errs, code = labDo(t, dir, "new", "first.scenario")
	if code != 1 || !strings.Contains(errs, "first.scenario exists already") {
		t.Errorf("a second new: %d %q", code, errs)
	}
}

func TestLabRun(t *testing.T) {
	dir := t.TempDir()
	writeScenario(t, dir, "good", "title Good\nvmac b1 mode bridge\nsend wire: ext > b1\n  b1 gets host\n")
	writeScenario(t, dir, "bad", "title Bad\nvmac b1 mode bridge\nsend wire: ext > b1\n  stack gets other\n")
	writeScenario(t, dir, "wrong", "title Wrong\nvmac b1 mode bride\n")
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"run --on model good", 0, "b1        host", ""},
		{"run --on model good bad", 1, "! b1        host", "umacvlan: lab: 1 of 2 scenarios went otherwise than expected, or not alike everywhere\n"},
		{"run --on model bad", 1, "! model got host, expected it doesn't", "1 of 1"},
		{"run --on model wrong", 1, "", "wrong:2: "},
		{"run --on model nowhere", 1, "", "nowhere: no such file"},
		{"run --on moon good", 1, "", "not one of model, emulator, kernel, all"},
		{"run", 1, "", "umacvlan lab run needs a file; write one with: umacvlan lab new first.scenario\n"},
		{"run --fast good", 1, "", "unknown flag: --fast"},
		{"new", 0, "vmac    b1 mode bridge\n", ""},
		{"run --help", 0, "Examples:\n  umacvlan lab run first.scenario", ""},
	} {
		out, errs, code := labDo(t, dir, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.stdout) || !strings.Contains(errs, c.stderr) || c.stderr == "" && errs != "" || c.stdout == "" && out != "" {
			t.Errorf("lab %s: code %d, want %d\nstdout %s\nstderr %s", c.args, code, c.code, out, errs)
		}
	}
}

// All ways, as JSON, with captures.
func TestLabRunJSON(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	dir := t.TempDir()
	writeScenario(t, dir, "a.scenario", "title Unicast\nvmac b1 mode bridge\nsend wire: ext > b1\n  b1 gets host\n")
	writeScenario(t, dir, "b.scenario", "title Tagged\nvmac b1 mode bridge netns x\nsend wire: ext > b1 vlan 7\n  b1 gets host stack-type other\n")
	t.Setenv(feature.Variable, "all") // the stack keeps its copies, which is listed
	out, errs, code := labDo(t, dir, "run", "--json", "--pcap", "p", "a.scenario", "b.scenario")
	if code != 0 {
		t.Fatalf("code %d, %s\n%s", code, errs, out)
	}
	var reports []lab.Report
	if err := json.Unmarshal([]byte(out), &reports); err != nil {
		t.Fatal(err)
	}
	if len(reports) != 2 || !reports[0].OK || !reports[1].OK || !reports[0].Lists("1") {
		t.Fatalf("reports %+v", reports)
	}
	for i, name := range []string{"a", "b"} {
		for _, w := range reports[i].Ways {
			if w.Error != "" || w.Skipped != "" {
				t.Errorf("%s on the %s: %+v", name, w.Way, w)
			}
			info, err := os.Stat(filepath.Join(dir, "p", name+"."+string(w.Way)+".pcapng"))
			if err != nil || info.Size() < 200 {
				t.Errorf("capture of %s on the %s: %v", name, w.Way, err)
			}
		}
	}
	if n := len(reports[0].Ways); n < 2 {
		t.Errorf("%d ways", n)
	}
}

func TestLabRecord(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedMacvlan)
	dir := t.TempDir()
	const before = "# why\ntitle   Recorded\nvmac    b1 mode bridge   # one\n\nsend    wire: ext > b1\n  nobody\n"
	writeScenario(t, dir, "r.scenario", before)
	if err := os.Symlink("r.scenario", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	out, errs, code := labDo(t, dir, "record", "link")
	if code != 0 || out != "link: recorded on "+lab.KernelVersion()+"\n" {
		t.Fatalf("record: %d %q %q", code, out, errs)
	}
	after, err := os.ReadFile(filepath.Join(dir, "r.scenario"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# why\n", "# one\n", "recorded on " + lab.KernelVersion() + "\n", "  b1 gets host\n"} {
		if !strings.Contains(string(after), want) {
			t.Errorf("no %q in\n%s", want, after)
		}
	}
	info, err := os.Lstat(filepath.Join(dir, "link"))
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v %v", info, err)
	}
	if info, err = os.Stat(filepath.Join(dir, "r.scenario")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info, err)
	}
	if out, errs, code := labDo(t, dir, "run", "--on", "model", "r.scenario"); code != 0 {
		t.Errorf("run of what was recorded: %d %s%s", code, out, errs)
	}
	writeScenario(t, dir, "old", "title Old\nprofile 4.4\nvmac b1 mode bridge\nsend wire: ext > b1\n")
	if _, errs, code := labDo(t, dir, "record", "old"); code != 1 || !strings.Contains(errs, "old: the kernel can't record it: profile 4.4") {
		t.Errorf("record of an old profile: %d %q", code, errs)
	}
}

// Ctrl-C goes to both processes at once.
func TestLabInterrupted(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	dir := t.TempDir()
	writeScenario(t, dir, "long", "title Long\nvmac b1 mode bridge\n"+strings.Repeat("send wire: ext > b1 times 1000000\n", 100))
	writeScenario(t, dir, "short", "title Short\nvmac b1 mode bridge\nsend wire: ext > b1\n")
	cmd := labProcess(t, dir, "run", "--on", "emulator", "short", "long")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 512)); err != nil { // the short one is done
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	group := cmd.Process.Pid
	if err := unix.Kill(-group, unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("ended with %v, want code 130", err)
	}
	if got := errs.String(); got != "umacvlan: lab interrupted; nothing is left of it\n" {
		t.Errorf("said %q", got)
	}
	if err := unix.Kill(-group, 0); err != unix.ESRCH {
		t.Errorf("a process is left: %v", err)
	}
}
