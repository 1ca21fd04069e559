package control

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
)

// Namespace is an open handle on a network namespace. The zero value is none.
// It may be copied; Close closes all copies.
type Namespace struct {
	file  *os.File
	inode uint64
}

// CurrentNamespace opens the calling thread's network namespace.
func CurrentNamespace() (Namespace, error) { return openOwn("/proc/thread-self/ns/net") }

// openOwn opens what is a network namespace for certain.
func openOwn(path string) (Namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return Namespace{}, fmt.Errorf("open own namespace: %w", err)
	}
	return namespaceOf(f)
}

// OpenNamespace opens a network namespace by the path of its file, such as
// /run/netns/NAME or /proc/PID/ns/net. What is no namespace is not opened, and
// the error is EINVAL: to open a FIFO is to wait for its other end.
func OpenNamespace(path string) (Namespace, error) {
	fail := func(err error) (Namespace, error) {
		return Namespace{}, &os.PathError{Op: "open namespace", Path: path, Err: err}
	}
	at, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(at)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(at, &fs); err != nil {
		return fail(err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return fail(errNoNamespace)
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", at), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	if err := checkNetns(fd); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	return namespaceOf(os.NewFile(uintptr(fd), path))
}

var errNoNamespace = fmt.Errorf("not a network namespace: %w", unix.EINVAL)

// namespaceOf takes over f, which is a network namespace, whatever it returns.
func namespaceOf(f *os.File) (Namespace, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return Namespace{}, fmt.Errorf("stat namespace %s: %w", f.Name(), err)
	}
	return Namespace{file: f, inode: st.Ino}, nil
}

// checkNetns asks what fd is, or, on kernels that don't tell, enters it.
func checkNetns(fd int) error {
	if !feature.Off(feature.NSType) {
		kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
		if err != unix.ENOTTY {
			feature.Note(feature.NSType, err)
			if err == nil && kind != unix.CLONE_NEWNET {
				err = errNoNamespace
			}
			return err
		}
		feature.Note(feature.NSType, feature.ErrOld)
	}
	err := onThread(func() error { return unix.Setns(fd, unix.CLONE_NEWNET) })
	if err == unix.EINVAL {
		err = errNoNamespace
	}
	return err
}

// Inode is the namespace's inode number, which names it on this machine for as
// long as it lives.
func (n Namespace) Inode() uint64 { return n.inode }

// FD is the descriptor, valid until Close.
func (n Namespace) FD() int { return int(n.file.Fd()) }

// Close closes the handle, not the namespace.
func (n Namespace) Close() error {
	if n.file == nil {
		return nil
	}
	return n.file.Close()
}

// clone opens the same namespace once more, for a holder that outlives n's.
func (n Namespace) clone() (Namespace, error) {
	fd, err := unix.FcntlInt(n.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return Namespace{}, fmt.Errorf("dup namespace: %w", err)
	}
	return Namespace{file: os.NewFile(uintptr(fd), n.file.Name()), inode: n.inode}, nil
}

// Do runs fn on a thread that is in the namespace.
func (n Namespace) Do(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return fn()
	})
}

// newNamespace makes a namespace that has no name and no process.
func newNamespace() (n Namespace, err error) {
	err = onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make namespace: %w", err)
		}
		n, err = CurrentNamespace()
		return err
	})
	return n, err
}

// onThread runs fn on a thread that may leave its namespace: it is brought back,
// or not given back to the runtime. It is never the process's first thread,
// whose namespace other processes take for the process's.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		// The caller's own thread will do if it may come back: no other has to be
		// woken.
		if own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			defer unix.Close(own)
			if unix.Setns(own, unix.CLONE_NEWNET) == nil {
				err := fn()
				if unix.Setns(own, unix.CLONE_NEWNET) == nil {
					runtime.UnlockOSThread()
				}
				return err
			}
		}
	}
	done := make(chan error, 1)
	go func() { // on another thread, as the caller keeps its own
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(fn)
			runtime.UnlockOSThread()
			return
		}
		own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own namespace: %w", err)
			return
		}
		defer unix.Close(own)
		err = fn()
		// A goroutine that ends locked takes its thread with it.
		if unix.Setns(own, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	err := <-done
	runtime.UnlockOSThread()
	return err
}

// name is the namespace's name under /run/netns, or "" if it has none.
func (n Namespace) name() string { return names.of(n.inode) }

// String is the namespace's name, or net:[inode].
func (n Namespace) String() string {
	if s := n.name(); s != "" {
		return s
	}
	return fmt.Sprintf("net:[%d]", n.inode)
}
