package bench

import (
	"strings"
	"testing"
)

func series(name string, values ...float64) Series {
	s := Series{Contender: name}
	for _, v := range values {
		s.Samples = append(s.Samples, Sample{Value: v})
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
	if got := series("c", 4, 1, 2, 3).Spread(); got != (Spread{2.5, 1, 4}) {
		t.Errorf("even number: %v", got)
	}
}

func TestTable(t *testing.T) {
	b := series("b", 8, 9)
	b.Samples[0].Notes = map[string]float64{"retransmits": 3}
	b.Samples[0].Drops = map[string]uint64{"tap_down": 2}
	b.Samples[1].Drops = map[string]uint64{"tap_down": 5, "wire_busy": 0}
	r := Result{Case: Case{Title: "TCP in", Unit: "Gbit/s", Floor: 0.5}, Series: []Series{series("a", 10, 20), b}}
	var out strings.Builder
	if err := WriteTable(&out, []Result{r}); err != nil {
		t.Fatal(err)
	}
	const want = `traffic  unit    a                 b                 ratio             floor
TCP in   Gbit/s  15.0 (10.0–20.0)  8.50 (8.00–9.00)  0.57 (0.45–0.80)  0.50
  TCP in, b: retransmits 3.00, dropped 7 tap_down
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
