package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// NS is a network namespace. It lives as long as its descriptor (or anything
// inside, such as a socket) does and never has a name under /run/netns, so a
// crash leaves nothing behind. Any number of goroutines may use one.
type NS struct {
	f     *os.File
	inode uint64
}

// open counts the namespaces that NewNS made and Close has not yet given up.
var open atomic.Int64

// NewNS makes an empty network namespace with its loopback device down. It
// needs CAP_SYS_ADMIN in the current user namespace.
func NewNS() (*NS, error) {
	runtime.LockOSThread()
	home, err := Current()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer home.f.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("new network namespace: %w", err)
	}
	n, err := Current()
	// A thread that cannot go home stays locked and dies with its goroutine.
	if e := unix.Setns(int(home.f.Fd()), unix.CLONE_NEWNET); e != nil {
		return nil, errors.Join(err, fmt.Errorf("return to network namespace: %w", e))
	}
	runtime.UnlockOSThread()
	if err == nil {
		open.Add(1)
	}
	return n, err
}

// Current returns the calling thread's network namespace.
func Current() (*NS, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, err
	}
	return &NS{f: f, inode: st.Ino}, nil
}

// Do runs fn with the calling goroutine's thread inside the namespace. What fn
// opens (sockets, processes, netlink handles) stays there. Goroutines that fn
// starts do not.
func (n *NS) Do(fn func() error) (err error) {
	runtime.LockOSThread()
	home, err := Current()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	if err := unix.Setns(int(n.f.Fd()), unix.CLONE_NEWNET); err != nil {
		home.f.Close()
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer func() {
		e := unix.Setns(int(home.f.Fd()), unix.CLONE_NEWNET)
		home.f.Close()
		if e != nil {
			err = errors.Join(err, fmt.Errorf("return to network namespace: %w", e))
			return
		}
		runtime.UnlockOSThread()
	}()
	return fn()
}

// FD is the namespace's descriptor, valid until Close.
func (n *NS) FD() int { return int(n.f.Fd()) }

// Inode identifies the namespace on this machine.
func (n *NS) Inode() uint64 { return n.inode }

// Path names the namespace for any process that may look at this one's
// descriptors. It is valid until Close.
func (n *NS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.f.Fd()) }

// Close gives the namespace up. The kernel deletes it, and every device in it,
// when nothing else holds it.
func (n *NS) Close() error {
	err := n.f.Close()
	if err == nil {
		open.Add(-1)
	}
	return err
}
