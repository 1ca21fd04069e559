package bench

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/umacvlan/umacvlan/bench/chart"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"bounds": func(g Goal) string {
		must, aim := g.Bounds()
		if aim == "" {
			return must
		}
		return must + " (aim " + aim + ")"
	},
	"ratio":    Result.ratio,
	"measured": Result.measured,
	"figure":   func(v float64) string { return fmt.Sprintf("%.3g", v) },
}).Parse(pageText))

// Picture is a file's name and what is in it.
type Picture struct {
	Name string
	SVG  []byte
}

// Pictures draws what the results have figures for.
func (r *Report) Pictures() (list []Picture) {
	add := func(name string, c chart.Chart) {
		for _, l := range c.Lines {
			if len(l.Points) > 1 {
				list = append(list, Picture{name + ".svg", c.SVG()})
				return
			}
		}
	}
	for _, way := range []Way{In, Out, Sibling} {
		add("size-"+string(way), r.overSize(way))
	}
	add("vmacs", r.overVmacs())
	for _, c := range []string{"request-in", "request-out", "request-sibling", "request-flood"} {
		add(c, r.latency(c))
	}
	for _, way := range []Way{In, Out} {
		add("loss-"+string(way), r.loss(way))
	}
	return list
}

// collect makes a line per contender from the cases that at gives an x.
func (r *Report) collect(at func(c Case) (x float64, ok bool), y func(s Series) (Spread, bool)) (lines []chart.Line) {
	for _, result := range r.Results {
		x, ok := at(result.Case)
		if !ok || result.Case.Sides != nil {
			continue
		}
		for _, s := range result.Series {
			v, ok := y(s)
			if !ok {
				continue
			}
			i := slices.IndexFunc(lines, func(l chart.Line) bool { return l.Name == s.Contender })
			if i < 0 {
				i, lines = len(lines), append(lines, chart.Line{Name: s.Contender})
			}
			lines[i].Points = append(lines[i].Points, chart.Point{X: x, Y: v.Median, Low: v.Min, High: v.Max})
		}
	}
	lines = slices.DeleteFunc(lines, func(l chart.Line) bool { return len(l.Points) < 2 }) // took part in one case
	for _, l := range lines {
		slices.SortStableFunc(l.Points, func(a, b chart.Point) int { return cmp.Compare(a.X, b.X) })
	}
	return lines
}

// metric is the spread of a metric, if a series has it.
func metric(name string) func(s Series) (Spread, bool) {
	return func(s Series) (Spread, bool) {
		v := s.values(name)
		if len(v) == 0 {
			return Spread{}, false
		}
		return spread(v), true
	}
}

// plain reports whether nothing but the size of frames is special in a case.
func plain(c Case, way Way) bool {
	return c.Kind == Frames && c.Way == way && c.Rate == 0 && c.Scene == pair && !c.Broadcast && !c.Spread
}

func (r *Report) overSize(way Way) chart.Chart {
	order := []int{Smallest, 512, Largest, Mix, Super}
	ticks := []string{"60", "512", "1514", "mix of 60, 590, 1514", "64 KiB (GSO)"}
	return chart.Chart{
		Title: "Frames " + arrows[way] + ", flat out", X: "bytes of a frame", Y: "Gbit/s", Ticks: ticks,
		Lines: r.collect(func(c Case) (float64, bool) {
			return float64(slices.Index(order, c.Size)), plain(c, way)
		}, metric("Gbit/s")),
	}
}

func (r *Report) overVmacs() chart.Chart {
	return chart.Chart{
		Title: "60-byte frames to all vmacs in turn", X: "vmacs", Y: "kframes/s", LogX: true,
		Lines: r.collect(func(c Case) (float64, bool) {
			return float64(c.Scene.Crowd), c.Kind == Frames && c.Spread && !c.Broadcast
		}, metric("")),
	}
}

func (r *Report) loss(way Way) chart.Chart {
	return chart.Chart{
		Title: "60-byte frames " + arrows[way] + ": loss at what is offered", X: "thousand frames offered a second", Y: "loss %",
		Lines: r.collect(func(c Case) (float64, bool) {
			return float64(c.Rate) / 1e3, c.Kind == Frames && c.Way == way && c.Rate > 0
		}, metric(Loss)),
	}
}

// latency draws for each contender the repetition that is nearest to its median.
func (r *Report) latency(key string) chart.Chart {
	c := chart.Chart{X: "µs", Y: "answered within, %", LogX: true}
	for _, result := range r.Results {
		if result.Case.Key != key {
			continue
		}
		c.Title = result.Case.Title
		for _, s := range result.Series {
			if s.Failed != "" {
				continue
			}
			line := chart.Line{Name: s.Contender}
			for _, q := range s.typical().Latency {
				line.Points = append(line.Points, chart.Point{X: q.Micros, Y: 100 * q.Share})
			}
			c.Lines = append(c.Lines, line)
		}
	}
	return c
}

// typical is the sample whose value is nearest to the median.
func (s Series) typical() (best Sample) {
	m := s.Spread().Median
	for i, x := range s.Samples {
		if i == 0 || math.Abs(x.Value-m) < math.Abs(best.Value-m) {
			best = x
		}
	}
	return best
}

// WritePictures writes the pictures, and index.html, which shows them and needs
// none of the other files.
func (r *Report) WritePictures(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	pictures := r.Pictures()
	data := struct {
		*Report
		Inline []template.HTML
	}{Report: r}
	for _, p := range pictures {
		if err := os.WriteFile(filepath.Join(dir, p.Name), p.SVG, 0o644); err != nil {
			return err
		}
		data.Inline = append(data.Inline, template.HTML(p.SVG)) // made by us, every text in it escaped
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.html"), b.Bytes(), 0o644)
}
