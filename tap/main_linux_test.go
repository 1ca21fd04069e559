package tap

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// childEnv makes the test binary the process that TestDiesWithProcess kills.
const childEnv = "UMACVLAN_TAP_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		childMain(name)
		return
	}
	before := openFDs()
	code := m.Run()
	if after := openFDs(); code == 0 && len(after) > len(before) {
		fmt.Fprintf(os.Stderr, "descriptors leaked:\nbefore %q\nafter  %q\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// openFDs lists what is open, but for what the Go runtime keeps for itself.
func openFDs() (list []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(target, "anon_inode:[event") && !strings.Contains(target, "/proc/") {
			list = append(list, e.Name()+" -> "+target)
		}
	}
	return list
}

// need skips without root or TAP; where CI is set that is a failure.
func need(t testing.TB) {
	t.Helper()
	err := Probe()
	if err == nil && os.Getuid() != 0 {
		err = fmt.Errorf("not root")
	}
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("cannot run here: %v", err)
	}
	t.Skip(err)
}

// enterNS puts the test into a network namespace of its own.
func enterNS(t testing.TB) netns.NsHandle {
	t.Helper()
	need(t)
	runtime.LockOSThread()
	orig, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Set(orig); err != nil {
			t.Error(err)
		}
		orig.Close()
		ns.Close()
		runtime.UnlockOSThread()
	})
	noIPv6(t)
	return ns
}

// otherNS makes a second namespace and goes back to the one the test is in.
func otherNS(t testing.TB) netns.NsHandle {
	t.Helper()
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	noIPv6(t)
	if err := netns.Set(here); err != nil {
		t.Fatal(err)
	}
	return ns
}

// noIPv6 keeps router solicitations out of the frames that tests count.
func noIPv6(t testing.TB) {
	t.Helper()
	err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

func handle(t testing.TB, ns netns.NsHandle) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func mustCreate(t testing.TB, c Config) *Device {
	t.Helper()
	if c.MAC == [6]byte{} {
		c.MAC = [6]byte{2, 0, 0, 0, 1, 1}
	}
	d, err := Create(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// eventually waits for what the kernel does on its own time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// childMain holds a device until it is killed.
func childMain(name string) {
	d, err := Create(Config{Name: name, MAC: [6]byte{2, 0, 0, 0, 1, 2}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	time.Sleep(time.Minute)
	d.Close()
}

func startChild(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// Started by this thread, so it is born in the test's namespace.
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 200)
	n, _ := out.Read(line)
	if got := strings.TrimSpace(string(line[:n])); got != "ready" {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("child says %q", got)
	}
	return cmd
}
