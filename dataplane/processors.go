package dataplane

import (
	"os"
	"runtime"
	"sync"
)

// spareProcessors are for the data threads of a busy port, beside what Go's scheduler
// has when the first switch begins: as many as there are CPUs, or as a cgroup allows.
// A data thread calls the kernel without giving its processor up, and one that comes
// back from a wait must find one free: else it waits until somebody's 10 ms are
// over. The CPUs themselves are the kernel's to share out.
const spareProcessors = 4

// addProcessors does nothing if the user has said how many there shall be.
var addProcessors = sync.OnceFunc(func() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors)
	}
})
