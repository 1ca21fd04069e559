package control

import (
	"fmt"
	"slices"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
)

// account is what a port has to remember for its ledger.
type account struct {
	switches switchSum // of earlier switches of the port
	tapTx    uint64    // tx_packets of devices that are gone
	unknown  uint64    // frames read from devices that took their count with them
}

type switchSum dataplane.SwitchStats

func (a *switchSum) add(b dataplane.SwitchStats) {
	a.Wire.Packets += b.Wire.Packets
	a.Wire.Drops += b.Wire.Drops
	a.Wire.Received += b.Wire.Received
	a.Wire.Sent += b.Wire.Sent
	a.Wire.Stuck += b.Wire.Stuck
	a.Seen += b.Seen
	a.Planned += b.Planned
	a.InQueue += b.InQueue
	a.Read += b.Read
	for i := range a.Frames {
		a.Frames[i] += b.Frames[i]
		a.Copies[i] += b.Copies[i]
		a.Sent[i] += b.Sent[i]
	}
}

type vmacSum dataplane.VmacStats

func (a *vmacSum) add(b dataplane.VmacStats) {
	a.RxPackets += b.RxPackets
	a.RxBytes += b.RxBytes
	a.RxErrors += b.RxErrors
	a.RxDropped += b.RxDropped
	a.Multicast += b.Multicast
	a.TxPackets += b.TxPackets
	a.TxBytes += b.TxBytes
	a.TxDropped += b.TxDropped
	a.Read += b.Read
	for i := range a.Copies {
		a.Copies[i] += b.Copies[i]
		a.Sent[i] += b.Sent[i]
	}
}

// stats are a vmac's counters since it was made, over all its switches.
func (d *device) stats() vmacSum {
	s := d.base
	s.add(d.vmac.Stats())
	return s
}

// close takes over a device's count when it goes. One that went with its
// namespace has told nobody.
func (a *account) close(d *device) {
	if d.last == nil {
		a.unknown += d.stats().Read
		return
	}
	a.tapTx += d.last.stats[1]
}

// Ledgers returns the accounts of every parent that has vmacs. The figures are
// read one after the other: they only agree while nothing moves.
func (e *Engine) Ledgers() []Ledger {
	e.mu.Lock()
	defer e.mu.Unlock()
	ledgers := []Ledger{}
	for _, rp := range e.state.Ports() {
		p := e.ports[rp.Parent.ID]
		tapTx := p.account.tapTx
		for _, v := range rp.Vmacs {
			e.devices[v.ID].visit(func(_ Namespace, _ *conn, dev *netdev) error {
				tapTx += dev.stats[1]
				return nil
			})
		}
		s := p.account.switches
		s.add(p.sw.Stats())
		ledgers = append(ledgers, makeLedger(rp.Parent.Name, dataplane.SwitchStats(s), tapTx, p.account.unknown))
	}
	return ledgers
}

func makeLedger(parent string, s dataplane.SwitchStats, tapTx, unknown uint64) Ledger {
	sum := func(c [classify.NumReasons]uint64) (n uint64) {
		for _, v := range c {
			n += v
		}
		return n
	}
	frames, copies, sent := sum(s.Frames), sum(s.Copies), sum(s.Sent)
	equation := func(name string, left, right uint64, text string, args ...any) Equation {
		return Equation{Name: name, Text: fmt.Sprintf(text, args...), Left: left, Right: right, Difference: int64(left - right)}
	}
	read := equation("tx", tapTx, s.Read-unknown, "devices' tx_packets %d = read %d", tapTx, s.Read-unknown)
	if unknown > 0 {
		read.Text += fmt.Sprintf(" (without %d of devices that went with their namespace)", unknown)
	}
	return Ledger{
		Parent: parent,
		Equations: []Equation{
			equation("ring", s.Wire.Packets, s.Wire.Received+s.Wire.Drops, "packets %d = received %d + drops %d", s.Wire.Packets, s.Wire.Received, s.Wire.Drops),
			equation("frame", s.Wire.Received, s.Seen, "received %d = seen %d", s.Wire.Received, s.Seen),
			equation("frame", s.Seen, frames, "seen %d = dispositions %d", s.Seen, frames),
			equation("copy", s.Planned, copies+s.InQueue, "planned %d = done %d + in queue %d", s.Planned, copies, s.InQueue),
			read,
			equation("tx", s.Read, sent, "read %d = dispositions %d", s.Read, sent),
		},
		Frames: byKey(s.Frames), Sent: byKey(s.Sent), Copies: byKey(s.Copies),
	}
}

// byKey names what was counted, leaving out zeros.
func byKey(c [classify.NumReasons]uint64) map[string]uint64 {
	m := map[string]uint64{}
	for r, n := range slices.All(c[:]) {
		if n > 0 {
			m[classify.Reason(r).Key()] = n
		}
	}
	return m
}
