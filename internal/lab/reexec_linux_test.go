package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reexecChild is what the test's own binary does when it is run again: "outer"
// calls Reexec, "inner" is what that starts.
func reexecChild(args []string) int {
	switch args[0] {
	case "outer":
		code, err := Reexec("reexec-child", "inner", args[1])
		if err != nil {
			fmt.Println(err)
			return 1
		}
		return code
	case "inner":
		ns, err := Current()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(Inside(), os.Geteuid(), ns.Inode(), os.Getpid())
		if args[1] == "sleep" {
			time.Sleep(time.Minute)
		}
		return 7
	}
	return 1
}

func TestReexec(t *testing.T) {
	Need(t, NeedNS)
	home, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer home.f.Close()
	out, err := exec.Command("/proc/self/exe", "reexec-child", "outer", "end").Output()
	if code := exitCode(err); code != 7 {
		t.Errorf("exit code %d, want the child's 7", code)
	}
	f := strings.Fields(string(out))
	if len(f) != 4 || f[0] != "true" || f[1] != "0" {
		t.Fatalf("child said %q", out)
	}
	if f[2] == fmt.Sprint(home.Inode()) {
		t.Error("the child is in our network namespace")
	}
}

// TestReexecEnds ends the outer process in several ways; the inner one must go too.
func TestReexecEnds(t *testing.T) {
	Need(t, NeedNS)
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGKILL} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "reexec-child", "outer", "sleep")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 256)
			n, _ := out.Read(buf)
			f := strings.Fields(string(buf[:n]))
			if len(f) != 4 {
				t.Fatalf("child said %q", buf[:n])
			}
			inner, err := strconv.Atoi(f[3])
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			code := exitCode(cmd.Wait())
			if want := 128 + int(sig); sig != unix.SIGKILL && code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			if err := poll(10*time.Second, func() (bool, error) { return unix.Kill(inner, 0) == unix.ESRCH || zombie(inner), nil }); err != nil {
				t.Errorf("process %d survived: %v", inner, err)
			}
		})
	}
}

// zombie says that a process has ended and waits for somebody to notice.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

func exitCode(err error) int {
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return 0
}
