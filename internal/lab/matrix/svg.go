package matrix

import (
	"fmt"
	"html"
	"strings"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Measures of the picture, in pixels.
const (
	svgMargin = 24
	svgLabel  = 236 // width of the labels
	svgSlot   = 26  // width of an end
	svgGap    = 16  // between blocks
	svgRow    = 24
	svgRadius = 9
)

// svgStyle holds every colour, for light and dark backgrounds.
const svgStyle = `
    text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
    .title { font-size: 20px; font-weight: 600 } .head { font-weight: 600 } .small { font-size: 12px; fill: #59636e }
    .c { text-anchor: middle } .in { text-anchor: middle; font-size: 11px; font-weight: 700; fill: #fff }
    .page { fill: #fff } .band { fill: #f3f5f7 } .line { stroke: #d8dee4; stroke-width: 1 } .none { fill: #c4ccd4 }
    .sender { fill: #59636e } .ring { fill: none; stroke: #d1242f; stroke-width: 2 }
    .H { fill: #1a7f37 } .B { fill: #bc4c00 } .M { fill: #8250df } .O { fill: #57606a } .N { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .small { fill: #9198a1 } .in { fill: #0d1117 }
      .page { fill: #0d1117 } .band { fill: #171d26 } .line { stroke: #2d343d } .none { fill: #4a535e }
      .sender { fill: #9198a1 } .ring { stroke: #ff7b72 }
      .H { fill: #56d364 } .B { fill: #ffa657 } .M { fill: #c297ff } .O { fill: #a3adb8 } .N { fill: #79c0ff }
    }
`

// picture is an SVG that grows downward.
type picture struct {
	strings.Builder
	m     *Matrix
	y     int
	width int
}

// SVG returns the matrix as a picture that fits light and dark pages.
func (m *Matrix) SVG() []byte {
	p := &picture{m: m, y: svgMargin + 18}
	for _, t := range m.Tables {
		x := 2*svgMargin + svgLabel
		for _, b := range t.Blocks {
			x += b.pixels() + svgGap
		}
		p.width = max(p.width, x-svgGap)
	}
	p.text(svgMargin, "title", "Who receives which frame")
	p.legend()
	for _, t := range m.Tables {
		p.table(t)
	}
	p.y += 4
	for _, line := range m.verdict() {
		p.y += 20
		p.text(svgMargin, "small", line)
	}
	height := p.y + svgMargin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", p.width, height, p.width, height)
	b.WriteString("  <title>By mode, kind of frame and sender: who receives it</title>\n")
	fmt.Fprintf(&b, "  <style>%s  </style>\n", svgStyle)
	fmt.Fprintf(&b, `  <rect class="page" width="%d" height="%d"/>`+"\n", p.width, height)
	b.WriteString(p.String())
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func (b Block) pixels() int { return len(b.Ends) * svgSlot }

func (p *picture) add(format string, args ...any) { fmt.Fprintf(p, "  "+format+"\n", args...) }

func (p *picture) text(x int, class, s string) {
	p.add(`<text x="%d" y="%d" class="%s">%s</text>`, x, p.y, class, html.EscapeString(s))
}

func (p *picture) legend() {
	p.y += 30
	x := svgMargin
	for _, l := range letters {
		p.glyph(x+svgRadius, answer{ours: l.letter, kernel: l.letter})
		s := l.name + ": " + l.means
		p.text(x+2*svgRadius+7, "small", s)
		x += 2*svgRadius + 7 + len(s)*13/2 + 18
	}
	p.y += 24
	p.glyph(svgMargin+svgRadius, answer{ours: nothing, kernel: nothing})
	p.text(svgMargin+2*svgRadius+7, "small", "nothing")
	p.glyph(svgMargin+90+svgRadius, answer{ours: nothing, kernel: nothing, sender: true})
	p.text(svgMargin+90+2*svgRadius+7, "small", "the sender")
	p.text(svgMargin+200, "small", "1 2 p1 …: the vmacs;  h: the stack of the host that has the parent;  w: the other end of the wire")
	p.y += 24
	p.glyph(svgMargin+svgRadius, answer{ours: 'O', kernel: nothing})
	p.text(svgMargin+2*svgRadius+7, "small", "not alike: the left half is umacvlan's answer, the right half the kernel's")
}

func (p *picture) table(t Table) {
	p.y += 46
	p.text(svgMargin, "head", t.Title)
	top := p.y + 12
	rows := len(t.Sections)
	for _, s := range t.Sections {
		rows += len(s.Rows)
	}
	bottom := top + 46 + rows*svgRow
	x := svgMargin + svgLabel
	for _, b := range t.Blocks {
		p.add(`<rect class="band" x="%d" y="%d" width="%d" height="%d" rx="4"/>`, x-4, top, b.pixels()+8, bottom-top)
		p.y = top + 18
		p.text(x+b.pixels()/2, "head c", b.Name)
		p.y = top + 38
		for i, e := range b.Ends {
			p.text(x+i*svgSlot+svgSlot/2, "small c", short(e))
		}
		x += b.pixels() + svgGap
	}
	right := x - svgGap
	p.y = top + 46
	for _, s := range t.Sections {
		p.y += svgRow
		p.y -= 7
		p.text(svgMargin, "head", s.Title)
		p.y += 7
		for _, r := range s.Rows {
			p.add(`<line class="line" x1="%d" y1="%d" x2="%d" y2="%d"/>`, svgMargin, p.y, right, p.y)
			p.y += svgRow
			p.row(t, r)
		}
	}
	p.y = bottom
}

// row draws what stands above p.y.
func (p *picture) row(t Table, r Row) {
	p.y -= 8
	p.text(svgMargin+12, "", r.Label)
	x := svgMargin + svgLabel
	for i, b := range t.Blocks {
		if c := r.Cells[i]; c.Sent {
			for j, end := range b.Ends {
				p.glyph(x+j*svgSlot+svgSlot/2, p.m.answer(c, end))
			}
		} else {
			p.text(x+b.pixels()/2, "small c", "–")
		}
		x += b.pixels() + svgGap
	}
	p.y += 8
}

// glyph draws an answer whose text would stand at p.y.
func (p *picture) glyph(x int, a answer) {
	y := p.y - 4
	switch {
	case a.differs():
		const r = svgRadius
		for _, half := range []struct {
			letter byte
			sweep  int
		}{{a.ours, 0}, {a.kernel, 1}} {
			if half.letter != nothing {
				p.add(`<path class="%s" d="M%d %d A%d %d 0 0 %d %d %d Z"/>`, class(half.letter), x, y-r, r, r, half.sweep, x, y+r)
			}
		}
		p.add(`<circle class="ring" cx="%d" cy="%d" r="%d"/>`, x, y, r+1)
	case a.ours != nothing:
		p.add(`<circle class="%s" cx="%d" cy="%d" r="%d"/>`, class(a.ours), x, y, svgRadius)
		p.add(`<text class="in" x="%d" y="%d">%c</text>`, x, y+4, a.ours)
	case a.sender:
		p.add(`<path class="sender" d="M%d %d l7 5 l-7 5 Z"/>`, x-3, y-5)
	default:
		p.add(`<circle class="none" cx="%d" cy="%d" r="2"/>`, x, y)
	}
}

// class is the style of a letter; digits share one.
func class(letter byte) string {
	if strings.IndexByte(several, letter) >= 0 {
		return "N"
	}
	return string(letter)
}

// fromEnd says at which end a frame is sent.
func fromEnd(from string) string {
	if from == scenario.Host {
		return scenario.Stack
	}
	return from
}
