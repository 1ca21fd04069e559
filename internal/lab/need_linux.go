package lab

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// TB is what Need wants of a *testing.T.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Needs of a test.
type Needs int

const (
	NeedNS      Needs = iota // to make network namespaces
	NeedTUN                  // to make TAPs
	NeedMacvlan              // the kernel's macvlan driver
)

// Need skips the test, naming what is missing. With CI=true in the environment
// only the kernel's driver may be missing.
func Need(t TB, needs ...Needs) {
	t.Helper()
	for _, n := range needs {
		err := n.missing()
		switch {
		case err == nil:
		case os.Getenv("CI") == "true" && n != NeedMacvlan:
			t.Fatalf("%v (and CI=true allows no skip)", err)
		default:
			t.Skipf("%v", err)
		}
	}
}

func (n Needs) missing() error {
	switch n {
	case NeedNS:
		ns, err := NewNS()
		if err != nil {
			return errors.Join(errors.New("needs root (CAP_SYS_ADMIN) to make network namespaces"), err)
		}
		return ns.Close()
	case NeedTUN:
		return CheckTUN()
	case NeedMacvlan:
		return CheckMacvlan()
	}
	return nil
}

// CheckMacvlan says whether the kernel's own driver can be used.
func CheckMacvlan() error {
	if !HasMacvlan() {
		return errors.New("this kernel has no macvlan to compare with")
	}
	return nil
}

// CheckTUN says whether TAPs can be made, and if not, in one line how to get
// there.
func CheckTUN() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return unix.Close(fd)
	case errors.Is(err, unix.ENOENT):
		return errors.New("/dev/net/tun is missing: run \"modprobe tun && mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200\" as root (in a container: --device /dev/net/tun)")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return errors.New("/dev/net/tun is closed to this user: run as root, or \"chmod 666 /dev/net/tun\" as root (in a container: --device /dev/net/tun)")
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return errors.New("/dev/net/tun has no driver behind it: run \"modprobe tun\" as root")
	default:
		return errors.New("/dev/net/tun: " + err.Error())
	}
}
