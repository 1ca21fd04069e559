package bench

import (
	"maps"
	"slices"
)

// Sample is one repetition.
type Sample struct {
	Value float64            `json:"value"`           // in the case's unit
	Notes map[string]float64 `json:"notes,omitempty"` // such as "retransmits"
	Drops map[string]uint64  `json:"drops,omitempty"` // frames that the emulator dropped, by reason
}

// Series is what one contender did, in order of the repetitions.
type Series struct {
	Contender string   `json:"contender"`
	Samples   []Sample `json:"samples"`
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
func (s Series) Spread() Spread {
	v := make([]float64, len(s.Samples))
	for i := range v {
		v[i] = s.Samples[i].Value
	}
	return spread(v)
}

// Notes returns the spread of each note over the samples that have it.
func (s Series) Notes() map[string]Spread {
	values := map[string][]float64{}
	for _, sample := range s.Samples {
		for k, v := range sample.Notes {
			values[k] = append(values[k], v)
		}
	}
	m := map[string]Spread{}
	for k, v := range values {
		m[k] = spread(v)
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
func (r Result) Ratio(i int) Spread {
	base, s := r.Series[0], r.Series[i]
	pairs := make([]float64, len(s.Samples))
	for k := range pairs {
		pairs[k] = s.Samples[k].Value / base.Samples[k].Value
	}
	q := spread(pairs)
	q.Median = s.Spread().Median / base.Spread().Median
	return q
}

// BelowFloor reports whether contender number i stays under the case's floor.
func (r Result) BelowFloor(i int) bool { return r.Ratio(i).Median < r.Case.Floor }
