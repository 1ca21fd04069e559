// Package chart draws lines over two axes as SVG that fits light and dark pages.
// It knows nothing of what they mean. Pictures are small and need no font, no
// script and no other file. (gonum.org/v1/plot would add nine megabytes to a
// binary that is meant for routers too, fonts mostly, and draws for one
// background only.)
package chart

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Point is one measured value; Low and High are its spread, both 0 if it has
// none.
type Point struct{ X, Y, Low, High float64 }

// Line is a named list of points, in order of X.
type Line struct {
	Name   string
	Points []Point
}

// Chart is a picture. Y begins at 0.
type Chart struct {
	Title, X, Y string
	Ticks       []string // what stands at X = 0, 1, 2 …, instead of figures
	LogX        bool     // powers of ten at equal distances; points with X ≤ 0 are left out
	Lines       []Line
}

// Measures, in pixels.
const (
	width, height = 760, 420
	left, right   = 72, 24
	top, bottom   = 84, 56
)

// colours of lines, on light and on dark pages; they differ in brightness too.
var colours = [][2]string{
	{"#57606a", "#a3adb8"}, {"#0969da", "#79c0ff"}, {"#bc4c00", "#ffa657"}, {"#1a7f37", "#56d364"},
	{"#8250df", "#c297ff"}, {"#bf3989", "#f778ba"}, {"#4d2d00", "#e3b341"}, {"#0a6c74", "#76e3ea"},
}

// plane maps values to pixels.
type plane struct {
	log      bool
	min, max float64 // of x, or of its logarithm
	top      float64 // of y
}

func (p plane) x(v float64) float64 {
	if p.log {
		v = math.Log10(v)
	}
	return left + (v-p.min)/(p.max-p.min)*(width-left-right)
}

func (p plane) y(v float64) float64 { return height - bottom - v/p.top*(height-top-bottom) }

