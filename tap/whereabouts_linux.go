package tap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

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

// settle notes where a new device is, if that will have to be known.
func (d *Device) settle() error {
	ns, err := d.openNetns()
	if err == nil {
		unix.Close(ns)
	}
	return err
}

// errHidden says that the device is there, but in no namespace that was found.
// It is none of the errors that mean that a device is gone.
var errHidden = fmt.Errorf("in a namespace that has no name and no process: %w", unix.ESTALE)

// spots are where this process's devices were seen last: a device that looks
// alike is not taken for another of ours.
var spots = struct {
	sync.Mutex
	who map[spot]*Device
}{who: map[spot]*Device{}}

// take says that d is at s, unless another one of ours is, and that the path
// leads to its namespace.
func (d *Device) take(s spot, path string) bool {
	spots.Lock()
	defer spots.Unlock()
	if other := spots.who[s]; other != nil && other != d {
		// The numbers of a namespace that has ended are given to another.
		if _, err := other.ifname(); err == nil {
			return false
		}
	}
	if spots.who[d.spot] == d {
		delete(spots.who, d.spot)
	}
	if d.FD() >= 0 {
		spots.who[s] = d
		d.spot, d.path = s, path
	}
	return true
}

func (d *Device) forget() {
	spots.Lock()
	defer spots.Unlock()
	if spots.who[d.spot] == d {
		delete(spots.who, d.spot)
	}
}

// search looks for the device in every namespace that can be found, first where
// it was the last time: it is where there is a TAP of its name and address.
// Another process's that has both, in another namespace, is not told from it
// once the device has moved.
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
	look := func(path string) (fd int, ok bool) {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || looked[st.Ino] {
			return -1, false
		}
		looked[st.Ino] = true
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return -1, false
		}
		if index := indexIn(fd, name, mac); index == 0 || !d.take(spot{st.Ino, index}, path) {
			unix.Close(fd)
			return -1, false
		}
		return fd, true
	}
	spots.Lock()
	last := d.path
	spots.Unlock()
	if fd, ok := look(last); ok {
		return fd, nil
	}
	// It may be moved, and descriptors come and go, while they are listed.
	for range 3 {
		for _, list := range []func() []string{own, named, ofProcesses, ofDescriptors} {
			for _, path := range list() {
				if fd, ok := look(path); ok {
					return fd, nil
				}
			}
		}
		// It may have been deleted meanwhile.
		if _, err := d.ifname(); err != nil {
			return -1, err
		}
		clear(looked)
	}
	return -1, errHidden
}

// indexIn returns the index of the TAP that has both in ns, 0 if there is none.
func indexIn(ns int, name string, mac [6]byte) int {
	var fs unix.Statfs_t
	if unix.Fstatfs(ns, &fs) != nil || fs.Type != unix.NSFS_MAGIC {
		return 0
	}
	r, err := openRouteIn(ns)
	if err != nil {
		return 0
	}
	defer r.close()
	info, err := unix.IoctlGetEthtoolDrvinfo(r.fd, name)
	if err != nil || unix.ByteSliceToString(info.Driver[:]) != "tun" {
		return 0
	}
	req := hwReq{}
	copy(req.name[:], name)
	if ioctlHW(r.fd, unix.SIOCGIFHWADDR, &req) != nil || req.addr != mac {
		return 0
	}
	index, err := r.index(name)
	if err != nil {
		return 0
	}
	return index
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
