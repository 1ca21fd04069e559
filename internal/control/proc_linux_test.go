package control_test

import (
	"os/exec"
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// sleepIn starts a process in ns that lives until the test ends.
func sleepIn(t *testing.T, ns *lab.NS) int {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd.Process.Pid
}
