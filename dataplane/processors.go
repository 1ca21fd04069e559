package dataplane

import (
	"os"
	"runtime"
	"sync"
)

// spareProcessors are for data threads, beside one processor of Go's scheduler
// for each CPU. A data thread calls the kernel without giving its processor up, and
// one that comes back from a wait must find one free: else it waits until
// somebody's 10 ms are over. The CPUs themselves are the kernel's to share out.
const spareProcessors = 4

// addProcessors does nothing if the user has said how many there shall be.
var addProcessors = sync.OnceFunc(func() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors)
	}
})
