package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideEnv marks a process that Reexec started.
const insideEnv = "UMACVLAN_LAB_INSIDE"

// howToGetNamespaces follows an error that kept a process from making its own.
const howToGetNamespaces = "run as root, or have root allow it: sysctl -w user.max_user_namespaces=1000 kernel.unprivileged_userns_clone=1 " +
	"kernel.apparmor_restrict_unprivileged_userns=0, as far as they exist (in a container: --cap-add SYS_ADMIN --cap-add NET_ADMIN)"

// Inside reports whether this process was started by Reexec.
func Inside() bool { return os.Getenv(insideEnv) != "" }

// Reexec runs this program again, with the same standard files and the given
// arguments, in a network namespace of its own, and returns its exit code. A
// user without privileges also gets a user namespace in which they are root.
// Signals are passed on, and the process dies with this one. Nothing that it
// makes in its namespaces outlives it.
func Reexec(args ...string) (code int, err error) {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	user := !privileged()
	if user {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}

	// The death signal is sent when the thread that started the process ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		if user {
			return 0, fmt.Errorf("new user and network namespace: %w: %s", cause(err), howToGetNamespaces)
		}
		return 0, fmt.Errorf("new network namespace: %w", cause(err))
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s)
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			return 128 + int(s.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}

// cause drops the path of /proc/self/exe, which helps nobody.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// privileged reports whether this process may make network namespaces here.
func privileged() bool {
	var data [2]unix.CapUserData
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if unix.Capget(&hdr, &data[0]) != nil {
		return os.Geteuid() == 0
	}
	const need = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
	return data[0].Effective&need == need
}
