package dataplane

import (
	"time"

	"golang.org/x/sys/unix"
)

// How a data thread waits that has run out of frames.
const (
	WakingYield = "yield" // it first lets others run for a while, and looks again
	WakingSleep = "sleep" // it sleeps at once
)

// turns is how a data thread that has run out of frames lets others run for a
// while before it sleeps (sched_yield): being woken costs whoever sends the next
// frame more than that. Not where somebody else computes: there the thread would
// get the CPU back a whole time slice later, while one that sleeps is woken at
// once.
type turns struct {
	off     bool
	left    int
	resting time.Time // no turns until then
}

const (
	// maxTurns is well over the time in which two programs answer each other, and
	// a few hundredths of a millisecond on an idle CPU.
	maxTurns = 50
	// A turn that lasts so long was taken by a program that doesn't sleep.
	hogTurn = time.Millisecond
	hogRest = 100 * time.Millisecond
)

// begin starts the turns of one wait.
func (t *turns) begin() {
	if t.left = maxTurns; t.off || !t.resting.IsZero() && time.Now().Before(t.resting) {
		t.left = 0
	}
}

// give lets others run, or reports that it is time to sleep.
func (t *turns) give() bool {
	if t.left == 0 {
		return false
	}
	t.left--
	before := time.Now()
	unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	if now := time.Now(); now.Sub(before) > hogTurn {
		t.left, t.resting = 0, now.Add(hogRest)
	}
	return true
}
