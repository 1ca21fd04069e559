package dataplane

import (
	"slices"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

func TestMergeMACs(t *testing.T) {
	type list = []classify.MAC
	for _, c := range []struct {
		have, want, adds, drops, refused, held list
	}{
		{nil, list{1, 2}, list{1, 2}, nil, nil, list{1, 2}},
		{list{1, 2}, nil, nil, list{1, 2}, nil, nil},
		{list{1, 3, 5}, list{2, 3, 6}, list{2, 6}, list{1, 5}, nil, list{2, 3, 6}},
		{list{1, 3}, list{2, 3}, list{2}, list{1}, list{2}, list{3}},       // may be tried again
		{list{1, 3}, list{2, 3}, list{2}, list{1}, list{1}, list{1, 2, 3}}, // still there
	} {
		var adds, drops list
		log := func(to *list) func(classify.MAC) bool {
			return func(m classify.MAC) bool {
				if to == &adds && drops != nil {
					t.Error("dropped before everything was added")
				}
				*to = append(*to, m)
				return !slices.Contains(c.refused, m)
			}
		}
		held := mergeMACs(c.have, c.want, log(&adds), log(&drops))
		if !slices.Equal(adds, c.adds) || !slices.Equal(drops, c.drops) || !slices.Equal(held, c.held) {
			t.Errorf("%v to %v: added %v, dropped %v, holds %v", c.have, c.want, adds, drops, held)
		}
	}
}
