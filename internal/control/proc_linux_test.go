package control_test

import (
	"bytes"
	"os"
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

// runSelf runs one test of this program in ns.
func runSelf(t *testing.T, ns *lab.NS, test string, env ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := ns.Do(cmd.Start); err != nil {
		return nil, err
	}
	err := cmd.Wait()
	return out.Bytes(), err
}
