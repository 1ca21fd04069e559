package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Hearers are those who can hear a frame in the demo, in the order in which
// they are shown: three vmacs, the host that has the parent, the host on the
// wire.
var Hearers = []string{"1", "2", "3", "h", "w"}

// DemoReport is everything that the demo found.
type DemoReport struct {
	Modes   []DemoMode `json:"modes"`
	Streams []DemoTCP  `json:"tcp"`
	Kernel  bool       `json:"kernel_macvlan"` // it was there to compare with
	Sent    int        `json:"frames_sent"`
	Seen    int        `json:"frames_captured"`

	// Balanced is how many ledgers were looked at; Ledger has their equations
	// that were not 0.
	Balanced int      `json:"ledgers"`
	Ledger   []string `json:"ledger_off"`

	OK bool `json:"ok"` // everything was as decided and the ledgers are 0
}

// DemoMode is one mode's column.
type DemoMode struct {
	Mode  string     `json:"mode"`
	Vmacs int        `json:"vmacs"`
	Cells []DemoCell `json:"frames"`
}

// DemoCell says who heard one frame.
type DemoCell struct {
	Frame  string `json:"frame"`
	Kind   string `json:"kind"`   // "unicast" or "broadcast"
	Sender string `json:"sender"` // where it was sent, one of Hearers

	// Heard was captured, Decided is what package classify says, Kernel was
	// captured on the kernel's macvlan (null if there is none).
	Heard   []string `json:"heard"`
	Decided []string `json:"decided"`
	Kernel  []string `json:"kernel"`

	// Copied says that the host's own stack also got a frame that macvlan
	// keeps from it: a packet socket copies, it does not consume.
	Copied bool `json:"host_copy,omitempty"`

	Impossible bool `json:"impossible,omitempty"` // this mode has no such vmac
	OK         bool `json:"ok"`
}

// DemoTCP is one direction, each run in bits per second.
type DemoTCP struct {
	Way      string    `json:"way"`
	Emulator []float64 `json:"umacvlan"`
	Kernel   []float64 `json:"kernel,omitempty"`
}

// judge compares what was captured with what was decided, and with the kernel.
func (c *DemoCell) judge() {
	c.Copied = slices.Contains(c.Heard, "h") && !slices.Contains(c.Decided, "h") && c.Sender == "w"
	heard := c.Heard
	if c.Copied {
		heard = slices.DeleteFunc(slices.Clone(c.Heard), func(s string) bool { return s == "h" })
	}
	c.OK = slices.Equal(heard, c.Decided) && (c.Kernel == nil || slices.Equal(heard, c.Kernel))
}

// sentBack ends the label of a frame that a vmac sent and the wire returns.
const sentBack = ", sent back by a switch"

const (
	labelWidth = 30
	cellWidth  = 13
)

// inks colours the report; the zero value leaves it alone.
type inks struct{ head, heard, quiet, note, bad, off string }

var darkInks = inks{"\x1b[1m", "\x1b[1;32m", "\x1b[2m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"}

