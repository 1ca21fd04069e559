// Package matrix is the table that an experimenter wants to look at: by mode,
// kind of frame and sender, who receives it. Its content is what players
// observed when they ran the scenario files beside this one, and what was
// recorded in those on the kernel.
package matrix

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

//go:embed *.scenario
var files embed.FS

// layout says which files stand side by side in a table. Rows of the same
// section and label are one row.
var layout = []struct {
	title string
	files []string
}{
	{"One mode on the port", []string{"private", "vepa", "bridge", "passthru", "source", "source-list", "source-nodst"}},
	{"Modes together on one port", []string{"mixed-sent", "mixed-sent-back"}},
}

// Matrix is the whole page.
type Matrix struct {
	Ways   []Ran
	Tables []Table
}

// Ran is a way that the answers come from.
type Ran struct {
	Way      scenario.Way
	Version  string // of the kernel, if the way has one
	Recorded bool   // read from the files rather than run now
}

// Table has its files side by side as blocks.
type Table struct {
	Title    string
	Blocks   []Block
	Sections []Section
}

// Block is one file: a port, and who can hear there.
type Block struct {
	Name  string
	Title string
	Ends  []string // up vmacs in order, scenario.Stack, scenario.Wire
}

// Section are the frames that one sender sends.
type Section struct {
	Title string
	Rows  []Row
}

// Row is one kind of frame.
type Row struct {
	Label string
	Cells []Cell // one per block
}

// Cell is one frame in one file.
type Cell struct {
	Sent bool // false: there is no such frame in this block
	From string
	// Line is the step as the file says it.
	Line string
	// Heard has an answer for each way of the matrix that has one.
	Heard map[scenario.Way]Hearing
}

// Hearing says, by end, as what packet types a frame came, one for each copy.
type Hearing map[string][]classify.PacketType

// Scenarios are the files by name, in the order of the page.
func Scenarios() ([]string, map[string]*scenario.Scenario, error) {
	var names []string
	parsed := map[string]*scenario.Scenario{}
	for _, t := range layout {
		for _, name := range t.files {
			text, err := files.ReadFile(name + ".scenario")
			if err != nil {
				return nil, nil, err
			}
			s, err := scenario.Parse(name+".scenario", text)
			if err != nil {
				return nil, nil, err
			}
			names = append(names, name)
			parsed[name] = s
		}
	}
	return names, parsed, nil
}

