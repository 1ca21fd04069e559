package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// ipNamespace is a network namespace of the test's own with a veth pair va, vb.
type ipNamespace string

var namespaces atomic.Int32 // that were made, for names

func newIPNamespace(t *testing.T) ipNamespace {
	t.Helper()
	if os.Getuid() != 0 {
		skipOrFail(t, "root is needed to make a network namespace")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		skipOrFail(t, "iproute2 is not installed")
	}
	ns := ipNamespace(fmt.Sprintf("ucli%d-%d", os.Getpid(), namespaces.Add(1)))
	mustRun(t, "ip", "netns", "add", string(ns))
	t.Cleanup(func() { mustRun(t, "ip", "netns", "del", string(ns)) })
	mustRun(t, "ip", "-n", string(ns), "link", "add", "va", "type", "veth", "peer", "name", "vb")
	return ns
}

// addKernelMacvlan makes mv0, a macvlan of the kernel's, on va.
func (ns ipNamespace) addKernelMacvlan(t *testing.T) {
	t.Helper()
	if _, stderr, code := ns.ip("link", "add", "link", "va", "name", "mv0", "type", "macvlan", "mode", "bridge"); code != 0 {
		skipOrFail(t, "this kernel has no macvlan to compare with: "+stderr)
	}
}

// skipOrFail skips, but not where everything must run.
func skipOrFail(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// ip runs the real ip in the namespace.
func (ns ipNamespace) ip(args ...string) (stdout, stderr string, code int) {
	return ns.run("ip", args...)
}

// run runs any command in the namespace.
func (ns ipNamespace) run(name string, args ...string) (stdout, stderr string, code int) {
	return run("ip", append([]string{"netns", "exec", string(ns), name}, args...)...)
}

func run(name string, args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command(name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		code = -1
	}
	return out.String(), errs.String(), code
}

// TestLocalErrorsAreThoseOfIP puts the table of local errors to ip itself.
func TestLocalErrorsAreThoseOfIP(t *testing.T) {
	ns := newIPNamespace(t)
	ns.addKernelMacvlan(t)
	for _, tt := range localErrors {
		if tt.ours {
			continue
		}
		_, stderr, code := ns.ip(append([]string{"link"}, fields(tt.line)...)...)
		// The command that is recommended is the only word that differs.
		want := strings.ReplaceAll(tt.text, "umacvlan link help", "ip link help")
		if code != tt.code || aboveUsage(stderr) != want {
			t.Errorf("ip link %s:\n%d %q, and we\n%d %q", tt.line, code, aboveUsage(stderr), tt.code, want)
		}
	}
}
