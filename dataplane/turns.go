package dataplane

// Turn is how far a data thread is: how often it has taken up work, and whether
// it waits for some. One that doesn't wait and whose count doesn't rise is stuck.
type Turn struct {
	Count  uint64
	Parked bool
}

// Turns looks at the three data threads: receive, transmit, broadcast. It never
// blocks.
func (s *Switch) Turns() (t [3]Turn) {
	for i, e := range []*epoch{&s.rx.epoch, &s.tx.epoch, &s.bc.epoch} {
		t[i] = Turn{Parked: e.gen.Load() == 0, Count: e.turns.Load()}
	}
	return t
}
