package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control"
)

// namespacePath turns what people write for a network namespace into a path,
// as netns_get_fd does: a path, a name under /run/netns, or a process id.
func namespacePath(s string) (path string, err error) {
	path = s
	if !strings.Contains(s, "/") {
		path = filepath.Join("/run/netns", s)
	}
	if _, err = os.Stat(path); err == nil {
		return daemonsPath(path)
	}
	pid, numErr := parseS32(s)
	if numErr != nil {
		return "", err
	}
	path = fmt.Sprintf("/proc/%d/ns/net", pid)
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return path, nil
}

// daemonsPath is what the daemon, another process in another directory, may
// open in place of path: /proc/self would be its own. The last element stays,
// because in /proc it is a link to nowhere that only the kernel can follow.
func daemonsPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// newResolver looks up devices in the namespace at path, or in the caller's
// own if that is empty.
func newResolver(path string) resolver {
	return resolver{
		device: func(name string) bool {
			if path == "" {
				return deviceExists(name) == nil
			}
			ns, err := control.OpenNamespace(path)
			if err != nil {
				return false
			}
			defer ns.Close()
			return ns.Do(func() error { return deviceExists(name) }) == nil
		},
		netns: func(s string) (string, bool) {
			p, err := namespacePath(s)
			return p, err == nil
		},
	}
}

// deviceExists asks for one index: a listing of thousands of devices, which is
// what net.InterfaceByName reads, would be in the way of scripts that make them.
func deviceExists(name string) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr)
}
