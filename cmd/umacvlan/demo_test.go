package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// demoAs makes a command that runs the demo as an ordinary user, in a mount
// namespace where /dev/net/tun has the given permissions. start runs it.
func demoAs(t *testing.T, perm uint32, args ...string) (cmd *exec.Cmd, start func() error) {
	t.Helper()
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	dir, err := os.MkdirTemp("", "demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// The directory of the test's own binary is closed to others.
	program := filepath.Join(dir, "umacvlan")
	if err := copyProgram(program); err != nil {
		t.Fatal(err)
	}
	tun := filepath.Join(dir, "tun")
	if err := unix.Mknod(tun, unix.S_IFCHR|perm, int(unix.Mkdev(10, 200))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tun, os.FileMode(perm)); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(program, append([]string{"demo"}, args...)...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd, func() error {
		done := make(chan error, 1)
		go func() {
			runtime.LockOSThread() // for good: the thread's mount namespace is spoilt
			done <- errors.Join(
				unix.Unshare(unix.CLONE_NEWNS),
				unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
				unix.Mount(tun, "/dev/net/tun", "", unix.MS_BIND, ""),
				cmd.Start())
		}()
		return <-done
	}
}

func copyProgram(to string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// The README's first command, as an ordinary user.
func TestDemoUnprivileged(t *testing.T) {
	cmd, start := demoAs(t, 0o666, "--json")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	if err := start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s%s", err, errs.String(), out.String())
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	var r lab.DemoReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if !r.OK || len(r.Modes) != 5 || len(r.Streams) != 3 || r.Balanced == 0 {
		t.Errorf("ok %v, %d modes, %d streams, %d ledgers", r.OK, len(r.Modes), len(r.Streams), r.Balanced)
	}
	if !strings.Contains(errs.String(), "TCP") {
		t.Errorf("said %q while it worked", errs.String())
	}
}

func TestDemoClosedTUN(t *testing.T) {
	cmd, start := demoAs(t, 0o600)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v, want code 1", err)
	}
	if line := errs.String(); out.Len() > 0 || strings.Count(line, "\n") != 1 || !strings.Contains(line, "chmod 666 /dev/net/tun") {
		t.Errorf("stdout %q, stderr %q; want one line that says what to do", out.String(), line)
	}
}

// Ctrl-C goes to both processes at once.
func TestDemoInterrupted(t *testing.T) {
	cmd, start := demoAs(t, 0o666)
	cmd.SysProcAttr.Setpgid = true
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	group := cmd.Process.Pid
	first := make([]byte, 64)
	if _, err := stderr.Read(first); err != nil { // it runs TCP
		t.Fatal(err)
	}
	if err := unix.Kill(-group, unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(stderr) // ends when the last process has
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("ended with %v, want code 130", err)
	}
	if !strings.HasSuffix(string(rest), "demo interrupted; nothing is left of it\n") {
		t.Errorf("said %q", rest)
	}
	if err := unix.Kill(-group, 0); err != unix.ESRCH {
		t.Errorf("a process is left: %v", err)
	}
}
