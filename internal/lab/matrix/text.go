package matrix

import (
	"fmt"
	"io"
	"strings"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

const labelWidth = 34

// short is an end's name in a narrow column.
func short(end string) string {
	switch end {
	case scenario.Stack:
		return "h"
	case scenario.Wire:
		return "w"
	}
	return strings.TrimPrefix(end, "vmac")
}

// WriteText prints the matrix for a terminal. Each end's column has our answer,
// and the kernel's behind it if that is another.
func (m *Matrix) WriteText(w io.Writer) error {
	var b strings.Builder
	b.WriteString("Who receives which frame, and as which packet type.\n")
	for _, l := range letters {
		fmt.Fprintf(&b, "  %c  %s: %s\n", l.letter, l.name, l.means)
	}
	b.WriteString("  ·  nothing     –  there is no such vmac     >  the sender\n")
	b.WriteString("  1 2 p1 …  the vmacs     h  the stack of the host that has the parent     w  the other end of the wire\n")
	b.WriteString("  Two characters where the kernel's answer, the second, is not ours.\n")
	for _, t := range m.Tables {
		fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(t.Title))
		t.heads(&b)
		for _, s := range t.Sections {
			b.WriteString(s.Title + "\n")
			for _, r := range s.Rows {
				line := fmt.Sprintf("  %-*s", labelWidth-2, r.Label)
				for i, block := range t.Blocks {
					line += fmt.Sprintf("%-*s", block.width(), m.textCell(block, r.Cells[i]))
				}
				b.WriteString(strings.TrimRight(line, " ") + "\n")
			}
		}
	}
	b.WriteByte('\n')
	for i, line := range m.verdict() {
		if i > 0 {
			line = "  " + line
		}
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) heads(b *strings.Builder) {
	var names, ends string
	for _, block := range t.Blocks {
		var list string
		for _, e := range block.Ends {
			list += fmt.Sprintf("%-*s", block.slot(), short(e))
		}
		names += fmt.Sprintf("%-*s", block.width(), block.Name)
		ends += fmt.Sprintf("%-*s", block.width(), list)
	}
	for _, l := range []string{names, ends} {
		fmt.Fprintf(b, "%s\n", strings.TrimRight(strings.Repeat(" ", labelWidth)+l, " "))
	}
}

// slot is how wide an end's column is.
func (b Block) slot() int {
	n := 2
	for _, e := range b.Ends {
		n = max(n, len(short(e)))
	}
	return n + 1
}

func (b Block) width() int { return max(b.slot()*len(b.Ends), len(b.Name)) + 2 }

func (m *Matrix) textCell(b Block, c Cell) string {
	if !c.Sent {
		return "–"
	}
	var s strings.Builder
	for _, end := range b.Ends {
		a := m.answer(c, end)
		glyph := printable(a.ours)
		switch {
		case a.differs():
			glyph += printable(a.kernel)
		case a.ours == nothing && a.sender:
			glyph = ">"
		}
		fmt.Fprintf(&s, "%-*s", b.slot(), glyph)
	}
	return s.String()
}

// Markdown returns the matrix as a page; picture, if not empty, is the address
// of its SVG.
func (m *Matrix) Markdown(picture string) []byte {
	var b strings.Builder
	b.WriteString("# Who receives which frame\n\n")
	b.WriteString("<!-- made by: umacvlan lab matrix --on model --markdown -->\n\n")
	b.WriteString("By mode, kind of frame and sender: who receives it, and as which packet type. The frames are those of\n" +
		"`internal/lab/matrix/*.scenario`; `umacvlan lab matrix` sends them anew, on the model, on umacvlan's own devices\n" +
		"and on the kernel's macvlan as far as the machine has them.\n\n")
	if picture != "" {
		fmt.Fprintf(&b, "![The same as a picture](%s)\n\n", picture)
	}
	b.WriteString("| | packet type |\n|---|---|\n")
	for _, l := range letters {
		fmt.Fprintf(&b, "| **%c** | %s: %s |\n", l.letter, l.name, l.means)
	}
	b.WriteString("\n1, 2, p1 … are the vmacs, h is the stack of the host that has the parent, w the other end of the wire. " +
		"– is where there is no such vmac. Where the kernel's answer is not ours, both stand there: ours≠the kernel's.\n")
	for _, line := range m.verdict() {
		fmt.Fprintf(&b, "\n%s\n", line)
	}
	for _, t := range m.Tables {
		fmt.Fprintf(&b, "\n## %s\n\n", t.Title)
		m.tableMarkdown(&b, t)
	}
	return []byte(b.String())
}

// tableMarkdown has a column for each block, with who got something.
func (m *Matrix) tableMarkdown(b *strings.Builder, t Table) {
	for _, block := range t.Blocks {
		fmt.Fprintf(b, "* **%s**: %s\n", block.Name, block.Title)
	}
	b.WriteString("\n|")
	for _, block := range t.Blocks {
		fmt.Fprintf(b, " | %s", block.Name)
	}
	b.WriteString(" |\n|---" + strings.Repeat("|---", len(t.Blocks)) + "|\n")
	for _, s := range t.Sections {
		fmt.Fprintf(b, "| **%s** %s|\n", s.Title, strings.Repeat("| ", len(t.Blocks)))
		for _, r := range s.Rows {
			fmt.Fprintf(b, "| %s", r.Label)
			for i, block := range t.Blocks {
				fmt.Fprintf(b, " | %s", m.markdownCell(block, r.Cells[i]))
			}
			b.WriteString(" |\n")
		}
	}
}

func (m *Matrix) markdownCell(block Block, c Cell) string {
	if !c.Sent {
		return "–"
	}
	var heard []string
	for _, end := range block.Ends {
		if a := m.answer(c, end); a.ours != nothing || a.differs() {
			heard = append(heard, fmt.Sprintf("%s **%s**", short(end), a.markdown()))
		}
	}
	if len(heard) == 0 {
		return "nobody"
	}
	return strings.Join(heard, ", ")
}

func (a answer) markdown() string {
	if a.differs() {
		return printable(a.ours) + "≠" + printable(a.kernel)
	}
	return printable(a.ours)
}

// printable is a letter as readers see it.
func printable(letter byte) string {
	if letter == nothing {
		return "·"
	}
	return string(rune(letter))
}
