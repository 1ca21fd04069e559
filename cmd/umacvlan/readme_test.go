package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// block returns the first fenced block of a document in the given language.
func block(t *testing.T, file, language string) []string {
	t.Helper()
	readme, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "\n```"+language+"\n")
	if !ok {
		t.Fatalf("%s has no %s block", file, language)
	}
	text, _, _ := strings.Cut(rest, "\n```")
	return strings.Split(text, "\n")
}

// TestReadmeSession types the README's session, on two machines that are
// namespaces, and reads the same answers.
func TestReadmeSession(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	for _, tool := range []string{"ip", "ping", "sysctl", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			skipOrFail(t, "needs "+tool)
		}
	}
	machine := map[string]*lab.NS{}
	card := map[string]*lab.Device{}
	for name, last := range map[string]byte{"host": 0x0a, "other": 0x0b} {
		ns, err := lab.NewNS()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		machine[name] = ns
		card[name] = &lab.Device{NS: ns, Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, last}}
	}
	if err := lab.Veth(card["host"], card["other"], 1500); err != nil {
		t.Fatal(err)
	}
	if err := card["other"].AddAddr("10.1.1.9/24"); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "umacvlan")); err != nil {
		t.Fatal(err)
	}
	shell := func(line string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", line)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), asCommand+"=1",
			"UMACVLAN_SOCKET="+filepath.Join(dir, "s"), "GORACE=atexit_sleep_ms=0", "LC_ALL=C")
		return cmd
	}
	var daemon *exec.Cmd
	var said lockedBuffer
	err = machine["host"].Do(func() error {
		daemon = shell("exec umacvlan daemon")
		daemon.Stderr = &said
		return daemon.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		daemon.Process.Signal(os.Interrupt)
		daemon.Wait()
	}()
	within(t, func() bool { return strings.Contains(said.String(), "msg=ready") }, "the daemon is ready")

	var prompt string
	var want, got []string
	check := func() {
		if w, g := strings.Join(want, "\n"), strings.Join(got, "\n"); w != g {
			t.Errorf("%s\nprinted:\n%s\nthe README says:\n%s", prompt, g, w)
		}
	}
	commands := 0
	for _, line := range block(t, "README.md", "console") {
		name, command, ok := strings.Cut(line, "# ")
		ns := machine[name]
		if !ok || ns == nil {
			want = append(want, strings.TrimRight(line, " "))
			continue
		}
		check()
		prompt, want, got = line, nil, nil
		commands++
		ns.Do(func() error {
			out, _ := shell(command).CombinedOutput()
			if s := strings.TrimSuffix(string(out), "\n"); s != "" {
				got = strings.Split(s, "\n")
			}
			return nil
		})
		for i, l := range got {
			got[i] = strings.TrimRight(l, " ")
		}
	}
	check()
	if commands < 10 {
		t.Errorf("%d commands in the README's session", commands)
	}
}

// TestReadmeDemo runs the README's first command and finds the README's table.
// The rates below it are another machine's.
func TestReadmeDemo(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "demo")
	cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	readme := block(t, "README.md", "text")
	for i, line := range strings.Split(string(out), "\n") {
		if i == len(readme) {
			break
		}
		if line = strings.TrimRight(line, " "); line != readme[i] {
			t.Errorf("line %d of the demo is\n%s\nThe README has\n%s", i+1, line, readme[i])
		}
		if strings.HasPrefix(line, "  Host and vmac never hear") {
			return
		}
	}
	t.Error("the demo has no such end")
}

// TestLabSession runs the experiment of docs/lab.md and reads the same answer.
func TestLabSession(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN, lab.NeedMacvlan)
	file := filepath.Join(t.TempDir(), "first.scenario")
	if err := os.WriteFile(file, []byte(strings.Join(block(t, "docs/lab.md", "scenario"), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "lab", "run", file)
	cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.Output()
	if err != nil {
		t.Error(err)
	}
	want := block(t, "docs/lab.md", "console")[1:]
	got := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	for i := range got {
		got[i] = strings.TrimRight(got[i], " ")
	}
	if w, g := strings.Join(want, "\n"), strings.Join(got, "\n"); w != g {
		t.Errorf("printed:\n%s\ndocs/lab.md says:\n%s", g, w)
	}
}
