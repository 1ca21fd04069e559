package control_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// A name may be given to another namespace; the old one has none then.
func TestNameGivenAnew(t *testing.T) {
	lab.Need(t, lab.NeedNS)
	const name = "umac-names-test"
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "delete", name).Run() })
	var c control.NameCache
	var before uint64
	for range 3 {
		ip("netns", "add", name)
		st, err := os.Stat("/run/netns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		inode := st.Sys().(*syscall.Stat_t).Ino
		if got := c.Of(inode); got != name {
			t.Errorf("the namespace with inode %d is called %q, want %s", inode, got, name)
		}
		if before != 0 && before != inode && c.Of(before) != "" {
			t.Errorf("the deleted one is still called %q", c.Of(before))
		}
		before = inode
		ip("netns", "delete", name)
	}
}
