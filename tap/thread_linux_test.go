package tap

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// inNS runs f on a thread in that network namespace. The thread is not used
// again, so it isn't the process's first one, which can't end.
func inNS(ns int, f func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- inNS(ns, f)
			runtime.UnlockOSThread()
			return
		}
		err := unix.Setns(ns, unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

// withoutTun runs f on a thread that does not see /dev/net. The thread ends with
// the goroutine.
func withoutTun(f func() error) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("none", "/dev/net", "tmpfs", 0, ""); err != nil {
		return err
	}
	return f()
}

// withoutCaps runs f on a thread that has given up its capabilities. The thread
// ends with the goroutine.
func withoutCaps(f func() error) error {
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return err
	}
	return f()
}
