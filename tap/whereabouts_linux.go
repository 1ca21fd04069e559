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
	if err != nil {
		return err
	}
	unix.Close(ns)
	spots.Lock()
	defer spots.Unlock()
	if spots.who[d.spot] == d {
		d.tally = &tally{}
	}
	return nil
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
// it was the last time: it is where there is a TAP of its name and address, which
// has counted as many frames.
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
	var short error // of descriptors, so that not everything could be looked at
	note := func(err error) {
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			short = err
		}
	}
	look := func(path string) (fd int, ok bool) {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || looked[st.Ino] {
			return -1, false
		}
		looked[st.Ino] = true
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			note(err)
			return -1, false
		}
		index, err := d.indexIn(fd, spot{netns: st.Ino}, name, mac)
		note(err)
		if index == 0 || !d.take(spot{st.Ino, index}, path) {
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
			fd, err := unix.Open("/proc", unix.O_PATH|unix.O_CLOEXEC, 0) // could it be listed?
			note(err)
			unix.Close(fd)
		}
		if short != nil {
			return -1, short
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
func (d *Device) indexIn(ns int, at spot, name string, mac [6]byte) (int, error) {
	var fs unix.Statfs_t
	if unix.Fstatfs(ns, &fs) != nil || fs.Type != unix.NSFS_MAGIC {
		return 0, nil
	}
	r, err := openRouteIn(ns)
	if err != nil {
		return 0, err
	}
	defer r.close()
	req := hwReq{}
	copy(req.name[:], name)
	if ioctlHW(r.fd, unix.SIOCGIFHWADDR, &req) != nil || req.addr != mac {
		return 0, nil
	}
	if at.index, err = r.index(name); err != nil {
		return 0, nil
	}
	// What it is is only asked where it wasn't before: that takes the RTNL.
	spots.Lock()
	known := spots.who[at] == d
	spots.Unlock()
	if !known {
		info, err := unix.IoctlGetEthtoolDrvinfo(r.fd, name)
		if err != nil || unix.ByteSliceToString(info.Driver[:]) != "tun" || !d.tallies(r, at.index) {
			return 0, nil
		}
	}
	return at.index, nil
}

// tallies reports whether the device has counted what we have read and written,
// but for what is under way.
func (d *Device) tallies(r *route, index int) bool {
	if d.tally == nil {
		return true
	}
	const underWay = 8
	reads, writes := d.tally.reads.Load(), d.tally.writes.Load()
	rx, tx, err := r.packets(index)
	return err == nil && tx >= reads && tx <= d.tally.reads.Load()+underWay &&
		rx >= writes && rx <= d.tally.writes.Load()+underWay
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
