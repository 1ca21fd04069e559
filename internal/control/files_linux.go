package control

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// manyFiles is what RaiseFileLimit asks for: more vmacs than that no parent can
// have.
const manyFiles = 1 << 17

// RaiseFileLimit lets the process open as many files as it may be allowed, for
// each vmac takes one. Without CAP_SYS_RESOURCE that is what the hard limit says.
func RaiseFileLimit() {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil || l.Cur >= manyFiles {
		return
	}
	for _, want := range []uint64{manyFiles, 1 << 16, l.Max} {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want, Max: max(want, l.Max)}) == nil {
			return
		}
	}
}

// tooManyFiles says what to do about EMFILE and ENFILE, and is empty for other
// errors.
func tooManyFiles(errno unix.Errno) string {
	switch errno {
	case unix.EMFILE:
		var l unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
		return fmt.Sprintf("the daemon may have %d files open, one for each vmac and some more; raise that where it is started: ulimit -n, or LimitNOFILE=", l.Cur)
	case unix.ENFILE:
		return "the machine has as many files open as it may; raise that: sysctl -w fs.file-max"
	}
	return ""
}
