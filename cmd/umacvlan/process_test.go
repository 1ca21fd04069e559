package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/internal/control"
)

// asCommand makes the test binary be the command itself.
const asCommand = "UMACVLAN_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		panic("main returned")
	}
	os.Exit(m.Run())
}

// command is the command with its arguments, in the namespace.
func (ns ipNamespace) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", append([]string{"netns", "exec", string(ns), self}, args...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "UMACVLAN_SOCKET=",
		"GORACE=atexit_sleep_ms=0") // the race detector's second of sleep at every exit
	return cmd
}

// do runs the command to its end.
func (ns ipNamespace) do(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := ns.command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (ns ipNamespace) mustDo(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := ns.do(t, args...)
	if code != 0 || strings.Contains(stderr, "umacvlan: ") && !strings.Contains(stderr, "warning") {
		t.Fatalf("umacvlan %v: %d %s", args, code, stderr)
	}
	return stdout
}

// lockedBuffer may be read while a process writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// background is a command that runs until it is told to end.
type background struct {
	cmd            *exec.Cmd
	stdout, stderr lockedBuffer
	done           chan struct{}
}

// start runs the command and waits until it says ready.
func (ns ipNamespace) start(t *testing.T, ready string, args ...string) *background {
	t.Helper()
	if _, err := os.Stat(tunDevice); err != nil {
		skipOrFail(t, err.Error())
	}
	b := &background{cmd: ns.command(t, args...), done: make(chan struct{})}
	b.cmd.Stdout, b.cmd.Stderr = &b.stdout, &b.stderr
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(b.done); b.cmd.Wait() }()
	t.Cleanup(func() {
		b.cmd.Process.Kill() // of one that ended: an error that says so
		<-b.done
	})
	within(t, func() bool {
		select {
		case <-b.done:
			t.Fatalf("umacvlan %v ended: %s", args, b.stderr.String())
		default:
		}
		return strings.Contains(b.stderr.String(), ready)
	}, ready)
	return b
}

// end sends the signal and waits; the exit code and what was said are checked.
func (b *background) end(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.done:
	case <-time.After(10 * time.Second):
		t.Fatalf("still there 10 s after %v: %s", sig, b.stderr.String())
	}
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d after %v: %s", code, sig, b.stderr.String())
	}
}

func within(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func (ns ipNamespace) has(device string) bool {
	_, _, code := ns.ip("link", "show", device)
	return code == 0
}

// TestDaemonSession is what an administrator does: umacvlan in place of ip.
func TestDaemonSession(t *testing.T) {
	ns := newIPNamespace(t)
	socket := filepath.Join(t.TempDir(), "dir", "s")
	d := ns.start(t, "msg=ready", "daemon", "--socket", socket)
	at := func(args ...string) []string { return append([]string{"--socket", socket}, args...) }

	if _, stderr, code := ns.do(t, at("daemon")...); code != 1 || !strings.Contains(stderr, "already") {
		t.Errorf("second daemon: %d %q", code, stderr)
	}
	ns.mustDo(t, at("link", "add", "link", "vb", "name", "vmac0", "address", "02:00:00:00:01:01", "type", "macvlan", "mode", "bridge")...)
	if !ns.has("vmac0") {
		t.Fatal("link add returned, and there is no device")
	}
	stdout, _, _ := ns.ip("link", "show", "vmac0")
	if strings.Contains(stdout, "UP") || !strings.Contains(stdout, "link/ether 02:00:00:00:01:01") {
		t.Errorf("vmac0 is to be down and to have its address:\n%s", stdout)
	}
	for _, e := range []expect{
		{line: "link add link vb name vmac0 type macvlan", code: 2, stderr: "RTNETLINK answers: File exists"},
		{line: "link add link lo name vmac1 type macvlan", code: 2, stderr: "RTNETLINK answers: Invalid argument"},
		{line: "link add link vb name vmac1 address 01:00:00:00:00:01 type macvlan", code: 2, stderr: "RTNETLINK answers: Cannot assign requested address"},
		{line: "link add link vb name vmac1 type macvlan mode passthru", code: 2, stderr: "RTNETLINK answers: Invalid argument"},
		{line: "link add link vb name vmac1 mtu 67 type macvlan", code: 2, stderr: "Error: mtu less than device minimum."},
		{line: "link set vmac0 type macvlan mode passthru", code: 2, stderr: "RTNETLINK answers: Invalid argument"},
	} {
		_, stderr, code := ns.do(t, at(strings.Fields(e.line)...)...)
		first, _, _ := strings.Cut(stderr, "\n")
		if code != e.code || first != e.stderr {
			t.Errorf("umacvlan %s: %d %q, want %d %q", e.line, code, stderr, e.code, e.stderr)
		}
		if ns.has("vmac1") {
			t.Fatalf("umacvlan %s made vmac1", e.line)
		}
	}
	ns.mustDo(t, at("link", "set", "vmac0", "up")...)
	within(t, func() bool {
		var links []control.Link
		out := ns.mustDo(t, at("-j", "-d", "link", "show", "vmac0")...)
		if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
			t.Fatalf("%v %s", err, out)
		}
		l := links[0]
		return l.IfName == "vmac0" && l.Parent == "vb" && l.LinkInfo.Data.Mode == "bridge" &&
			l.Address == "02:00:00:00:01:01" && strings.Contains(fmt.Sprint(l.Flags), "UP") && l.Umacvlan.Child == "tap"
	}, "vmac0 shown up")
	if out := ns.mustDo(t, at("-d", "link", "show")...); !strings.Contains(out, "vmac0@vb: ") || !strings.Contains(out, "\n    macvlan mode bridge bcqueuelen 1000 ") || !strings.Contains(out, "\n    umacvlan child tap ") {
		t.Errorf("link show:\n%s", out)
	}
	if out := ns.mustDo(t, at("ledger")...); !strings.Contains(out, "difference") {
		t.Errorf("ledger:\n%s", out)
	}
	if out := ns.mustDo(t, at("status")...); !strings.Contains(out, "vmacs    1") {
		t.Errorf("status:\n%s", out)
	}
	ns.mustDo(t, at("link", "set", "vmac0", "name", "other")...)
	ns.mustDo(t, at("link", "del", "other")...)
	if ns.has("other") || ns.has("vmac0") {
		t.Error("deleted, and still there")
	}
	ns.mustDo(t, at("link", "add", "link", "vb", "name", "vmac2", "type", "macvlan")...)
	d.end(t, syscall.SIGTERM)
	if ns.has("vmac2") {
		t.Error("the daemon ended and left vmac2 behind")
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the daemon ended and left its socket behind")
	}
}

