package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// bin is a directory with the command in it, which comes first in $PATH of what
// runs here; see build.
var bin string

// TestMain fails when something of the tests is left in the process.
func TestMain(m *testing.M) {
	before := lab.Measure()
	code := m.Run()
	if bin != "" {
		os.RemoveAll(bin)
	}
	if err := before.Leaked(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// build makes the command once, as users do.
var build = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "umacvlan-programs-")
	if err != nil {
		return err
	}
	bin = dir
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "umacvlan"), "../../cmd/umacvlan")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return nil
})

// need skips a test without the programs, each with the Debian package that has
// it ("udhcpc:udhcpc"). With CI=true nothing may be missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	for _, p := range append(programs, "go:golang", "ip:iproute2", "sysctl:procps") {
		name, deb := split(p)
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs %s (and CI=true allows no skip): apt-get install %s", name, deb)
		}
		t.Skipf("needs %s: apt-get install %s", name, deb)
	}
}
