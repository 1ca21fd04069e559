package random

import (
	"bytes"
	"slices"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// MaxBurst is how many frames a burst has at most: a TAP's queue holds them all.
const MaxBurst = 128

// Burst is a run of sends that are played at once: the steps from First up to,
// but without, End.
type Burst struct{ First, End int }

// Bursts finds the runs of sends in a scenario. No two frames of one are the
// same, with or without their outermost tag, so that whoever gets one shows which
// it was.
func Bursts(s *scenario.Scenario) (list []Burst) {
	seen := map[string]bool{}
	open := false
	for i := range s.Steps {
		if s.Steps[i].Send == nil {
			open = false
			continue
		}
		frame, err := s.Frame(i)
		if err != nil {
			open = false
			continue
		}
		bare := string(Untagged(frame))
		if !open || seen[bare] || i-list[len(list)-1].First >= MaxBurst {
			list = append(list, Burst{First: i})
			clear(seen)
		}
		open, seen[bare] = true, true
		list[len(list)-1].End = i + 1
	}
	return list
}

// Untagged takes every VLAN tag in front away: handlers don't see those that
// the kernel has taken off.
func Untagged(frame []byte) []byte {
	for len(frame) >= 18 && (frame[12] == 0x81 && frame[13] == 0 || frame[12] == 0x88 && frame[13] == 0xa8) {
		frame = append(bytes.Clone(frame[:12]), frame[16:]...)
	}
	return frame
}

// Fold adds up what a burst counted, as a player of bursts does: the last of its
// outcomes has the sum, the others nothing.
func Fold(s *scenario.Scenario, r *scenario.Result) *scenario.Result {
	folded := *r
	folded.Outcomes = slices.Clone(r.Outcomes)
	for _, b := range Bursts(s) {
		if b.End > len(folded.Outcomes) {
			break
		}
		sum := slices.Clone(folded.Outcomes[b.End-1].Counts)
		for i := b.First; i < b.End-1; i++ {
			for _, c := range folded.Outcomes[i].Counts {
				j := slices.IndexFunc(sum, func(o scenario.Count) bool { return o.Who == c.Who })
				if j < 0 {
					continue // it is gone by the end, or never was
				}
				sum[j].Counters = plus(sum[j].Counters, c.Counters)
			}
			folded.Outcomes[i].Counts = nil
		}
		folded.Outcomes[b.End-1].Counts = sum
	}
	return &folded
}

func plus(a, b scenario.Counters) scenario.Counters {
	return scenario.Counters{
		RxPackets: a.RxPackets + b.RxPackets, RxBytes: a.RxBytes + b.RxBytes, RxErrors: a.RxErrors + b.RxErrors,
		RxDropped: a.RxDropped + b.RxDropped, Multicast: a.Multicast + b.Multicast,
		TxPackets: a.TxPackets + b.TxPackets, TxBytes: a.TxBytes + b.TxBytes, TxDropped: a.TxDropped + b.TxDropped,
	}
}
