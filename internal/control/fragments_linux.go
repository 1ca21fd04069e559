package control

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/dataplane"
)

// fragments keeps what waits for the rest of its datagram, by network namespace.
// As in the kernel all parents in one share it, and it outlives them.
type fragments struct {
	mu sync.Mutex
	in map[fragmentsOf]*sharedFragments
}

// fragmentsOf is a namespace. Its inode is another's once it has gone; its cookie
// never is, but older kernels (before 5.14) have none.
type fragmentsOf struct{ inode, cookie uint64 }

// hereFragments is the namespace of the calling thread.
func hereFragments(inode uint64) fragmentsOf {
	of := fragmentsOf{inode: inode}
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
		of.cookie, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		unix.Close(fd)
	}
	return of
}

type sharedFragments struct {
	held  *dataplane.Fragments
	ports int
}

// open returns that of the namespace that the calling thread is in, with the
// limits that are set there now.
func (f *fragments) open(inode uint64) (*dataplane.Fragments, fragmentsOf) {
	of := hereFragments(inode)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.in[of]
	if s == nil {
		s = &sharedFragments{held: dataplane.NewFragments()}
		if f.in == nil {
			f.in = map[fragmentsOf]*sharedFragments{}
		}
		f.in[of] = s
	}
	s.ports++
	s.held.ReadLimits()
	return s.held, of
}

// close says that a parent no longer needs it.
func (f *fragments) close(of fragmentsOf) {
	f.mu.Lock()
	f.in[of].ports--
	f.mu.Unlock()
	f.prune()
}

// prune forgets what no parent needs and holds nothing, at once or later.
func (f *fragments) prune() {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := false
	for of, s := range f.in {
		if s.ports > 0 {
			continue
		}
		if s.held.Expire() {
			delete(f.in, of)
		} else {
			waiting = true
		}
	}
	if waiting {
		time.AfterFunc(time.Minute, f.prune)
	}
}
