package dataplane

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane/defrag"
)

// The limits are those of the namespace that the thread is in.
func TestReadLimits(t *testing.T) {
	var missing error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with its namespace
		if missing = unix.Unshare(unix.CLONE_NEWNET); missing != nil {
			return
		}
		h := NewFragments()
		for _, c := range []struct {
			set  map[string]string
			want defrag.Limits
		}{
			{nil, defrag.DefaultLimits()},
			{map[string]string{"low_thresh": "1000", "high_thresh": "2000", "time": "7", "max_dist": "0"}, defrag.Limits{Memory: 2000, Time: 7 * time.Second}},
		} {
			for name, value := range c.set {
				if name != "high_thresh" { // which may not be less than the low one
					write(t, name, value)
				}
			}
			if v := c.set["high_thresh"]; v != "" {
				write(t, "high_thresh", v)
			}
			h.ReadLimits()
			if got := h.queues.Limits(); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		}
		var buf []byte
		for id := range 4 {
			_, _, reason := h.add(&Frame{Raw: fragment(classify.Broadcast, mac(99), id, 0, 8, false)}, &buf)
			if want := map[bool]classify.Reason{true: classify.FragmentHeld, false: classify.FragmentNoRoom}[id < 2]; reason != want {
				t.Errorf("fragment %d: %v, want %v", id, reason, want)
			}
		}
	}()
	<-done
	if missing != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace of its own: %v", missing)
		}
		t.Skipf("no network namespace of its own: %v", missing)
	}
}

func write(t *testing.T, name, value string) {
	if err := os.WriteFile("/proc/sys/net/ipv4/ipfrag_"+name, []byte(value), 0); err != nil {
		t.Error(err)
	}
}
