package dataplane

import (
	"sync/atomic"
	"testing"
)

// TestTurnsOfThreads: a thread that waits says so, and one that works counts.
func TestTurnsOfThreads(t *testing.T) {
	var cur atomic.Pointer[snapshot]
	cur.Store(&snapshot{gen: 3})
	s := &Switch{}
	if got := s.Turns(); got != [3]Turn{{0, true}, {0, true}, {0, true}} {
		t.Errorf("at the beginning: %v", got)
	}
	s.tx.epoch.enter(&cur)
	if got := s.Turns(); got[1] != (Turn{1, false}) || !got[0].Parked || !got[2].Parked {
		t.Errorf("transmit works: %v", got)
	}
	s.tx.epoch.enter(&cur)
	s.tx.epoch.park()
	if got := s.Turns(); got[1] != (Turn{2, true}) {
		t.Errorf("transmit waits: %v", got)
	}
}
