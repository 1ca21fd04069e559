package control

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// namedNamespaces is where iproute2 keeps its names.
const namedNamespaces = "/run/netns"

// names remembers what is in namedNamespaces: to look for one name is to ask for
// the inode of every file, and each answer shows a name.
var names nameCache

type nameCache struct {
	mu      sync.Mutex
	dir     unix.Stat_t
	settled bool          // unless the directory changes, there is nothing to add
	asked   unix.Timespec // when the directory had last changed as every name was asked for
	byName  map[string]uint64
	byInode map[uint64]string
}

// of returns the name of the namespace with that inode, or "".
func (c *nameCache) of(inode uint64) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name, ok := c.byInode[inode]; ok {
		if c.is(name, inode) {
			return name
		}
		c.forget(name)
		c.settled = false
	}
	var dir unix.Stat_t
	if unix.Stat(namedNamespaces, &dir) != nil {
		return ""
	}
	if !c.settled || dir.Dev != c.dir.Dev || dir.Ino != c.dir.Ino || dir.Mtim != c.dir.Mtim {
		c.read(dir)
	}
	name, ok := c.byInode[inode]
	if !ok && (!c.settled || c.asked != dir.Mtim) {
		// A name that is known may have been given to another namespace.
		c.byName = nil
		c.read(dir)
		c.asked = dir.Mtim
		name = c.byInode[inode]
	}
	return name
}

func (c *nameCache) is(name string, inode uint64) bool {
	var st unix.Stat_t
	return unix.Stat(filepath.Join(namedNamespaces, name), &st) == nil && st.Ino == inode
}

func (c *nameCache) forget(name string) {
	delete(c.byInode, c.byName[name])
	delete(c.byName, name)
}

// read asks what it doesn't know yet. A file that is no namespace may become
// one, as iproute2 makes it first and then mounts upon it; and a directory that
// has just changed may change again without a later time.
func (c *nameCache) read(dir unix.Stat_t) {
	var nsfs unix.Stat_t
	unix.Stat("/proc/self/ns/net", &nsfs)
	entries, err := os.ReadDir(namedNamespaces)
	if err != nil {
		return
	}
	old := c.byName
	c.byName, c.byInode = make(map[string]uint64, len(entries)), make(map[uint64]string, len(entries))
	c.dir = dir
	c.settled = time.Since(time.Unix(dir.Mtim.Unix())) > time.Second
	for _, e := range entries {
		inode, known := old[e.Name()]
		if !known {
			var st unix.Stat_t
			if unix.Stat(filepath.Join(namedNamespaces, e.Name()), &st) != nil || st.Dev != nsfs.Dev {
				c.settled = false
				continue
			}
			inode = st.Ino
		}
		c.byName[e.Name()], c.byInode[inode] = inode, e.Name()
	}
}
