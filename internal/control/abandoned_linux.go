package control

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// letGo gives up namespaces that nobody but this process keeps alive, and the
// parents and vmacs in them. When the last name, process and descriptor of a
// namespace go, the kernel takes the devices in it away, but not while a packet
// socket is bound to one of them, or a TAP's descriptor was opened there: ours.
// So every now and then, and when a name goes, it is asked who else there is;
// twice, because a namespace may be on its way from one keeper to the next.
func (e *Engine) letGo(ctx context.Context) {
	own, err := CurrentNamespace()
	if err != nil {
		return
	}
	own.Close()
	unnamed := newNameWatch()
	defer unnamed.close()
	timer := time.NewTimer(e.abandonedEvery)
	defer timer.Stop()
	var suspect map[uint64]bool
	kept := keepers{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-unnamed.gone:
		}
		unnamed.start()
		alone := kept.abandoned(e.keeps(own.inode))
		next := e.abandonedEvery
		for inode := range alone {
			if suspect[inode] {
				e.abandon(inode)
			} else {
				next = min(next, askAgain)
			}
		}
		suspect = alone
		timer.Reset(next)
	}
}

// askAgain is how long a namespace may be on its way to its next keeper.
const askAgain = 50 * time.Millisecond

// keeps lists the namespaces that this process keeps alive.
func (e *Engine) keeps(own uint64) map[uint64]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	of := map[uint64]bool{}
	for _, p := range e.ports {
		of[p.ns.inode] = true
	}
	for _, d := range e.devices {
		if d.born == d.at.netns {
			of[d.born] = true
		}
	}
	delete(of, own)
	return of
}

// abandon ends the ports in a namespace, and the vmacs that were made in it.
func (e *Engine) abandon(inode uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, p := range e.ports {
		if p.ns.inode == inode && !e.closing {
			e.log.Info("the parent's namespace was deleted; its vmacs go", "parent", p.name)
			e.apply(rules.ParentGone{Parent: id})
		}
	}
	for _, d := range e.devices {
		if d.born == inode && d.at.netns == inode && !e.closing {
			e.log.Info("the namespace was deleted; its vmac goes", "vmac", d.name)
			e.awaitNamespace(d)
			e.apply(rules.DelLink{Vmac: d.id})
		}
	}
}

// nameWatch says when a name of a namespace goes.
type nameWatch struct {
	file *os.File      // an inotify, nil if there can be none
	gone chan struct{} // holds one
	wg   sync.WaitGroup
}

func newNameWatch() *nameWatch {
	w := &nameWatch{gone: make(chan struct{}, 1)}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w
	}
	w.file = os.NewFile(uintptr(fd), "inotify")
	w.start()
	w.wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			if _, err := w.file.Read(buf); err != nil {
				return // closed
			}
			select {
			case w.gone <- struct{}{}:
			default:
			}
		}
	})
	return w
}

// start has the directory watched, as soon as it is there.
func (w *nameWatch) start() {
	if w.file == nil {
		return
	}
	if rc, err := w.file.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) {
			unix.InotifyAddWatch(int(fd), namedNamespaces, unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_ONLYDIR)
		})
	}
}

func (w *nameWatch) close() {
	if w.file != nil {
		w.file.Close()
	}
	w.wg.Wait()
}

// keepers are the files in which namespaces were last seen to be kept, by inode:
// they are asked first, as to ask all of /proc costs milliseconds.
type keepers map[uint64]string

// abandoned returns those of the namespaces that have no name, no process and,
// outside this process, no descriptor. The last two questions cost more and are
// only asked of what the first leaves.
func (k keepers) abandoned(of map[uint64]bool) map[uint64]bool {
	alone := map[uint64]bool{}
	for inode := range of {
		if !keeps(k[inode], inode) {
			alone[inode] = true
			delete(k, inode)
		}
	}
	if len(alone) == 0 {
		return alone
	}
	for inode := range k {
		if !of[inode] {
			delete(k, inode)
		}
	}
	found := func(inode uint64, file string) {
		if alone[inode] {
			delete(alone, inode)
			k[inode] = file
		}
	}
	for _, path := range namespaceFiles() {
		found(inodeAt(path), path)
		if len(alone) == 0 {
			return alone
		}
	}
	self := fmt.Sprint(os.Getpid())
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		return nil // without /proc nothing can be said
	}
	for _, dir := range processes {
		mounts := dir + mountInfo
		for _, inode := range mounted(mounts) {
			found(inode, mounts)
		}
		if filepath.Base(dir) == self {
			continue
		}
		for _, pattern := range []string{"/fd/*", "/task/*/ns/net"} {
			links, _ := filepath.Glob(dir + pattern)
			for _, l := range links {
				if to, err := os.Readlink(l); err == nil {
					found(netInode(to), l)
				}
			}
		}
		if len(alone) == 0 {
			break
		}
	}
	return alone
}

const mountInfo = "/mountinfo"

// keeps says that a file still shows a namespace.
func keeps(file string, inode uint64) bool {
	switch {
	case file == "":
		return false
	case strings.HasSuffix(file, mountInfo):
		return slices.Contains(mounted(file), inode)
	case strings.HasPrefix(file, "/proc/"): // a descriptor may have become another's
		to, err := os.Readlink(file)
		return err == nil && netInode(to) == inode
	}
	return inodeAt(file) == inode
}

// mounted lists what is mounted somewhere, which is how names are kept.
func mounted(mountinfo string) (inodes []uint64) {
	text, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil
	}
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		if fields := bytes.Fields(sc.Bytes()); len(fields) > 3 {
			if inode := netInode(string(fields[3])); inode != 0 {
				inodes = append(inodes, inode)
			}
		}
	}
	return inodes
}

// netInode is the number in "net:[number]", 0 if link is something else.
func netInode(link string) (inode uint64) {
	rest, ok := strings.CutPrefix(link, "net:[")
	if !ok {
		return 0
	}
	inode, _ = strconv.ParseUint(strings.TrimSuffix(rest, "]"), 10, 64)
	return inode
}
