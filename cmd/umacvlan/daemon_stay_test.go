package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/internal/control"
)

// address is a device's MAC address, "" if there is no such device.
func (ns ipNamespace) address(device string) string {
	out, _, _ := ns.ip("-br", "link", "show", "dev", device)
	if f := strings.Fields(out); len(f) > 2 {
		return f[2]
	}
	return ""
}

func mustWrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDaemonConfig is the life of a configuration file: refused at the start,
// then made, changed by SIGHUP and by apply, exported, taken away.
func TestDaemonConfig(t *testing.T) {
	ns := newIPNamespace(t)
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "s")
	at := func(args ...string) []string { return append([]string{"--socket", socket}, args...) }

	mustWrite(t, file, "parents:\n  - name: vb\n    vmacs:\n      - name: v0\n        mod: bridge\n")
	_, stderr, code := ns.do(t, "check", file)
	if want := file + ":5:9: a vmac has no key \"mod\""; code != 1 || !strings.HasPrefix(stderr, want) {
		t.Errorf("check: %d %q", code, stderr)
	}
	if _, again, code := ns.do(t, at("daemon", "--config", file)...); code != 1 || again != stderr {
		t.Errorf("daemon with that file: %d %q, want what check says", code, again)
	}

	const good = "parents:\n  - name: vb\n    vmacs:\n      - {name: v0, mode: bridge, addresses: [192.0.2.1/24]}\n      - {name: v1, mode: private, mac: \"02:00:00:00:01:01\"}\n"
	mustWrite(t, file, good)
	d := ns.start(t, "msg=ready", at("daemon", "--config", file)...)
	if !ns.has("v0") || ns.address("v1") != "02:00:00:00:01:01" {
		t.Fatal("ready, and the file's vmacs are not there")
	}
	ns.mustDo(t, at("link", "add", "link", "vb", "name", "hand", "type", "macvlan")...)
	before := ns.address("v0")

	exported := filepath.Join(dir, "exported.yaml")
	mustWrite(t, exported, ns.mustDo(t, at("export")...))
	if stdout, stderr, code := ns.do(t, at("apply", "--dry-run", exported)...); code != 0 || stdout != "no change\n" {
		t.Errorf("what was exported would change: %d %q %q", code, stdout, stderr)
	}
	if stdout, stderr, code := ns.do(t, at("apply")...); code != 0 || stdout != "no change\n" || stderr != "umacvlan: note: hand on vb was made by hand and is left alone\n" {
		t.Errorf("apply of the same: %d %q %q", code, stdout, stderr)
	}

	mustWrite(t, file, strings.Replace(good, "mode: private", "mode: vepa, mtu: 1300", 1))
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	within(t, func() bool { out, _, _ := ns.ip("link", "show", "v1"); return strings.Contains(out, "mtu 1300") }, "SIGHUP applies the file")
	within(t, func() bool { return strings.Contains(d.stderr.String(), "msg=\"configuration applied\"") }, "SIGHUP is logged")

	mustWrite(t, file, "parents: [")
	_, stderr, code = ns.do(t, at("apply")...)
	if code != 1 || !strings.HasPrefix(stderr, file+":1:") || !ns.has("v0") {
		t.Errorf("apply of a broken file: %d %q", code, stderr)
	}
	mustWrite(t, file, good+"      - {name: v2, mtu: 9000}\n      - {name: hand}\n  - name: later\n    vmacs: [{name: v3}]\n")
	stdout, stderr, code := ns.do(t, at("apply")...)
	if code != 2 || !strings.Contains(stderr, "mtu 9000 is more than the 1500 of the parent vb") || !strings.Contains(stderr, "waits: v3: parent later") ||
		stdout != "~ v1 on vb: mode vepa → private, mtu 1300 → 1500\n~ hand on vb: up false → true\n" {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
	if out := ns.mustDo(t, at("status")...); !strings.Contains(out, "config   "+file) || !strings.Contains(out, "waiting  v3: parent later") {
		t.Errorf("status:\n%s", out)
	}
	if out := ns.mustDo(t, at("apply", "--dry-run", "--json")...); !strings.Contains(out, "\"dry_run\": true") {
		t.Errorf("--json: %s", out)
	}
	mustRun(t, "ip", "-n", string(ns), "link", "add", "later", "type", "veth", "peer", "name", "earlier")
	within(t, func() bool { return ns.has("v3") }, "v3 comes with its parent")
	if ns.address("v0") != before {
		t.Errorf("v0 has %s, had %s", ns.address("v0"), before)
	}
	mustWrite(t, file, "parents: []\n")
	ns.mustDo(t, at("apply")...)
	for _, name := range []string{"v0", "v1", "v3", "hand"} {
		if ns.has(name) {
			t.Errorf("%s is left", name)
		}
	}
	d.end(t, syscall.SIGTERM)
}

