package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// ours is the way that speaks for umacvlan: on devices, if it ran there.
func (m *Matrix) ours() (Ran, bool) {
	for _, w := range []scenario.Way{scenario.Emulator, scenario.Model} {
		if r, ok := m.way(w); ok {
			return r, true
		}
	}
	return Ran{}, false
}

func (m *Matrix) way(w scenario.Way) (Ran, bool) {
	i := slices.IndexFunc(m.Ways, func(r Ran) bool { return r.Way == w })
	if i < 0 {
		return Ran{}, false
	}
	return m.Ways[i], true
}

// answer is what one end of a cell shows: our letter, and the kernel's, which
// is the same if there is nothing to compare with.
type answer struct {
	ours, kernel byte
	sender       bool
}

// Letters of the packet types; more than one copy is a digit.
const (
	nothing = '.'
	several = "0123456789"
)

func letter(types []classify.PacketType) byte {
	switch len(types) {
	case 0:
		return nothing
	case 1:
		return strings.ToUpper(types[0].String())[0]
	}
	return several[min(len(types), 9)]
}

// letters of the packet types that can occur, for legends.
var letters = []struct {
	letter byte
	name   string
	means  string
}{
	{'H', "host", "to the receiver itself"},
	{'B', "broadcast", "to everybody"},
	{'M', "multicast", "to a group"},
	{'O', "other", "to somebody else's address, which IP ignores"},
}

func (m *Matrix) answer(c Cell, end string) answer {
	ours, ok := m.ours()
	k, compared := m.way(scenario.Kernel)
	if !ok {
		ours = k
	}
	a := answer{ours: letter(c.Heard[ours.Way][end]), sender: fromEnd(c.From) == end}
	a.kernel = a.ours
	if compared {
		a.kernel = letter(c.Heard[scenario.Kernel][end])
	}
	return a
}

func (a answer) differs() bool { return a.ours != a.kernel }

// Difference is what one way answers otherwise than the kernel, at as many
// places as there are.
type Difference struct {
	Way    scenario.Way `json:"way"`
	Who    string       `json:"who"` // "a vmac", scenario.Stack or scenario.Wire
	Got    []string     `json:"got"` // packet types
	Kernel []string     `json:"kernel"`
	Times  int          `json:"times"`
	First  string       `json:"first"` // where: block and frame
}

// Differences lists how the other ways differ from the kernel, most frequent
// first. Answers is how many answers, of one end to one frame, were compared in
// each way.
func (m *Matrix) Differences() (list []Difference, answers int) {
	if _, ok := m.way(scenario.Kernel); !ok {
		return nil, 0
	}
	for _, r := range m.Ways {
		if r.Way == scenario.Kernel {
			continue
		}
		answers = 0
		m.each(func(b Block, c Cell) {
			for _, end := range b.Ends {
				answers++
				got, want := names(c.Heard[r.Way][end]), names(c.Heard[scenario.Kernel][end])
				if slices.Equal(got, want) {
					continue
				}
				who := end
				if end != scenario.Stack && end != scenario.Wire {
					who = "a vmac"
				}
				i := slices.IndexFunc(list, func(d Difference) bool {
					return d.Way == r.Way && d.Who == who && slices.Equal(d.Got, got) && slices.Equal(d.Kernel, want)
				})
				if i < 0 {
					i = len(list)
					list = append(list, Difference{r.Way, who, got, want, 0, b.Name + ", " + c.Line})
				}
				list[i].Times++
			}
		})
	}
	slices.SortStableFunc(list, func(a, b Difference) int { return b.Times - a.Times })
	return list, answers
}

// each visits the cells that there are, block by block.
func (m *Matrix) each(visit func(Block, Cell)) {
	for _, t := range m.Tables {
		for i, b := range t.Blocks {
			for _, s := range t.Sections {
				for _, r := range s.Rows {
					if r.Cells[i].Sent {
						visit(b, r.Cells[i])
					}
				}
			}
		}
	}
}

func names(types []classify.PacketType) []string {
	list := []string{}
	for _, t := range types {
		list = append(list, t.String())
	}
	return list
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: %s gets %s where the kernel gives %s, %d times; first %s",
		d.Way, d.Who, orNothing(d.Got), orNothing(d.Kernel), d.Times, d.First)
}

func orNothing(types []string) string {
	if len(types) == 0 {
		return "nothing"
	}
	return strings.Join(types, " and ")
}

// String says where answers come from.
func (r Ran) String() string {
	switch {
	case r.Recorded:
		return fmt.Sprintf("%s (recorded on %s)", r.Way, r.Version)
	case r.Version != "" && r.Way == scenario.Kernel:
		return fmt.Sprintf("%s (%s)", r.Way, r.Version)
	}
	return string(r.Way)
}

// verdict is one sentence, or a line for each difference.
func (m *Matrix) verdict() []string {
	var ran []string
	for _, r := range m.Ways {
		ran = append(ran, r.String())
	}
	list, answers := m.Differences()
	switch {
	case answers == 0:
		return []string{"From: " + strings.Join(ran, ", ") + "; nothing to compare with."}
	case len(list) == 0:
		return []string{fmt.Sprintf("From: %s. All %d answers are alike.", strings.Join(ran, ", "), answers)}
	}
	lines := []string{fmt.Sprintf("From: %s. Of %d answers these are not alike:", strings.Join(ran, ", "), answers)}
	emulator := false
	for _, d := range list {
		lines = append(lines, d.String())
		emulator = emulator || d.Way == scenario.Emulator
	}
	if emulator {
		lines = append(lines, "What user space can't do, and why, is in docs/semantics.md.")
	}
	return lines
}
