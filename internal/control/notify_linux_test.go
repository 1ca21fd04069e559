package control

import (
	"testing"

	"github.com/umacvlan/umacvlan/dataplane"
)

// TestStuck: a thread that has work and doesn't get on with it is found; one that
// waits, works, or has just begun is not.
func TestStuck(t *testing.T) {
	parked, busy := dataplane.Turn{Count: 7, Parked: true}, dataplane.Turn{Count: 7}
	quiet := [3]dataplane.Turn{parked, parked, parked}
	for name, c := range map[string]struct {
		before, now [3]dataplane.Turn
		fresh       bool
		want        string
	}{
		"quiet":     {before: quiet, now: quiet},
		"working":   {before: [3]dataplane.Turn{{Count: 6}, parked, parked}, now: [3]dataplane.Turn{busy, parked, parked}},
		"began":     {before: quiet, now: [3]dataplane.Turn{{Count: 8}, parked, parked}},
		"waits now": {before: [3]dataplane.Turn{busy, parked, parked}, now: quiet},
		"receive":   {before: [3]dataplane.Turn{busy, parked, parked}, now: [3]dataplane.Turn{busy, parked, parked}, want: "eth0 receive"},
		"transmit":  {before: [3]dataplane.Turn{parked, busy, parked}, now: [3]dataplane.Turn{parked, busy, parked}, want: "eth0 transmit"},
		"broadcast": {before: [3]dataplane.Turn{parked, parked, busy}, now: [3]dataplane.Turn{parked, parked, busy}, want: "eth0 broadcast"},
		"new port":  {now: [3]dataplane.Turn{busy, busy, busy}, fresh: true},
	} {
		p := &port{name: "eth0"}
		before := pulse{p: c.before}
		if c.fresh {
			before = nil
		}
		if got := (pulse{p: c.now}).stuck(before); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
