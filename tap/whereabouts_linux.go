package tap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
)

// openNetns opens the namespace that the device is in.
func (d *Device) openNetns() (int, error) {
	if !feature.Off(feature.DevNetns) {
		fd, err := unix.IoctlRetInt(d.FD(), unix.TUNGETDEVNETNS)
		if err != unix.EINVAL {
			feature.Note(feature.DevNetns, err)
			return fd, err
		}
		feature.Note(feature.DevNetns, feature.ErrOld)
	}
	return d.search()
}

// errHidden says that the device is there, but in no namespace that was found.
// It is none of the errors that mean that a device is gone.
var errHidden = fmt.Errorf("in a namespace that has no name and no process: %w", unix.ESTALE)

// search looks for the device in every namespace that can be found, first where
// it was the last time. Two TAPs in different namespaces that have the same name
// and the same address are not told apart.
func (d *Device) search() (int, error) {
	// Both ask the queue, so they work wherever the device is.
	name, err := d.ifname()
	if err != nil {
		return -1, err
	}
	mac, err := d.hwAddr()
	if err != nil {
		return -1, err
	}
	looked := map[uint64]bool{}
	look := func(path string) (int, error) {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || looked[st.Ino] {
			return -1, errHidden
		}
		looked[st.Ino] = true
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return -1, errHidden
		}
		if !isIn(fd, name, mac) {
			unix.Close(fd)
			return -1, errHidden
		}
		d.found.Store(&path)
		return fd, nil
	}
	if path := d.found.Load(); path != nil {
		if fd, err := look(*path); err == nil {
			return fd, nil
		}
	}
	for _, list := range []func() []string{own, named, ofProcesses, ofDescriptors} {
		for _, path := range list() {
			if fd, err := look(path); err == nil {
				return fd, nil
			}
		}
	}
	// It may have been deleted meanwhile.
	if _, err := d.ifname(); err != nil {
		return -1, err
	}
	return -1, errHidden
}

// isIn reports whether there is such a TAP in ns.
func isIn(ns int, name string, mac [6]byte) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(ns, &fs) != nil || fs.Type != unix.NSFS_MAGIC {
		return false
	}
	r, err := openRouteIn(ns)
	if err != nil {
		return false
	}
	defer r.close()
	info, err := unix.IoctlGetEthtoolDrvinfo(r.fd, name)
	if err != nil || unix.ByteSliceToString(info.Driver[:]) != "tun" {
		return false
	}
	req := hwReq{}
	copy(req.name[:], name)
	return ioctlHW(r.fd, unix.SIOCGIFHWADDR, &req) == nil && req.addr == mac
}

// own lists the thread's namespace and those that this process holds open.
func own() []string {
	return append([]string{threadNetns()}, open("/proc/self")...)
}

func named() []string { return glob("/run/netns/*") }

func ofProcesses() []string { return glob("/proc/[0-9]*/ns/net") }

func ofDescriptors() (paths []string) {
	for _, process := range glob("/proc/[0-9]*") {
		paths = append(paths, glob(process+"/task/*/ns/net")...)
		paths = append(paths, open(process)...)
	}
	return paths
}

// open lists the namespaces without a name that a process holds open.
func open(process string) (paths []string) {
	for _, path := range glob(process + "/fd/*") {
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, "net:[") {
			paths = append(paths, path)
		}
	}
	return paths
}

func glob(pattern string) []string {
	paths, err := filepath.Glob(pattern)
	if errors.Is(err, filepath.ErrBadPattern) {
		panic(err)
	}
	return paths
}
