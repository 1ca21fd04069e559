package lab

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Usage is what a process holds: its descriptors, its goroutines, the network
// namespaces that it made and those that its threads are in.
type Usage struct {
	files      []string
	goroutines int
	namespaces int64
	threads    []string
}

// Measure returns the process's present usage.
func Measure() Usage {
	startPoller()
	u := Usage{goroutines: runtime.NumGoroutine(), namespaces: open.Load()}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			u.files = append(u.files, kindOfFile(to))
		}
	}
	slices.Sort(u.files)
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		if to, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net"); err == nil {
			u.threads = append(u.threads, to)
		}
	}
	slices.Sort(u.threads)
	u.threads = slices.Compact(u.threads)
	return u
}

// startPoller makes the Go runtime open the descriptors of its own poller, which
// then stay for the life of the process.
func startPoller() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}

// kindOfFile drops the inode of "socket:[123]", so that a socket which was
// closed and another that was opened compare equal.
func kindOfFile(target string) string {
	if kind, _, ok := strings.Cut(target, ":["); ok {
		return kind
	}
	return target
}

// Leaked says what the process holds now and did not hold at before, waiting a
// little for what is just ending.
func (before Usage) Leaked() error { return before.leaked(3 * time.Second) }

func (before Usage) leaked(patience time.Duration) error {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := before.compare(Measure())
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (before Usage) compare(now Usage) error {
	if n := now.namespaces - before.namespaces; n > 0 {
		return fmt.Errorf("%d network namespaces leaked", n)
	}
	for _, ns := range now.threads {
		if !slices.Contains(before.threads, ns) {
			return fmt.Errorf("a thread stayed in network namespace %s", ns)
		}
	}
	if extra := surplus(before.files, now.files); len(extra) > 0 {
		return fmt.Errorf("%d descriptors leaked: %s", len(extra), strings.Join(extra, " "))
	}
	if n := now.goroutines - before.goroutines; n > 0 {
		stacks := make([]byte, 1<<16)
		return fmt.Errorf("%d goroutines leaked:\n%s", n, stacks[:runtime.Stack(stacks, true)])
	}
	return nil
}

// surplus returns what now has more often than before; both are sorted.
func surplus(before, now []string) (extra []string) {
	rest := slices.Clone(before)
	for _, f := range now {
		if i := slices.Index(rest, f); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			continue
		}
		extra = append(extra, f)
	}
	return extra
}