// TestDaemonServesOtherNamespaces: -n, from outside.
func TestDaemonServesOtherNamespaces(t *testing.T) {
	ns := newIPNamespace(t)
	socket := filepath.Join(t.TempDir(), "s")
	ns.start(t, "msg=ready", "daemon", "--socket", socket)
	for _, e := range []expect{
		{line: "link add link vb name vmac0 type macvlan", code: 0},
		{line: "link add link vb name nosuch0 netns 4000000000 type macvlan", code: 255, stderr: "Error: argument \"4000000000\" is wrong: Invalid \"netns\" value\n"},
		{line: "link show vmac9", code: 1, stderr: "Device \"vmac9\" does not exist.\n"},
		{line: "link del vmac0", code: 0},
	} {
		_, stderr, code := runLine(t, "", "--socket "+socket+" -n "+string(ns)+" "+e.line)
		if code != e.code || stderr != e.stderr {
			t.Errorf("-n %s %s: %d %q, want %d %q", ns, e.line, code, stderr, e.code, e.stderr)
		}
	}
	if ns.has("vmac0") {
		t.Error("vmac0 was deleted, and is there")
	}
}

// TestNamespaceDeleted: a namespace with the parent and its vmacs is deleted. The
// daemon's packet socket is what keeps it alive then, and lets go.
func TestNamespaceDeleted(t *testing.T) {
	ns := newIPNamespace(t)
	socket := filepath.Join(t.TempDir(), "s")
	d := ns.start(t, "msg=ready", "daemon", "--socket", socket)
	guest := string(ns) + "g"
	mustRun(t, "ip", "netns", "add", guest)
	deleted := false
	t.Cleanup(func() {
		if !deleted {
			mustRun(t, "ip", "netns", "del", guest)
		}
	})
	mustRun(t, "ip", "-n", guest, "link", "add", "va", "type", "veth", "peer", "name", "seen", "netns", string(ns))
	ns.mustDo(t, "--socket", socket, "-n", guest, "link", "add", "link", "va", "name", "vmac0", "up", "type", "macvlan")
	time.Sleep(5 * time.Second) // more than two looks: a name keeps it
	if out := ns.mustDo(t, "--socket", socket, "status"); !strings.Contains(out, "vmacs    1") {
		t.Fatalf("the vmac went before its namespace:\n%s", out)
	}
	mustRun(t, "ip", "netns", "del", guest)
	deleted = true
	within(t, func() bool { return strings.Contains(ns.mustDo(t, "--socket", socket, "status"), "vmacs    0") }, "the vmac goes with its namespace")
	within(t, func() bool { return !ns.has("seen") }, "the namespace itself is gone, and the other end of its veth pair")
	d.end(t, syscall.SIGTERM)
}

// TestRunSession: in the foreground, until Ctrl-C.
func TestRunSession(t *testing.T) {
	ns := newIPNamespace(t)
	r := ns.start(t, "Ctrl-C", "run", "--parent", "vb", "vmac0", "mode", "bridge", "vmac1", "mode", "private", "address", "02:00:00:00:01:02")
	table := strings.Split(r.stdout.String(), "\n")
	if len(table) != 4 || !strings.HasPrefix(table[0], "NAME") || !strings.HasPrefix(table[1], "vmac0") || !strings.HasPrefix(table[2], "vmac1  02:00:00:00:01:02  private  vb") {
		t.Errorf("%q", table)
	}
	for _, name := range []string{"vmac0", "vmac1"} {
		if stdout, _, _ := ns.ip("link", "show", "up", "dev", name); !strings.Contains(stdout, name) {
			t.Errorf("%s is not up", name)
		}
	}
	r.end(t, syscall.SIGINT)
	if ns.has("vmac0") || ns.has("vmac1") {
		t.Error("run ended and left devices behind")
	}
	// One that is refused ends the whole, and leaves nothing.
	_, stderr, code := ns.do(t, "run", "--parent", "vb", "vmac0", "mode", "bridge", "vmac1", "mode", "passthru")
	if code != 2 || !strings.HasPrefix(stderr, "RTNETLINK answers: Invalid argument\n") || ns.has("vmac0") {
		t.Errorf("%d %q, vmac0 left: %v", code, stderr, ns.has("vmac0"))
	}
}
