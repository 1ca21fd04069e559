package dataplane_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/dataplane/wiretest"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// Where there is no memory for a ring of the usual size, the parent is opened
// with a smaller one, and frames arrive.
func TestLittleMemory(t *testing.T) {
	if os.Getenv("DATAPLANE_TEST_MEMORY") == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestLittleMemory$", "-test.v")
		cmd.Env = append(os.Environ(), "DATAPLANE_TEST_MEMORY=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if strings.Contains(string(out), "--- SKIP") {
			t.Skip(string(out))
		}
		return
	}
	// The runtime shall want no memory meanwhile, for threads least of all.
	debug.SetGCPercent(-1)
	var threads sync.WaitGroup
	for range 10 {
		threads.Go(func() { unix.Nanosleep(&unix.Timespec{Nsec: 20e6}, nil) })
	}
	threads.Wait()
	w, p := wiretest.OnVeth(func() (dataplane.Wire, error) {
		l, err := netlink.LinkByName(wiretest.Parent)
		if err != nil {
			return nil, err
		}
		// Address space that is there already, and less than the ring of 8 MiB.
		var pages uint64
		statm, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			return nil, err
		}
		fmt.Sscan(string(statm), &pages)
		var limit unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_AS, &limit)
		little := limit
		little.Cur = pages*uint64(os.Getpagesize()) + 7<<20
		if err := unix.Setrlimit(unix.RLIMIT_AS, &little); err != nil {
			return nil, err
		}
		w, why, err := dataplane.Open(l.Attrs().Name, dataplane.WireOptions{})
		unix.Setrlimit(unix.RLIMIT_AS, &limit)
		if err == nil && why != dataplane.BackendRing {
			t.Errorf("opened with %s", why)
		}
		return w, err
	})(t)
	defer w.Close()
	raw := make([]byte, vnet.HdrLen+60)
	copy(raw[vnet.HdrLen:], everyone[:])
	if err := p.Inject(raw); err != nil {
		t.Fatal(err)
	}
	var b dataplane.Batch
	if err := w.Recv(&b); err != nil || len(b.Frames) != 1 {
		t.Fatalf("%d frames, %v", len(b.Frames), err)
	}
}
