package matrix

import (
	"encoding/json"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// MarshalJSON writes one object for each frame.
func (m *Matrix) MarshalJSON() ([]byte, error) {
	type way struct {
		Way      scenario.Way `json:"way"`
		Version  string       `json:"version,omitempty"`
		Recorded bool         `json:"recorded"`
	}
	type frame struct {
		Table  string                   `json:"table"`
		Port   string                   `json:"port"`
		Sender string                   `json:"sender"`
		Frame  string                   `json:"frame"`
		Send   string                   `json:"send"` // as in the scenario
		Gets   map[scenario.Way]Hearing `json:"gets"`
	}
	page := struct {
		Ways        []way        `json:"ways"`
		Frames      []frame      `json:"frames"`
		Answers     int          `json:"answers"`
		Differences []Difference `json:"differences"`
	}{Ways: []way{}, Frames: []frame{}, Differences: []Difference{}}
	for _, r := range m.Ways {
		page.Ways = append(page.Ways, way(r))
	}
	for _, t := range m.Tables {
		for i, b := range t.Blocks {
			for _, s := range t.Sections {
				for _, r := range s.Rows {
					if c := r.Cells[i]; c.Sent {
						page.Frames = append(page.Frames, frame{t.Title, b.Name, s.Title, r.Label, c.Line, c.Heard})
					}
				}
			}
		}
	}
	list, answers := m.Differences()
	page.Differences = append(page.Differences, list...)
	page.Answers = answers
	return json.Marshal(page)
}
