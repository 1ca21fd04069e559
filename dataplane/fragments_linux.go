package dataplane

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/umacvlan/umacvlan/dataplane/defrag"
)

// FragmentLimits reads net.ipv4.ipfrag_* of the network namespace of the calling
// thread. What can't be read is as a kernel has it at the start.
func FragmentLimits() defrag.Limits {
	l := defrag.DefaultLimits()
	for name, set := range map[string]func(n int){
		"high_thresh": func(n int) { l.Memory = n },
		"time":        func(n int) { l.Time = time.Duration(n) * time.Second },
		"max_dist":    func(n int) { l.Distance = n },
	} {
		text, err := os.ReadFile("/proc/sys/net/ipv4/ipfrag_" + name)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n >= 0 {
			set(n)
		}
	}
	return l
}