// TestConfigNamespace: what a file made in a namespace goes with that, and comes
// back with it.
func TestConfigNamespace(t *testing.T) {
	ns := newIPNamespace(t)
	guest := string(ns) + "g"
	g := ipNamespace(guest)
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "s")
	mustWrite(t, file, "parents: [{name: vb, vmacs: [{name: v0, netns: "+guest+"}]}]\n")
	mustRun(t, "ip", "netns", "add", guest)
	t.Cleanup(func() { mustRun(t, "ip", "netns", "del", guest) })
	d := ns.start(t, "msg=ready", "--socket", socket, "daemon", "--config", file)
	mac := g.address("v0")
	if mac == "" {
		t.Fatal("v0 was not made")
	}
	mustRun(t, "ip", "netns", "del", guest)
	within(t, func() bool {
		return strings.Contains(ns.mustDo(t, "--socket", socket, "status"), "\nwaiting  v0: namespace "+guest+"\n")
	}, "v0 is waited for")
	mustRun(t, "ip", "netns", "add", guest)
	within(t, func() bool { return g.address("v0") == mac }, "v0 is there again, with its address")
	d.end(t, syscall.SIGTERM)
}

// TestKillAndRestart: after kill -9 the parent that had taken a passthru vmac's
// address gets its own back, and everything is there again with the addresses
// that it had.
func TestKillAndRestart(t *testing.T) {
	ns := newIPNamespace(t)
	guest := string(ns) + "g"
	mustRun(t, "ip", "netns", "add", guest)
	t.Cleanup(func() { mustRun(t, "ip", "netns", "del", guest) })
	mustRun(t, "ip", "-n", string(ns), "link", "add", "pa", "type", "veth", "peer", "name", "pb")
	dir := t.TempDir()
	state, socket, file := filepath.Join(dir, "state.json"), filepath.Join(dir, "s"), filepath.Join(dir, "config.yaml")
	mustWrite(t, file, "parents: [{name: vb, vmacs: [{name: managed, mode: bridge}]}]\n")
	args := []string{"--socket", socket, "daemon", "--state", state, "--config", file}
	at := func(args ...string) []string { return append([]string{"--socket", socket}, args...) }
	own := ns.address("pa")

	d := ns.start(t, "msg=ready", args...)
	ns.mustDo(t, at("link", "add", "link", "vb", "name", "hand", "netns", guest, "type", "macvlan", "mode", "bridge")...)
	ns.mustDo(t, at("link", "add", "link", "pa", "name", "pass", "type", "macvlan", "mode", "passthru")...)
	ns.mustDo(t, at("link", "set", "pass", "address", "02:00:00:00:00:77")...)
	within(t, func() bool { return ns.address("pa") == "02:00:00:00:00:77" }, "the parent follows its passthru vmac")
	g := ipNamespace(guest)
	managed, hand := ns.address("managed"), g.address("hand")
	within(t, func() bool {
		text, _ := os.ReadFile(state)
		return bytes.Contains(text, []byte(` "mac": "02:00:00:00:00:77"`)) && bytes.Contains(text, []byte(hand)) && bytes.Contains(text, []byte(own))
	}, "the state document knows all that")
	d.cmd.Process.Kill()
	<-d.done
	within(t, func() bool { return !ns.has("pass") && !g.has("hand") }, "the devices go with the daemon")
	if ns.address("pa") != "02:00:00:00:00:77" {
		t.Fatal("nobody is there who could have given the parent its address back")
	}

	// The address is given back, and taken again by the vmac that is made again.
	d = ns.start(t, "msg=ready", args...)
	if !strings.Contains(d.stderr.String(), "parent has its own address back") {
		t.Errorf("log:\n%s", d.stderr.String())
	}
	if ns.address("managed") != managed || g.address("hand") != hand || ns.address("pass") != "02:00:00:00:00:77" || ns.address("pa") != "02:00:00:00:00:77" {
		t.Errorf("managed %s, had %s; hand %s, had %s; pass %s", ns.address("managed"), managed, g.address("hand"), hand, ns.address("pass"))
	}
	ns.mustDo(t, at("link", "del", "pass")...)
	if ns.address("pa") != own {
		t.Errorf("the parent's own address is %s, and it has %s", own, ns.address("pa"))
	}
	d.end(t, syscall.SIGTERM)

	// Killed again, and the vmac's own namespace goes meanwhile: the parent gets
	// its address back though nothing is made.
	d = ns.start(t, "msg=ready", args...)
	ns.mustDo(t, at("link", "add", "link", "pa", "name", "pass", "netns", guest, "type", "macvlan", "mode", "passthru")...)
	g.mustDo(t, at("link", "set", "pass", "address", "02:00:00:00:00:78")...)
	within(t, func() bool { return ns.address("pa") == "02:00:00:00:00:78" }, "the parent follows")
	d.cmd.Process.Kill()
	<-d.done
	mustRun(t, "ip", "netns", "del", guest)
	d = ns.start(t, "msg=ready", args...)
	if ns.address("pa") != own || !strings.Contains(d.stderr.String(), "its namespace is gone") {
		t.Errorf("the parent has %s, not %s; log:\n%s", ns.address("pa"), own, d.stderr.String())
	}
	d.end(t, syscall.SIGTERM)
	mustRun(t, "ip", "netns", "add", guest)
}

