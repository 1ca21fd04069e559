package bench

import (
	"encoding/json"
	"math"
	"testing"
)

func TestVerdicts(t *testing.T) {
	kernel := series("kernel macvlan", 10, 10, 10).with(P99, 40, 40, 40).with(Retransmits, 0, 0, 0)
	ours := series("umacvlan", 8, 8, 8).with(P99, 50, 50, 50).with(Retransmits, 0, 0, 0).with(Loss, 0.05, 0.05, 0.05)
	worse := series("umacvlan", 8, 8, 8).with(Retransmits, 7, 7, 7)
	ovs := series("Open vSwitch netdev", 4, 4, 4)
	for name, test := range map[string]struct {
		goal   Goal
		series []Series
		value  float64
		word   string
	}{
		"aim":               {Goal{Must: 0.7, Aim: 0.8}, []Series{kernel, ours}, 0.8, Aimed},
		"must":              {Goal{Must: 0.7, Aim: 0.9}, []Series{kernel, ours}, 0.8, Met},
		"missed":            {Goal{Must: 0.81, Aim: 0.9}, []Series{kernel, ours}, 0.8, Missed},
		"no aim":            {Goal{Must: 0.7}, []Series{kernel, ours}, 0.8, Met},
		"at most, met":      {Goal{Metric: P99, Most: true, Must: 1.5, Aim: 1}, []Series{kernel, ours}, 1.25, Met},
		"at most, missed":   {Goal{Metric: P99, Most: true, Must: 1.2, Aim: 1}, []Series{kernel, ours}, 1.25, Missed},
		"at most, aim":      {Goal{Metric: P99, Most: true, Must: 3, Aim: 1.3}, []Series{kernel, ours}, 1.25, Aimed},
		"own":               {Goal{Metric: Loss, Own: true, Most: true, Must: 0.1}, []Series{kernel, ours}, 0.05, Met},
		"none and none":     {Goal{Metric: Retransmits, Most: true, Must: 1.1, Aim: 1}, []Series{kernel, ours}, 1, Aimed},
		"some and none":     {Goal{Metric: Retransmits, Most: true, Must: 1.1, Aim: 1}, []Series{kernel, worse}, math.MaxFloat64, Missed},
		"against another":   {Goal{Against: "ovs", Must: 1.3}, []Series{kernel, ours, ovs}, 2, Met},
		"another is away":   {Goal{Against: "ovs", Must: 1.3}, []Series{kernel, ours}, 0, Unmeasured},
		"no such metric":    {Goal{Metric: "x", Must: 1}, []Series{kernel, ours}, 0, Unmeasured},
		"no metric of ours": {Goal{Metric: "x", Own: true, Must: 1}, []Series{kernel, ours}, 0, Unmeasured},
		"we are away":       {Goal{Must: 1}, []Series{kernel, ovs}, 0, Unmeasured},
		"kernel is away":    {Goal{Must: 1}, []Series{ours, ovs}, 0, Unmeasured},
	} {
		r := Result{Case: Case{Goals: []Goal{test.goal}}, Series: test.series}
		v := r.Verdicts()[0]
		if math.Abs(v.Value-test.value) > 1e-9 || v.Word != test.word || (v.Word == Unmeasured) != (v.Reason != "") && test.word != Missed {
			t.Errorf("%s: %v %q (%s), want %v %q", name, v.Value, v.Word, v.Reason, test.value, test.word)
		}
		if _, err := json.Marshal(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A case with sides of its own compares the last one with the first.
func TestVerdictOfSides(t *testing.T) {
	c := Case{Sides: []Side{{"umacvlan", "1 alone", pair}, {"umacvlan", "1 of 4096", pair}}, Goals: []Goal{{Must: 0.97, Aim: 1}}}
	r := Result{Case: c, Series: []Series{series("1 alone", 10, 10), series("1 of 4096", 9.8, 9.8)}}
	if v := r.Verdicts()[0]; v.Word != Met || math.Abs(v.Value-0.98) > 1e-9 {
		t.Errorf("%+v", v)
	}
}

// Every row of what the project promises is a goal of a case, and no two goals
// have the same row and bounds for different things.
func TestEveryRowIsACase(t *testing.T) {
	rows := map[string]Goal{}
	for _, c := range Cases() {
		for _, g := range c.Goals {
			rows[g.Row] = g
		}
	}
	for row, want := range map[string][2]float64{
		"TCP 1 stream wire→vmac":                                                  {0.78, 0.95},
		"TCP 1 stream vmac→wire":                                                  {0.75, 0.95},
		"TCP 1 stream vmac→vmac (bridge)":                                         {0.70, 0.9},
		"TCP 8 streams to 8 vmacs, sum":                                           {0.75, 0.95},
		"TCP 8 streams to 8 vmacs, Jain fairness":                                 {0.95, 0.99},
		"60-byte frames wire→vmac, from one flat-out sender":                      {0.75, 0.95},
		"60-byte frames wire→vmac, loss in %":                                     {0.1, 0},
		"60-byte frames vmac→wire":                                                {0.65, 0.9},
		"UDP request/response p50":                                                {1, 0.5},
		"UDP request/response p99":                                                {1.5, 1},
		"TCP in with the default waking against the same without its yield phase": {0.97, 1},
		"TCP in on a parent shaped to 1 Gbit/s, rate":                             {0.99, 1},
		"TCP in on a parent shaped to 1 Gbit/s, retransmits":                      {1.1, 1},
		"broadcast from the wire to 64 vmacs, copies/s":                           {0.25, 0.33},
		"1 busy vmac among 4096, against 1 alone":                                 {0.97, 1},
		"host's own TCP through the parent, daemon running against not":           {0.97, 1},
		"quiet vmac's p99 while a sibling is flooded at full rate":                {3, 1.2},
		"idle CPU with 64 vmacs, % of a core":                                     {0.3, 0},
		"CPU seconds per GB of the whole system, TCP in":                          {1.6, 1.2},
		"TCP in, against Open vSwitch netdev (TSO on)":                            {1.3, 0},
		"60-byte in, against Open vSwitch netdev (TSO on)":                        {2, 0},
		"allocations per frame, in":                                               {0.005, 0},
		"allocations per frame, out":                                              {0.005, 0},
		"allocations per frame, sibling":                                          {0.005, 0},
		"allocations per frame, broadcast":                                        {0.005, 0},
	} {
		g, ok := rows[row]
		if !ok || g.Must != want[0] || g.Aim != want[1] {
			t.Errorf("%s: %+v", row, g)
		}
		delete(rows, row)
	}
	for row := range rows {
		t.Errorf("%s: not in the list", row)
	}
}
