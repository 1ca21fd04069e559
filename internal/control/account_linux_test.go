package control

import (
	"testing"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
)

// Each figure of the ledger stands in an equation that notices when it is off by
// one.
func TestLedgerNotices(t *testing.T) {
	quiet := func() (s dataplane.SwitchStats) {
		s.Wire.Packets, s.Wire.Drops, s.Wire.Received, s.Seen = 10, 2, 8, 8
		s.Frames[classify.Unicast], s.Frames[classify.NoOwner] = 5, 3
		s.Planned, s.InQueue = 9, 1
		s.Copies[classify.Delivered], s.Copies[classify.BCQueueFull] = 7, 1
		s.Read = 6
		s.Sent[classify.ToWire], s.Sent[classify.WireDown] = 4, 2
		return s
	}
	off := func(s dataplane.SwitchStats, tapTx, unknown uint64) (names []string) {
		for _, q := range makeLedger("va", s, tapTx, unknown).Equations {
			if q.Difference != int64(q.Left-q.Right) {
				t.Errorf("%s: difference %d of %d and %d", q.Name, q.Difference, q.Left, q.Right)
			}
			if q.Difference != 0 {
				names = append(names, q.Name)
			}
		}
		return names
	}
	if names := off(quiet(), 6, 0); names != nil {
		t.Errorf("a ledger that balances is off in %v", names)
	}
	if names := off(quiet(), 4, 2); names != nil {
		t.Errorf("devices that went with their namespace are not left out: %v", names)
	}
	for name, change := range map[string]func(*dataplane.SwitchStats){
		"packets":  func(s *dataplane.SwitchStats) { s.Wire.Packets++ },
		"drops":    func(s *dataplane.SwitchStats) { s.Wire.Drops++ },
		"received": func(s *dataplane.SwitchStats) { s.Wire.Received++ },
		"seen":     func(s *dataplane.SwitchStats) { s.Seen++ },
		"frames":   func(s *dataplane.SwitchStats) { s.Frames[classify.Flooded]++ },
		"planned":  func(s *dataplane.SwitchStats) { s.Planned++ },
		"queue":    func(s *dataplane.SwitchStats) { s.InQueue++ },
		"copies":   func(s *dataplane.SwitchStats) { s.Copies[classify.TapDown]++ },
		"read":     func(s *dataplane.SwitchStats) { s.Read++ },
		"sent":     func(s *dataplane.SwitchStats) { s.Sent[classify.ToBoth]++ },
	} {
		s := quiet()
		change(&s)
		if off(s, 6, 0) == nil {
			t.Errorf("one more of %s goes unnoticed", name)
		}
	}
	if off(quiet(), 5, 0) == nil {
		t.Error("a frame that a device has not sent goes unnoticed")
	}
}

// Sums over several switches miss no field.
func TestSums(t *testing.T) {
	var one dataplane.SwitchStats
	one.Wire = dataplane.WireStats{Packets: 1, Drops: 1, Received: 1, Sent: 1, Stuck: 1}
	one.Seen, one.Planned, one.InQueue, one.Read = 1, 1, 1, 1
	v := dataplane.VmacStats{RxPackets: 1, RxBytes: 1, RxErrors: 1, RxDropped: 1, Multicast: 1, TxPackets: 1, TxBytes: 1, TxDropped: 1, Read: 1}
	for i := range one.Frames {
		one.Frames[i], one.Copies[i], one.Sent[i] = 1, 1, 1
		v.Copies[i], v.Sent[i] = 1, 1
	}
	var s switchSum
	s.add(one)
	if dataplane.SwitchStats(s) != one {
		t.Errorf("sum is %+v", s)
	}
	var w vmacSum
	w.add(v)
	if dataplane.VmacStats(w) != v {
		t.Errorf("sum is %+v", w)
	}
}