// TestStateRefused: a document of a newer version is not touched.
func TestStateRefused(t *testing.T) {
	ns := newIPNamespace(t)
	dir := t.TempDir()
	state := filepath.Join(dir, "state.json")
	mustWrite(t, state, "{\"version\": 99}")
	_, stderr, code := ns.do(t, "--socket", filepath.Join(dir, "s"), "daemon", "--state", state)
	if code != 1 || !strings.Contains(stderr, "written by a newer umacvlan") {
		t.Errorf("%d %q", code, stderr)
	}
}

// notifySocket is what a service manager listens at.
type notifySocket struct {
	t    *testing.T
	path string
	conn *net.UnixConn
}

func newNotifySocket(t *testing.T) *notifySocket {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &notifySocket{t, path, c}
}

// expect waits for a message that begins so.
func (n *notifySocket) expect(prefix string) string {
	n.t.Helper()
	buf := make([]byte, 1000)
	n.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		k, err := n.conn.Read(buf)
		if err != nil {
			n.t.Fatalf("no %s: %v", prefix, err)
		}
		if s := string(buf[:k]); strings.HasPrefix(s, prefix) {
			return s
		}
	}
}

// TestServiceManager: the socket is passed, readiness, reloads, pings and the end
// are told.
func TestServiceManager(t *testing.T) {
	ns := newIPNamespace(t)
	if _, err := os.Stat(tunDevice); err != nil {
		skipOrFail(t, err.Error())
	}
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "passed")
	mustWrite(t, file, "parents: [{name: vb, vmacs: [{name: v0}]}]\n")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	passed, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer passed.Close()
	n := newNotifySocket(t)

	// LISTEN_PID is the daemon's: sh sets it and becomes the daemon.
	self, _ := os.Executable()
	cmd := exec.Command("ip", "netns", "exec", string(ns), "sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", self, "daemon", "--config", file)
	cmd.Env = append(os.Environ(), asCommand+"=1", "UMACVLAN_SOCKET=", "GORACE=atexit_sleep_ms=0",
		"NOTIFY_SOCKET="+n.path, "LISTEN_FDS=1", "WATCHDOG_USEC=300000", "STATE_DIRECTORY="+filepath.Join(dir, "state"))
	cmd.ExtraFiles = []*os.File{passed}
	var log lockedBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { cmd.Process.Kill(); <-ended }()

	n.expect("READY=1")
	if !ns.has("v0") {
		t.Error("ready before the configuration was applied")
	}
	for range 3 {
		n.expect("WATCHDOG=1") // nothing moves, and all is well
	}
	out := ns.mustDo(t, "--socket", socket, "-j", "status")
	var st control.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil || st.Socket != socket || st.State == nil || st.State.File != filepath.Join(dir, "state", "state.json") {
		t.Errorf("%v %s", err, out)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	var usec int64
	if s := n.expect("RELOADING=1"); !strings.Contains(s, "\nMONOTONIC_USEC=") {
		t.Errorf("%q", s)
	} else if _, err := fmt.Sscanf(s, "RELOADING=1\nMONOTONIC_USEC=%d", &usec); err != nil || usec == 0 {
		t.Errorf("%q %v", s, err)
	}
	n.expect("READY=1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.expect("STOPPING=1")
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	ended <- nil
	if _, err := os.Stat(socket); err != nil {
		t.Error("the service manager's socket was removed")
	}
}

// TestUnits: systemd finds nothing wrong with them, and thinks them tight.
func TestUnits(t *testing.T) {
	stdout, stderr, code := runLine(t, "", "units")
	if code != 0 || stderr != "" || strings.Join(strings.Fields(stdout), " ") != "umacvlan.openrc umacvlan.service umacvlan.socket" {
		t.Fatalf("%d %q %q", code, stdout, stderr)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(stdout) {
		text, _, code := runLine(t, "", "units "+name)
		if code != 0 || strings.Contains(text, unitBinary) || !strings.Contains(text, self) && !strings.HasSuffix(name, ".socket") {
			t.Errorf("%s: %d\n%s", name, code, text)
		}
		mustWrite(t, filepath.Join(dir, name), text)
	}
	if _, _, code := runLine(t, "", "units other"); code != 1 {
		t.Errorf("a file that isn't there: %d", code)
	}
	if out, err := exec.Command("sh", "-n", filepath.Join(dir, "umacvlan.openrc")).CombinedOutput(); err != nil {
		t.Errorf("umacvlan.openrc: %v %s", err, out)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		skipOrFail(t, "systemd-analyze is not installed (Debian: systemd)")
	}
	service, socket := filepath.Join(dir, "umacvlan.service"), filepath.Join(dir, "umacvlan.socket")
	out, err := exec.Command(analyze, "verify", "--man=no", service, socket).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "umacvlan") { // what it finds in the machine's own units isn't ours
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	if err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// It has capabilities that weigh much, so 0 is out of reach.
	out, err = exec.Command(analyze, "security", "--offline=true", "--threshold=35", service).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && strings.Contains(string(out), "unrecognized option") {
		skipOrFail(t, "this systemd-analyze can't judge a file")
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// TestUnitCapabilities: with what the unit leaves it the daemon serves other
// namespaces, and takes frames from the host's stack as it does with all.
func TestUnitCapabilities(t *testing.T) {
	ns := newIPNamespace(t)
	if _, err := os.Stat(tunDevice); err != nil {
		skipOrFail(t, err.Error())
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		skipOrFail(t, "setpriv is not installed (Debian: util-linux)")
	}
	unit, err := unitFiles.ReadFile("units/umacvlan.service")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(unit), "\nCapabilityBoundingSet=")
	line, _, _ := strings.Cut(rest, "\n")
	set := "-all"
	for name := range strings.FieldsSeq(line) {
		set += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	guest := string(ns) + "g"
	mustRun(t, "ip", "netns", "add", guest)
	t.Cleanup(func() { mustRun(t, "ip", "netns", "del", guest) })
	steal := func(privileges ...string) string {
		socket := filepath.Join(t.TempDir(), "s")
		cmd := ns.command(t, "--socket", socket, "daemon")
		cmd.Args = append(cmd.Args[:4:4], append(privileges, cmd.Args[4:]...)...)
		var log lockedBuffer
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() }()
		within(t, func() bool { return strings.Contains(log.String(), "msg=ready") }, "ready")
		ns.mustDo(t, "--socket", socket, "link", "add", "link", "vb", "name", "v0", "netns", guest, "up", "type", "macvlan")
		out := ns.mustDo(t, "--socket", socket, "-j", "status")
		var st control.Status
		if err := json.Unmarshal([]byte(out), &st); err != nil || st.Vmacs != 1 {
			t.Errorf("%v %s", err, out)
		}
		return fmt.Sprint(st.Steal)
	}
	all := steal()
	if got := steal(setpriv, "--bounding-set="+set, "--inh-caps=-all"); got != all {
		t.Errorf("with %s: %s, with all capabilities: %s", line, got, all)
	}
}

// TestCapabilities: what run and daemon ask for is all that they need.
func TestCapabilities(t *testing.T) {
	ns := newIPNamespace(t)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		skipOrFail(t, "setpriv is not installed (Debian: util-linux)")
	}
	if _, err := os.Stat(tunDevice); err != nil {
		skipOrFail(t, err.Error())
	}
	set := "-all"
	for _, c := range capabilities {
		set += ",+" + strings.ToLower(strings.TrimPrefix(c.name, "CAP_"))
	}
	cmd := ns.command(t, "run", "--parent", "vb", "v0", "mode", "passthru")
	cmd.Args = append(cmd.Args[:4:4], append([]string{setpriv, "--bounding-set=" + set, "--inh-caps=-all"}, cmd.Args[4:]...)...)
	var log lockedBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	within(t, func() bool { return len(ended) > 0 || strings.Contains(log.String(), "Ctrl-C") }, "it runs")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := <-ended; err != nil {
		t.Errorf("with %s: %v\n%s", set, err, log.String())
	}
}
