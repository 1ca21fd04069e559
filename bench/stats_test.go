package bench

import (
	"math"
	"slices"
	"testing"
)

func series(name string, values ...float64) Series {
	s := Series{Contender: name}
	for _, v := range values {
		s.Samples = append(s.Samples, Sample{Value: v})
	}
	return s
}

// with gives each sample a metric.
func (s Series) with(metric string, values ...float64) Series {
	for i, v := range values {
		s.Samples[i].note(map[string]float64{metric: v})
	}
	return s
}

func TestRatio(t *testing.T) {
	r := Result{Case: Case{Floor: 0.6}, Series: []Series{series("a", 10, 20, 12, 8, 10), series("b", 5, 6, 9, 8, 7)}}
	if got, want := r.Ratio(1), (Spread{0.7, 0.3, 1}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if r.BelowFloor(1) {
		t.Error("0.7 is below 0.6")
	}
	r.Case.Floor = 0.71
	if !r.BelowFloor(1) {
		t.Error("0.7 is not below 0.71")
	}
	r.Series[1] = Series{Failed: "why"}
	if !r.BelowFloor(1) {
		t.Error("what has failed is above its floor")
	}
	r.Case.Floor = 0
	if r.BelowFloor(1) {
		t.Error("below a floor that there isn't")
	}
	if got := series("c", 4, 1, 2, 3).Spread(); got != (Spread{2.5, 1, 4}) {
		t.Errorf("even number: %v", got)
	}
	if m := Median([]float64{9, 1, 5}); m != 5 {
		t.Errorf("median %v", m)
	}
}

func TestCompareMetrics(t *testing.T) {
	none := series("a", 1, 1, 1).with(Retransmits, 0, 0, 0)
	few := series("b", 1, 1, 1).with(Retransmits, 0, 0, 3)
	many := series("c", 1, 1, 1).with(Retransmits, 4, 5, 6)
	if q := compare(few, none, Retransmits); q.Median != 1 || q.Max != math.Inf(1) {
		t.Errorf("few against none: %v", q)
	}
	if q := compare(many, none, Retransmits); q.Median != math.Inf(1) {
		t.Errorf("many against none: %v", q)
	}
	if q := compare(many, few, "x"); !math.IsNaN(q.Median) {
		t.Errorf("what nobody has: %v", q)
	}
	m := many.Metrics()
	if len(m) != 1 || m[Retransmits] != (Spread{5, 4, 6}) {
		t.Errorf("metrics %v", m)
	}
}

func TestJain(t *testing.T) {
	for _, test := range []struct {
		shares []float64
		want   float64
	}{
		{[]float64{3, 3, 3, 3}, 1},
		{[]float64{8, 0, 0, 0, 0, 0, 0, 0}, 0.125},
		{[]float64{1, 2}, 0.9},
		{[]float64{0, 0}, 1},
	} {
		if got := jain(test.shares); math.Abs(got-test.want) > 1e-12 {
			t.Errorf("%v: %v, want %v", test.shares, got, test.want)
		}
	}
}

func TestLatencies(t *testing.T) {
	var nanos []uint32
	for i := range 1000 {
		nanos = append(nanos, uint32(1000-i)*1000)
	}
	q := latencies(nanos)
	if !slices.IsSortedFunc(q, func(a, b Quantile) int { return int(a.Micros - b.Micros) }) {
		t.Errorf("not sorted: %v", q)
	}
	for share, want := range map[float64]float64{0.01: 10, 0.5: 500, 0.99: 990, 0.999: 999, 1: 1000} {
		i := slices.IndexFunc(q, func(q Quantile) bool { return q.Share == share })
		if i < 0 || q[i].Micros != want {
			t.Errorf("share %v: %v, want %v", share, q, want)
		}
	}
	if q := latencies([]uint32{7000}); q[0].Micros != 7 || q[len(q)-1].Micros != 7 {
		t.Errorf("of one: %v", q)
	}
}