// Build runs all files with each player, saying through progress what it is
// doing, one call at a time. Players run side by side. What the kernel answered when the files were recorded stands in for a
// kernel player.
func Build(ctx context.Context, players []scenario.Player, progress func(string)) (*Matrix, error) {
	names, scenarios, err := Scenarios()
	if err != nil {
		return nil, err
	}
	m := &Matrix{Ways: make([]Ran, len(players))}
	heard := map[string]map[scenario.Way][]Hearing{}
	for _, name := range names {
		heard[name] = map[scenario.Way][]Hearing{}
	}
	// Most of a player's time is waiting for frames that don't come.
	var wg sync.WaitGroup
	var mu sync.Mutex // heard, progress
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for i, p := range players {
		m.Ways[i].Way = p.Way()
		wg.Go(func() {
			for _, name := range names {
				mu.Lock()
				progress(fmt.Sprintf("%s: %s", p.Way(), name))
				mu.Unlock()
				list, version, err := play(ctx, p, scenarios[name])
				if err != nil {
					stop(fmt.Errorf("%s on %s: %w", name, p.Way(), err)) // the first one counts
					return
				}
				mu.Lock()
				heard[name][p.Way()], m.Ways[i].Version = list, version
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(m.Ways, func(r Ran) bool { return r.Way == scenario.Kernel }) {
		if version := recorded(names, scenarios); version != "" {
			for _, name := range names {
				heard[name][scenario.Kernel] = expected(scenarios[name])
			}
			m.Ways = append(m.Ways, Ran{scenario.Kernel, version, true})
		}
	}
	for _, t := range layout {
		m.Tables = append(m.Tables, makeTable(t.title, t.files, scenarios, heard))
	}
	return m, nil
}

// play runs a scenario. A group that nobody joined leaks through a vmac's
// filter by a constant that is another one each time the vmac is made, so that
// it is told from a delivery by playing again.
func play(ctx context.Context, p scenario.Player, s *scenario.Scenario) (list []Hearing, version string, err error) {
	for range 4 {
		r, err := p.Play(ctx, s)
		if err != nil {
			return nil, "", err
		}
		version = r.Version
		list = nil
		leaked := false
		for i, o := range r.Outcomes {
			h := hearing(o.Gets)
			list = append(list, h)
			if s.Steps[i].Send.Dst == "UNJOINED" {
				recorded := hearing(s.Steps[i].Expect.Gets)
				for _, v := range s.Vmacs {
					leaked = leaked || len(h[v.Name]) > len(recorded[v.Name])
				}
			}
		}
		if !leaked {
			break
		}
	}
	return list, version, nil
}

func hearing(gets []scenario.Delivery) Hearing {
	h := Hearing{}
	for _, d := range gets {
		if d.Who == scenario.Tap {
			continue
		}
		for range max(1, d.Times) {
			h[d.Who] = append(h[d.Who], d.Type)
		}
	}
	return h
}

// recorded returns the kernel on which all files were recorded, empty if not
// all were, or not on the same.
func recorded(names []string, scenarios map[string]*scenario.Scenario) string {
	version := scenarios[names[0]].Recorded
	for _, name := range names {
		if scenarios[name].Recorded != version {
			return ""
		}
	}
	return version
}

func expected(s *scenario.Scenario) []Hearing {
	var list []Hearing
	for _, step := range s.Steps {
		list = append(list, hearing(step.Expect.Gets))
	}
	return list
}

func makeTable(title string, names []string, scenarios map[string]*scenario.Scenario, heard map[string]map[scenario.Way][]Hearing) Table {
	t := Table{Title: title}
	for i, name := range names {
		s := scenarios[name]
		t.Blocks = append(t.Blocks, Block{Name: strings.ReplaceAll(strings.TrimPrefix(name, "mixed-"), "-", " "), Title: s.Title, Ends: ends(s)})
		section := ""
		for j := range s.Steps {
			step := &s.Steps[j]
			if n := len(step.Note.Above); n > 0 {
				section = strings.TrimPrefix(step.Note.Above[n-1], "# ")
			}
			cell := &t.row(section, strings.TrimPrefix(step.Note.Right, "# "), len(names)).Cells[i]
			*cell = Cell{Sent: true, From: step.Send.From, Line: line(step.Send), Heard: map[scenario.Way]Hearing{}}
			for way, list := range heard[name] {
				cell.Heard[way] = list[j]
			}
		}
	}
	return t
}

// line is the frame in the words of the language.
func line(s *scenario.Send) string {
	text := fmt.Sprintf("%s: %s > %s", s.From, s.Src, s.Dst)
	if s.Type != nil {
		text += fmt.Sprintf(" type %#04x", *s.Type)
	}
	return text
}

// row finds a row, or makes it.
func (t *Table) row(section, label string, blocks int) *Row {
	i := slices.IndexFunc(t.Sections, func(s Section) bool { return s.Title == section })
	if i < 0 {
		i = len(t.Sections)
		t.Sections = append(t.Sections, Section{Title: section})
	}
	s := &t.Sections[i]
	j := slices.IndexFunc(s.Rows, func(r Row) bool { return r.Label == label })
	if j < 0 {
		j = len(s.Rows)
		s.Rows = append(s.Rows, Row{Label: label, Cells: make([]Cell, blocks)})
	}
	return &s.Rows[j]
}

// ends are those who can hear: a vmac that is down can't.
func ends(s *scenario.Scenario) []string {
	var list []string
	for _, v := range s.Vmacs {
		if !v.Down {
			list = append(list, v.Name)
		}
	}
	return append(list, scenario.Stack, scenario.Wire)
}
