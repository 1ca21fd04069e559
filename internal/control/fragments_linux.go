package control

import (
	"sync"
	"time"

	"github.com/umacvlan/umacvlan/dataplane"
)

// fragments keeps what waits for the rest of its datagram, by network namespace.
// As in the kernel all parents in one share it, and it outlives them.
type fragments struct {
	mu sync.Mutex
	in map[uint64]*sharedFragments // by the namespace's inode
}

type sharedFragments struct {
	held  *dataplane.Fragments
	ports int
}

// open returns that of the namespace that the calling thread is in, with the
// limits that are set there now.
func (f *fragments) open(inode uint64) *dataplane.Fragments {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.in[inode]
	if s == nil {
		s = &sharedFragments{held: dataplane.NewFragments()}
		if f.in == nil {
			f.in = map[uint64]*sharedFragments{}
		}
		f.in[inode] = s
	}
	s.ports++
	s.held.ReadLimits()
	return s.held
}

// close says that a parent no longer needs it.
func (f *fragments) close(inode uint64) {
	f.mu.Lock()
	f.in[inode].ports--
	f.mu.Unlock()
	f.prune()
}

// prune forgets what no parent needs and holds nothing, at once or later.
func (f *fragments) prune() {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := false
	for inode, s := range f.in {
		if s.ports > 0 {
			continue
		}
		if s.held.Expire() {
			delete(f.in, inode)
		} else {
			waiting = true
		}
	}
	if waiting {
		time.AfterFunc(time.Minute, f.prune)
	}
}
