package bench

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// calm is the share of CPU time that others may use when a repetition begins.
const calm = 0.15

// awaitCalm waits until the machine has little else to do, or for as long as
// given, and returns the share of CPU time that was used before it returned.
// Whoever needs two CPUs at once suffers more from a third party than whoever
// needs one, so a busy machine bends ratios, not just rates.
func awaitCalm(atMost time.Duration) (busy float64, err error) {
	const look = 60 * time.Millisecond
	if atMost == 0 {
		return 0, nil
	}
	for end := time.Now().Add(atMost); ; {
		a, err := cpuTime()
		if err != nil {
			return 0, err
		}
		time.Sleep(look)
		b, err := cpuTime()
		if err != nil {
			return 0, err
		}
		if b.total > a.total {
			busy = float64(b.used-a.used) / float64(b.total-a.total)
		}
		if busy <= calm || time.Now().After(end) {
			return busy, nil
		}
	}
}

// ticks are what all CPUs have spent working, and at all. USER_HZ is 100 on
// every architecture that Go knows.
type ticks struct{ used, total uint64 }

// seconds of work since a.
func (t ticks) seconds(a ticks) float64 { return float64(t.used-a.used) / 100 }

func cpuTime() (ticks, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return ticks{}, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var user, nice, system, idle, iowait, irq, softirq, steal uint64
	if _, err := fmt.Sscanf(line, "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal); err != nil {
		return ticks{}, fmt.Errorf("/proc/stat: %w", err)
	}
	used := user + nice + system + irq + softirq + steal
	return ticks{used, used + idle + iowait}, nil
}

// processTime is what the emulator's process has taken of the processors. It is
// not asked itself: to answer would cost more than it does in seconds.
func processTime(d lab.Driver) (time.Duration, error) {
	e, ok := d.(*emulator)
	if !ok || e.p == nil {
		return 0, errors.New("only the emulator has a process")
	}
	const sched = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^e.p.cmd.Process.Pid<<3|sched), &t); err != nil {
		return 0, fmt.Errorf("the emulator's CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}
