package bench

import (
	"maps"
	"math"
	"slices"
)

// Sample is one repetition.
type Sample struct {
	Value   float64            `json:"value"`             // in the case's unit
	Metrics map[string]float64 `json:"metrics,omitempty"` // such as "retransmits"
	Drops   map[string]uint64  `json:"drops,omitempty"`   // frames that the emulator dropped, by reason
	Latency []Quantile         `json:"latency,omitempty"` // of requests
}

// Quantile says that a share of all requests was answered within a time.
type Quantile struct {
	Share  float64 `json:"share"`
	Micros float64 `json:"µs"`
}

// Series is what one contender did, in order of the repetitions.
type Series struct {
	Contender string   `json:"contender"`
	Path      string   `json:"path,omitempty"` // the data path that carried the traffic
	Samples   []Sample `json:"samples"`
	// Failed is why there are no samples: a turn of a switch that is neither
	// ours nor the baseline didn't come to its end.
	Failed string `json:"failed,omitempty"`
}

// Result is one case: a series per contender, the baseline's first.
type Result struct {
	Case   Case     `json:"case"`
	Series []Series `json:"series"`
}

// Spread is a median and the extremes around it.
type Spread struct{ Median, Min, Max float64 }

// spread panics on an empty list.
func spread(values []float64) Spread {
	v := slices.Sorted(slices.Values(values))
	s := Spread{Min: v[0], Max: v[len(v)-1], Median: v[len(v)/2]}
	if len(v)%2 == 0 {
		s.Median = (s.Median + v[len(v)/2-1]) / 2
	}
	return s
}

// Spread of the samples' values.
func (s Series) Spread() Spread { return spread(s.values("")) }

// values returns a metric of each sample that has it, or their values if no
// metric is named.
func (s Series) values(metric string) (list []float64) {
	for _, sample := range s.Samples {
		if metric == "" {
			list = append(list, sample.Value)
		} else if v, ok := sample.Metrics[metric]; ok {
			list = append(list, v)
		}
	}
	return list
}

// Metrics returns the spread of each metric over the samples that have it.
func (s Series) Metrics() map[string]Spread {
	m := map[string]Spread{}
	for _, sample := range s.Samples {
		for k := range sample.Metrics {
			if _, ok := m[k]; !ok {
				m[k] = spread(s.values(k))
			}
		}
	}
	return m
}

// Drops returns the sums over all samples.
func (s Series) Drops() map[string]uint64 {
	sum := map[string]uint64{}
	for _, sample := range s.Samples {
		for k, n := range sample.Drops {
			sum[k] += n
		}
	}
	maps.DeleteFunc(sum, func(_ string, n uint64) bool { return n == 0 })
	return sum
}

// Ratio compares contender number i with the baseline: the quotient of the
// medians, and the smallest and largest quotient of two neighbouring
// repetitions.
func (r Result) Ratio(i int) Spread { return compare(r.Series[i], r.Series[0], "") }

// compare is Ratio for a metric. Nothing compared with nothing is 1.
func compare(s, base Series, metric string) Spread {
	a, b := s.values(metric), base.values(metric)
	n := min(len(a), len(b))
	if n == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	pairs := make([]float64, n)
	for k := range pairs {
		pairs[k] = quotient(a[k], b[k])
	}
	q := spread(pairs)
	q.Median = quotient(spread(a).Median, spread(b).Median)
	return q
}

func quotient(a, b float64) float64 {
	if a == b {
		return 1
	}
	return a / b
}

// BelowFloor reports whether contender number i stays under the case's floor, as
// one without figures does.
func (r Result) BelowFloor(i int) bool {
	return r.Case.Floor > 0 && !(r.Ratio(i).Median >= r.Case.Floor)
}

// series returns what a contender did, nil if it took no part.
func (r Result) series(contender string) *Series {
	for i := range r.Series {
		if r.Series[i].Contender == contender {
			return &r.Series[i]
		}
	}
	return nil
}

// jain is Jain's index of fairness: 1 if all have the same, 1/n if one has all.
func jain(shares []float64) float64 {
	var sum, squares float64
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(shares)) * squares)
}

// quantile returns the smallest of sorted values that a share of all does not
// exceed.
func quantile(sorted []uint32, share float64) uint32 {
	return sorted[max(0, min(len(sorted)-1, int(math.Ceil(share*float64(len(sorted))))-1))]
}

// latencies sorts times in nanoseconds and returns where the shares lie that a
// picture of them needs.
func latencies(nanos []uint32) []Quantile {
	slices.Sort(nanos)
	var q []Quantile
	for _, share := range []float64{
		0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999, 1,
	} {
		q = append(q, Quantile{share, float64(quantile(nanos, share)) / 1e3})
	}
	return q
}

// Median of values, of which there must be at least one.
func Median(values []float64) float64 { return spread(values).Median }
