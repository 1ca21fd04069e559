package bench

import (
	"cmp"
	"fmt"
	"math"
)

// Subject is the contender that goals are about.
const Subject = "umacvlan"

// Goal is one line of what the project promises. Whether it is met is said, and
// is no error: figures belong to the machine.
type Goal struct {
	Row     string `json:"row"`
	Metric  string `json:"metric,omitempty"`  // "" is the sample's value
	Against string `json:"against,omitempty"` // the contender that it is compared with; "" is the baseline
	Own     bool   `json:"own,omitempty"`     // compared with nothing

	Must float64 `json:"must"`
	Aim  float64 `json:"aim,omitempty"`
	Most bool    `json:"most,omitempty"` // Must and Aim are upper bounds
}

// The words of a Verdict.
const (
	Aimed      = "aim reached"
	Met        = "met"
	Missed     = "missed"
	Unmeasured = "not measured"
)

// Verdict is what became of a goal.
type Verdict struct {
	Goal   Goal    `json:"goal"`
	Case   string  `json:"case"`
	Value  float64 `json:"value,omitempty"` // a ratio, unless Goal.Own
	Word   string  `json:"word"`
	Reason string  `json:"reason,omitempty"` // why it was not measured
}

// Verdicts returns what became of the case's goals.
func (r Result) Verdicts() (list []Verdict) {
	for _, g := range r.Case.Goals {
		list = append(list, r.verdict(g))
	}
	return list
}

func (r Result) verdict(g Goal) Verdict {
	v := Verdict{Goal: g, Case: r.Case.Key, Word: Unmeasured}
	subject := r.subject()
	if subject == nil {
		v.Reason = Subject + " took no part"
		return v
	}
	var q Spread
	if g.Own {
		values := subject.values(g.Metric)
		if len(values) == 0 {
			v.Reason = "there is no " + g.Metric
			return v
		}
		q = spread(values)
	} else {
		base := r.baseline(g)
		if base == nil {
			v.Reason = cmp.Or(g.Against, "the baseline") + " took no part"
			return v
		}
		if base.Failed != "" {
			v.Reason = base.Contender + " failed"
			return v
		}
		q = compare(*subject, *base, g.Metric)
	}
	if math.IsNaN(q.Median) || math.IsInf(q.Median, 0) && !g.Most {
		v.Reason = "there is no " + cmp.Or(g.Metric, "value")
		return v
	}
	v.Value = q.Median
	switch {
	case math.IsInf(q.Median, 0): // JSON has no word for it
		v.Value, v.Word, v.Reason = math.MaxFloat64, Missed, "the baseline has none"
	case g.aims() && g.meets(q.Median, g.Aim):
		v.Word = Aimed
	case g.meets(q.Median, g.Must):
		v.Word = Met
	default:
		v.Word = Missed
	}
	return v
}

// subject is the last series of the contender that goals are about: with sides
// of its own a case may have it twice.
func (r Result) subject() *Series {
	if n := len(r.Case.Sides); n > 0 && len(r.Series) > 0 && r.Case.Sides[n-1].Contender == Subject {
		return r.series(r.Case.Sides[n-1].Label)
	}
	return r.series(Subject)
}

func (r Result) baseline(g Goal) *Series {
	switch {
	case g.Against != "":
		return r.series(titleOf(g.Against))
	case len(r.Case.Sides) > 0:
		return r.series(r.Case.Sides[0].Label)
	}
	return r.series(titleOf("kernel"))
}

// aims reports whether there is an aim beyond what must be.
func (g Goal) aims() bool { return g.Aim != 0 }

func (g Goal) meets(value, bound float64) bool {
	if g.Most {
		return value <= bound
	}
	return value >= bound
}

// Bounds says what must be and what is aimed at, "≥ 0.78" and "≥ 0.95"; "" is
// no aim.
func (g Goal) Bounds() (must, aim string) {
	sign := "≥ "
	if g.Most {
		sign = "≤ "
	}
	must, aim = fmt.Sprintf("%s%.4g", sign, g.Must), ""
	if g.aims() {
		aim = fmt.Sprintf("%s%.4g", sign, g.Aim)
	}
	return must, aim
}

// GoalLines says briefly what a case's goals are.
func (c Case) GoalLines() (lines []string) {
	for _, g := range c.Goals {
		must, aim := g.Bounds()
		line := must
		if g.Metric != "" {
			line = g.Metric + " " + line
		}
		if !g.Own {
			line += "×"
		}
		if g.Against != "" {
			line += " " + titleOf(g.Against)
		}
		if aim != "" {
			line += " (" + aim + ")"
		}
		lines = append(lines, line)
	}
	return lines
}
