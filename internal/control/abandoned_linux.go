package control

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// letGo gives up parents whose namespace nobody but this process keeps alive.
// When the last name, process and descriptor of a namespace go, the kernel takes
// the devices in it away, but not while a packet socket is bound to one of them:
// ours. So every now and then it is asked who else there is; twice, because a
// namespace may be on its way from one keeper to the next.
func (e *Engine) letGo(ctx context.Context) {
	own, err := CurrentNamespace()
	if err != nil {
		return
	}
	own.Close()
	tick := time.NewTicker(e.abandonedEvery)
	defer tick.Stop()
	var suspect map[uint64]bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		of := map[uint64]bool{}
		e.mu.Lock()
		for _, p := range e.ports {
			if p.ns.inode != own.inode {
				of[p.ns.inode] = true
			}
		}
		e.mu.Unlock()
		alone := abandoned(of)
		for inode := range alone {
			if suspect[inode] {
				e.abandon(inode)
			}
		}
		suspect = alone
	}
}

// abandon ends the ports in a namespace.
func (e *Engine) abandon(inode uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, p := range e.ports {
		if p.ns.inode == inode && !e.closing {
			e.log.Info("the parent's namespace was deleted; its vmacs go", "parent", p.name)
			e.apply(rules.ParentGone{Parent: id})
		}
	}
}

// abandoned returns those of the namespaces that have no name, no process and,
// outside this process, no descriptor. The last two questions cost more and are
// only asked of what the first leaves.
func abandoned(of map[uint64]bool) map[uint64]bool {
	alone := map[uint64]bool{}
	for inode := range of {
		alone[inode] = true
	}
	if len(alone) == 0 {
		return alone
	}
	for _, path := range namespaceFiles() {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil {
			delete(alone, st.Ino)
		}
	}
	if len(alone) == 0 {
		return alone
	}
	self := fmt.Sprint(os.Getpid())
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		return nil // without /proc nothing can be said
	}
	for _, dir := range processes {
		keptByMount(dir+"/mountinfo", alone)
		if filepath.Base(dir) == self {
			continue
		}
		for _, pattern := range []string{"/fd/*", "/task/*/ns/net"} {
			links, _ := filepath.Glob(dir + pattern)
			for _, l := range links {
				if to, err := os.Readlink(l); err == nil {
					delete(alone, netInode(to))
				}
			}
		}
		if len(alone) == 0 {
			break
		}
	}
	return alone
}

// keptByMount takes out what is mounted somewhere, which is how names are kept.
func keptByMount(mountinfo string, alone map[uint64]bool) {
	text, err := os.ReadFile(mountinfo)
	if err != nil {
		return
	}
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		if fields := bytes.Fields(sc.Bytes()); len(fields) > 3 {
			delete(alone, netInode(string(fields[3])))
		}
	}
}

// netInode is the number in "net:[number]", 0 if link is something else.
func netInode(link string) (inode uint64) {
	fmt.Sscanf(link, "net:[%d]", &inode)
	return inode
}
