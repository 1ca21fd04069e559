package control

import (
	"slices"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

func TestParseJoined(t *testing.T) {
	group := classify.MACFrom([]byte{1, 0, 0x5e, 0, 0, 1})
	for line, want := range map[string]joined{
		"2    vmac0           1     0     01005e000001":  {2, group},
		"12345 averylongname15 12345 12345 01005e000001": {12345, group},
		"2    vmac0           1     0     01005e00000":   {},
		"2    vmac0           1     0     01005e00000g":  {},
		"2    vmac0           1     0":                   {},
		"2":                                              {},
		"":                                               {},
		// InfiniBand's are longer.
		"2    ib0             1     0     00ffffffff12401bffff000000000000ffffffff": {},
	} {
		j, ok := parseJoined([]byte(line))
		if ok != (want != joined{}) || ok && j != want {
			t.Errorf("%q: %v, %v, want %v", line, j, ok, want)
		}
	}
}

func TestChangedLists(t *testing.T) {
	a, b, c := joined{1, 10}, joined{1, 11}, joined{2, 10}
	for _, x := range []struct {
		before, now []joined
		want        []int32
	}{
		{nil, nil, nil},
		{nil, []joined{a, b, c}, []int32{1, 2}},
		{[]joined{a, b, c}, []joined{a, b, c}, nil},
		{[]joined{a, b, c}, []joined{a, c}, []int32{1}},
		{[]joined{a, c}, []joined{a}, []int32{2}},
		{[]joined{a}, []joined{a, {3, 10}}, []int32{3}},
		{[]joined{a, c}, []joined{c, a}, nil}, // a device that went and another that came
	} {
		if got := changed(x.before, x.now); !slices.Equal(got, x.want) {
			t.Errorf("%v to %v: %v, want %v", x.before, x.now, got, x.want)
		}
	}
}
