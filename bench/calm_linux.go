package bench

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// calm is the share of CPU time that others may use when a repetition begins.
const calm = 0.15

// awaitCalm waits until the machine has little else to do, or for as long as
// given, and returns the share of CPU time that was used before it returned.
// Whoever needs two CPUs at once suffers more from a third party than whoever
// needs one, so a busy machine bends ratios, not just rates.
func awaitCalm(atMost time.Duration) (busy float64, err error) {
	const look = 60 * time.Millisecond
	for end := time.Now().Add(atMost); ; {
		u1, t1, err := cpuTime()
		if err != nil {
			return 0, err
		}
		time.Sleep(look)
		u2, t2, err := cpuTime()
		if err != nil {
			return 0, err
		}
		if t2 > t1 {
			busy = float64(u2-u1) / float64(t2-t1)
		}
		if busy <= calm || time.Now().After(end) {
			return busy, nil
		}
	}
}

// cpuTime returns what all CPUs have spent working, and at all, in ticks.
func cpuTime() (used, total uint64, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var user, nice, system, idle, iowait, irq, softirq, steal uint64
	if _, err := fmt.Sscanf(line, "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal); err != nil {
		return 0, 0, fmt.Errorf("/proc/stat: %w", err)
	}
	used = user + nice + system + irq + softirq + steal
	return used, used + idle + iowait, nil
}