// WriteText prints the report on one screen of 100 columns.
func (r *DemoReport) WriteText(w io.Writer, color bool) error {
	var ink inks
	if color {
		ink = darkInks
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sWho hears whom%s. Frames sent and captured just now: vmacs on a parent, each in a namespace of its\n", ink.head, ink.off)
	b.WriteString("own, the host that has the parent, and a host on the wire.\n")
	fmt.Fprintf(&b, "  %s1 2 3%s the vmacs   %sh%s the host that has the parent   %sw%s the host on the wire   %s·%s heard nothing\n\n",
		ink.heard, ink.off, ink.heard, ink.off, ink.heard, ink.off, ink.quiet, ink.off)
	fmt.Fprintf(&b, "%-*s", labelWidth, "")
	for _, m := range r.Modes {
		fmt.Fprintf(&b, "%s%s%s", ink.head, m.Mode, ink.off)
		if m.Mode != r.Modes[len(r.Modes)-1].Mode {
			b.WriteString(strings.Repeat(" ", cellWidth-len(m.Mode)))
		}
	}
	b.WriteByte('\n')
	copied := r.rows(&b, ink)
	for _, m := range r.Modes {
		fmt.Fprintf(&b, "  %s%-9s%s %s\n", ink.head, m.Mode, ink.off, demoSummaries[m.Mode])
	}
	fmt.Fprintf(&b, "  Host and vmac never hear each other, in any mode: macvlan is made so.\n")
	if copied {
		fmt.Fprintf(&b, "  %s*%s the host's own stack also gets a copy, which the kernel's macvlan would keep from it\n", ink.note, ink.off)
	}
	r.streams(&b, ink)
	r.verdict(&b, ink)
	_, err := io.WriteString(w, b.String())
	return err
}

var demoSummaries = map[string]string{
	"private":  "vmacs do not hear each other's broadcasts, not even when a switch sends them back",
	"vepa":     "vmacs talk to each other only by way of a switch that sends frames back",
	"bridge":   "vmacs talk to each other directly; unicast between them never reaches the wire",
	"passthru": "a single vmac has the parent to itself and hears everything",
	"source":   "a vmac hears only the senders that it lists, but all that they say (vmac1 lists w)",
}

// rows prints the table and reports whether any cell carries the star.
func (r *DemoReport) rows(b *strings.Builder, ink inks) (copied bool) {
	kind := ""
	for i := range r.Modes[0].Cells {
		if k := r.Modes[0].Cells[i].Kind; k != kind {
			kind = k
			fmt.Fprintf(b, "%s%s%s\n", ink.head, kind, ink.off)
		}
		label := r.Modes[0].Cells[i].Frame
		if strings.HasSuffix(label, sentBack) {
			label = "  …" + strings.TrimPrefix(sentBack, ",")
		}
		fmt.Fprintf(b, "  %-*s", labelWidth-2, label)
		var line strings.Builder
		for _, m := range r.Modes {
			c := m.Cells[i]
			copied = copied || c.Copied
			line.WriteString(c.draw(m.Vmacs, ink))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	b.WriteByte('\n')
	return copied
}

// draw is one cell, padded to its width.
func (c *DemoCell) draw(vmacs int, ink inks) string {
	if c.Impossible {
		return fmt.Sprintf("%s%-*s%s", ink.quiet, cellWidth, "(one vmac)", ink.off)
	}
	var b strings.Builder
	for i, h := range Hearers {
		switch {
		case h == "h" && c.Copied:
			b.WriteString(ink.note + "*" + ink.off)
		case slices.Contains(c.Heard, h):
			b.WriteString(ink.heard + h + ink.off)
		case h == c.Sender, i < 3 && i >= vmacs:
			b.WriteByte(' ')
		default:
			b.WriteString(ink.quiet + "·" + ink.off)
		}
		b.WriteByte(' ')
	}
	mark := " "
	if !c.OK {
		mark = ink.bad + "!" + ink.off
	}
	return b.String() + mark + strings.Repeat(" ", cellWidth-2*len(Hearers)-1)
}

func (r *DemoReport) streams(b *strings.Builder, ink inks) {
	if len(r.Streams) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%sTCP%s, one stream through bridge-mode vmacs, Gbit/s (a quick look at short runs in turn, no benchmark)\n", ink.head, ink.off)
	fmt.Fprintf(b, "%-*s%s", labelWidth, "", "umacvlan")
	if r.Kernel {
		fmt.Fprintf(b, "          %-18s%s", "kernel macvlan", "ratio")
	}
	b.WriteByte('\n')
	for _, s := range r.Streams {
		rates := gigabits(s.Emulator)
		fmt.Fprintf(b, "  %-*s%s%s%s", labelWidth-2, s.Way, ink.heard, rates, ink.off)
		if r.Kernel {
			fmt.Fprintf(b, "%*s%-18s%.2f", 18-len(rates), "", gigabits(s.Kernel), mean(s.Emulator)/mean(s.Kernel))
		}
		b.WriteByte('\n')
	}
	if !r.Kernel {
		b.WriteString("  This kernel has no macvlan to compare with.\n")
	}
}

func gigabits(rates []float64) string {
	var parts []string
	for _, r := range rates {
		parts = append(parts, fmt.Sprintf("%.1f", r/1e9))
	}
	return strings.Join(parts, "  ")
}

func mean(list []float64) (m float64) {
	for _, v := range list {
		m += v / float64(len(list))
	}
	return m
}

func (r *DemoReport) verdict(b *strings.Builder, ink inks) {
	fmt.Fprintf(b, "\n%d frames sent, %d captured. ", r.Sent, r.Seen)
	if r.OK {
		b.WriteString("Each was heard as decided")
		if r.Kernel {
			b.WriteString(", and as with the kernel's macvlan")
		}
		b.WriteString(".\nEvery frame is accounted for: all equations of the ledger are 0.\n")
		return
	}
	b.WriteByte('\n')
	for _, m := range r.Modes {
		for _, c := range m.Cells {
			if !c.OK && !c.Impossible {
				fmt.Fprintf(b, "%s!%s %s, %s: heard by %q, decided %q", ink.bad, ink.off, m.Mode, c.Frame, strings.Join(c.Heard, " "), strings.Join(c.Decided, " "))
				if r.Kernel {
					fmt.Fprintf(b, ", kernel %q", strings.Join(c.Kernel, " "))
				}
				b.WriteByte('\n')
			}
		}
	}
	for _, q := range r.Ledger {
		fmt.Fprintf(b, "%s!%s ledger: %s\n", ink.bad, ink.off, q)
	}
}
