package dataplane

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/umacvlan/umacvlan/dataplane/defrag"
)

// ReadLimits takes over net.ipv4.ipfrag_high_thresh, _time and _max_dist of the
// network namespace that the calling thread is in. What can't be read is as a
// kernel has it at the start.
func (h *Fragments) ReadLimits() {
	l := defrag.DefaultLimits()
	read := func(name string, set func(n int)) {
		text, err := os.ReadFile("/proc/sys/net/ipv4/ipfrag_" + name)
		if err != nil {
			return
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			set(n)
		}
	}
	read("high_thresh", func(n int) { l.Memory = n })
	read("time", func(n int) { l.Time = time.Duration(n) * time.Second })
	read("max_dist", func(n int) { l.Distance = n })
	h.mu.Lock()
	h.queues.SetLimits(l)
	h.mu.Unlock()
}
