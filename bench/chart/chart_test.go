package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// elements returns how often each element occurs, and fails if it isn't XML.
func elements(t *testing.T, svg []byte) map[string]int {
	t.Helper()
	n := map[string]int{}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok {
			n[e.Name.Local]++
		}
	}
}

func TestChart(t *testing.T) {
	nan := math.NaN()
	for name, test := range map[string]struct {
		chart  Chart
		points int // circles, those of the legend included
	}{
		"lines": {Chart{Title: `<b> & "c"`, X: "x<", Y: "y&", Lines: []Line{
			{`a<b`, []Point{{1, 2, 1, 3}, {2, 4, 4, 4}}}, {"b", []Point{{1, 3, 0, 0}, {3, 9, 0, 0}}},
		}}, 6},
		"categories":   {Chart{Ticks: []string{"60", "<512>"}, Lines: []Line{{"a", []Point{{0, 1, 0, 0}, {1, 5, 0, 0}}}}}, 3},
		"logarithmic":  {Chart{LogX: true, Lines: []Line{{"a", []Point{{0, 1, 0, 0}, {3, 1, 0, 0}, {5000, 5, 0, 0}}}}}, 3},
		"no line":      {Chart{}, 0},
		"no point":     {Chart{Lines: []Line{{"a", nil}}}, 1},
		"one point":    {Chart{Lines: []Line{{"a", []Point{{4, 0, 0, 0}}}}}, 2},
		"no figure":    {Chart{Lines: []Line{{"a", []Point{{4, nan, 0, 0}, {5, 1, 0, 0}, {6, math.Inf(1), 0, 0}}}}}, 2},
		"many lines":   {Chart{Lines: slices.Repeat([]Line{{"a long name of a contender", []Point{{1, 1, 0, 0}}}}, 12)}, 24},
		"tiny figures": {Chart{Lines: []Line{{"a", []Point{{1e-6, 1e-7, 0, 0}, {2e-6, 3e-7, 0, 0}}}}}, 3},
	} {
		svg := test.chart.SVG()
		if n := elements(t, svg)["circle"]; n != test.points {
			t.Errorf("%s: %d points, want %d", name, n, test.points)
		}
		if s := string(svg); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
			t.Errorf("%s: a figure that is none\n%s", name, s)
		}
		for _, m := range regexp.MustCompile(`cx="([^"]*)" cy="([^"]*)"`).FindAllSubmatch(svg, -1) {
			x, _ := strconv.ParseFloat(string(m[1]), 64)
			y, _ := strconv.ParseFloat(string(m[2]), 64)
			if x < left || x > width-right+8 || y < 0 || y > height-bottom {
				t.Errorf("%s: a point at %v, %v is outside", name, x, y)
			}
		}
	}
}

// Figures are written out, and as many as there is room for.
func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{0.5: "0.5", 9999: "9999", 20000: "20000", 123456: "123456", 1e-7: "1e-07"} {
		if got := figure(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	for last, want := range map[float64]bool{5e4: true, 5e5: false} {
		svg := Chart{LogX: true, Lines: []Line{{"a", []Point{{10, 1, 0, 0}, {last, 1, 0, 0}}}}}.SVG()
		if !strings.Contains(string(svg), ">1000<") || strings.Contains(string(svg), ">2000<") != want {
			t.Errorf("10 to %v: a tick at 2000: %v", last, !want)
		}
	}
}

// A higher value is drawn higher, a larger one farther to the right.
func TestPlane(t *testing.T) {
	for _, log := range []bool{false, true} {
		c := Chart{LogX: log, Lines: []Line{{"a", []Point{{1, 10, 0, 0}, {100, 20, 5, 30}}}}}
		p := c.plane()
		if p.x(1) >= p.x(100) || p.y(10) <= p.y(20) || p.y(0) != height-bottom || p.y(30) < top-0.1 {
			t.Errorf("log %v: %+v", log, p)
		}
	}
	if got := ticks(17); !slices.Equal(got, []float64{0, 5, 10, 15}) {
		t.Errorf("ticks up to 17: %v", got)
	}
	if got := ticks(0.9); len(got) != 5 || got[1] != 0.2 {
		t.Errorf("ticks up to 0.9: %v", got)
	}
}
