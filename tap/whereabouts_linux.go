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

// moved notes where somebody has put the device, if that would have to be
// searched for.
func (d *Device) moved(ns int) {
	spots.Lock()
	searched := spots.who[d.spot] == d
	spots.Unlock()
	if !searched {
		return
	}
	name, err := d.ifname()
	if err != nil {
		return
	}
	var st unix.Stat_t
	if unix.Fstat(ns, &st) != nil {
		return
	}
	r, err := openRouteIn(ns)
	if err != nil {
		return
	}
	defer r.close()
	if index, err := r.index(name); err == nil {
		d.take(spot{st.Ino, index}, "", true)
	}
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

// take says that d is at s, unless another one of ours is, that the path leads to
// its namespace, and whether it can only be d.
func (d *Device) take(s spot, path string, sure bool) bool {
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
		d.spot, d.path, d.sure = s, path, sure
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

// search looks for the device in every namespace that can be found: it is where
// there is a TAP of its name and address, which has counted as many frames.
// Another process's may be alike, so it is taken for moved only when it is not in
// the namespace where it was the last time, by whatever path that is found.
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
	look := func(path string, home uint64) (fd int, ok bool) {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || looked[st.Ino] || home != 0 && home != st.Ino {
			return -1, false
		}
		looked[st.Ino] = true
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			note(err)
			return -1, false
		}
		index, sure, err := d.indexIn(fd, spot{netns: st.Ino}, name, mac)
		note(err)
		if index == 0 || !d.take(spot{st.Ino, index}, path, sure) {
			unix.Close(fd)
			return -1, false
		}
		return fd, true
	}
	spots.Lock()
	last, home := d.path, d.spot.netns
	spots.Unlock()
	if fd, ok := look(last, home); ok {
		return fd, nil
	}
	// It may be moved, and descriptors come and go, while they are listed.
	for range 3 {
		var elsewhere []string
		for _, list := range []func() []string{own, named, ofProcesses, ofDescriptors} {
			paths := list()
			for _, path := range paths {
				if fd, ok := look(path, home); ok {
					return fd, nil
				}
			}
			elsewhere = append(elsewhere, paths...)
			fd, err := unix.Open("/proc", unix.O_PATH|unix.O_CLOEXEC, 0) // could it be listed?
			note(err)
			unix.Close(fd)
		}
		for _, path := range elsewhere {
			if short != nil {
				break
			}
			if fd, ok := look(path, 0); ok {
				return fd, nil
			}
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

// indexIn returns the index of the TAP that has both in ns, 0 if there is none,
// and whether no other can be like that.
func (d *Device) indexIn(ns int, at spot, name string, mac [6]byte) (index int, sure bool, err error) {
	var fs unix.Statfs_t
	if unix.Fstatfs(ns, &fs) != nil || fs.Type != unix.NSFS_MAGIC {
		return 0, false, nil
	}
	r, err := openRouteIn(ns)
	if err != nil {
		return 0, false, err
	}
	defer r.close()
	req := hwReq{}
	copy(req.name[:], name)
	if ioctlHW(r.fd, unix.SIOCGIFHWADDR, &req) != nil || req.addr != mac {
		return 0, false, nil
	}
	if at.index, err = r.index(name); err != nil {
		return 0, false, nil
	}
	// What it is is not asked again of one that is sure: that takes the RTNL.
	spots.Lock()
	known := spots.who[at] == d && d.sure
	spots.Unlock()
	if known {
		return at.index, true, nil
	}
	sure = d.distinct()
	info, err := unix.IoctlGetEthtoolDrvinfo(r.fd, name)
	if err != nil || unix.ByteSliceToString(info.Driver[:]) != "tun" || !d.tallies(r, at.index) {
		return 0, false, nil
	}
	return at.index, sure, nil
}

// distinct reports whether so many frames have passed that hardly another device
// has counted as many, or that frames are not counted.
func (d *Device) distinct() bool {
	const enough = 64
	return d.tally == nil || d.tally.reads.Load()+d.tally.writes.Load() >= enough
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