// SVG returns the picture.
func (c Chart) SVG() []byte {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p := c.plane()
	add(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`, width, height, width, height)
	add(`  <title>%s</title>`, html.EscapeString(c.Title))
	add("  <style>%s  </style>", style())
	add(`  <rect class="page" width="%d" height="%d"/>`, width, height)
	add(`  <text x="%d" y="28" class="title">%s</text>`, left, html.EscapeString(c.Title))
	c.legend(add)
	for _, v := range ticks(p.top) {
		add(`  <path class="grid" d="M%d %.1fH%d"/>`, left, p.y(v), width-right)
		add(`  <text x="%d" y="%.1f" class="e">%s</text>`, left-8, p.y(v)+4, figure(v))
	}
	c.xTicks(p, add)
	add(`  <text x="%d" y="%d" class="c">%s</text>`, (left+width-right)/2, height-12, html.EscapeString(c.X))
	add(`  <text transform="translate(18 %d) rotate(-90)" class="c">%s</text>`, (top+height-bottom)/2, html.EscapeString(c.Y))
	for i, l := range c.Lines {
		c.line(p, i, l, add)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// drawable leaves out what has no place.
func (c Chart) drawable(points []Point) (list []Point) {
	for _, q := range points {
		if !math.IsNaN(q.Y) && !math.IsInf(q.Y, 0) && (!c.LogX || q.X > 0) {
			list = append(list, q)
		}
	}
	return list
}

func (c Chart) plane() plane {
	p := plane{log: c.LogX, min: math.Inf(1), max: math.Inf(-1)}
	for _, l := range c.Lines {
		for _, q := range c.drawable(l.Points) {
			x := q.X
			if c.LogX {
				x = math.Log10(x)
			}
			p.min, p.max = min(p.min, x), max(p.max, x)
			p.top = max(p.top, q.Y, q.High)
		}
	}
	switch {
	case c.Ticks != nil:
		p.min, p.max = -0.4, float64(len(c.Ticks))-0.6
	case p.min > p.max: // no point at all
		p.min, p.max = 0, 1
	case p.min == p.max:
		p.min, p.max = p.min-0.5, p.max+0.5
	case !c.LogX:
		p.min = min(0, p.min)
	}
	if p.top == 0 {
		p.top = 1
	}
	list := ticks(p.top)
	if last := list[len(list)-1]; last < p.top { // the uppermost line is a round figure
		p.top = last + list[1]
	}
	return p
}

func (c Chart) legend(add func(string, ...any)) {
	x, y := left, 52
	for i, l := range c.Lines {
		w := 26 + 8*len([]rune(l.Name))
		if x+w > width-right && x > left {
			x, y = left, y+18
		}
		add(`  <path class="l%d" d="M%d %dh14"/><circle class="p%d" cx="%d" cy="%d" r="3.5"/>`, i%len(colours), x, y-4, i%len(colours), x+7, y-4)
		add(`  <text x="%d" y="%d">%s</text>`, x+20, y, html.EscapeString(l.Name))
		x += w + 12
	}
}

func (c Chart) xTicks(p plane, add func(string, ...any)) {
	mark := func(v float64, text string) {
		add(`  <path class="grid" d="M%.1f %dv6"/>`, p.x(v), height-bottom)
		add(`  <text x="%.1f" y="%d" class="c">%s</text>`, p.x(v), height-bottom+20, html.EscapeString(text))
	}
	switch {
	case c.Ticks != nil:
		for i, text := range c.Ticks {
			mark(float64(i), text)
		}
	case c.LogX:
		steps := []float64{1, 2, 5}
		if p.max-p.min > 4 { // no room
			steps = steps[:1]
		}
		for e := math.Floor(p.min); e <= p.max; e++ {
			for _, m := range steps {
				if v := m * math.Pow(10, e); math.Log10(v) >= p.min && math.Log10(v) <= p.max {
					mark(v, figure(v))
				}
			}
		}
	default:
		for _, v := range ticks(p.max) {
			if v >= p.min {
				mark(v, figure(v))
			}
		}
	}
}

func (c Chart) line(p plane, i int, l Line, add func(string, ...any)) {
	i %= len(colours)
	var d strings.Builder
	points := c.drawable(l.Points)
	for k, q := range points {
		op := "L"
		if k == 0 {
			op = "M"
		}
		fmt.Fprintf(&d, "%s%.1f %.1f", op, p.x(q.X), p.y(q.Y))
	}
	if len(points) > 1 {
		add(`  <path class="l%d" d="%s"/>`, i, d.String())
	}
	for _, q := range points {
		if q.High > q.Low {
			add(`  <path class="s%d" d="M%.1f %.1fV%.1f"/>`, i, p.x(q.X), p.y(q.Low), p.y(q.High))
		}
		add(`  <circle class="p%d" cx="%.1f" cy="%.1f" r="3.5"><title>%s: %s</title></circle>`, i, p.x(q.X), p.y(q.Y), html.EscapeString(l.Name), figure(q.Y))
	}
}

// ticks are about five round figures from 0 up to at most limit.
func ticks(limit float64) (list []float64) {
	step := math.Pow(10, math.Floor(math.Log10(limit/5)))
	for _, m := range []float64{1, 2, 5, 10} {
		if limit/(step*m) <= 6 {
			step *= m
			break
		}
	}
	for i := 0; float64(i)*step <= limit*1.0001; i++ {
		list = append(list, float64(i)*step)
	}
	return list
}

func figure(v float64) string {
	if v >= 1e4 && v < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func style() string {
	var b strings.Builder
	rules := func(dark int) {
		for i, c := range colours {
			fmt.Fprintf(&b, "    .l%d { fill: none; stroke: %s; stroke-width: 2 } .p%d { fill: %s } .s%d { stroke: %s; stroke-width: 1.5; opacity: .6 }\n", i, c[dark], i, c[dark], i, c[dark])
		}
	}
	b.WriteString(`
    text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
    .title { font-size: 18px; font-weight: 600 } .c { text-anchor: middle } .e { text-anchor: end }
    .page { fill: #fff } .grid { stroke: #d8dee4; stroke-width: 1 }
`)
	rules(0)
	b.WriteString("    @media (prefers-color-scheme: dark) {\n    text { fill: #e6edf3 } .page { fill: #0d1117 } .grid { stroke: #2d343d }\n")
	rules(1)
	b.WriteString("    }\n")
	return b.String()
}
