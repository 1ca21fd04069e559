package bench

import (
	"testing"
)

// numbered returns frames 0 to n-1 of all sizes.
func numbered(n int) (list [][]byte) {
	sizes := lengths(Mix)
	for i := range n {
		f := blank([6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 2}, sizes[i%len(sizes)])
		number(f, uint64(i))
		list = append(list, f)
	}
	return list
}

func TestChecker(t *testing.T) {
	for name, test := range map[string]struct {
		change func(f [][]byte) [][]byte
		want   checkerReport
	}{
		"all is well":       {func(f [][]byte) [][]byte { return f }, checkerReport{Frames: 24}},
		"lost":              {func(f [][]byte) [][]byte { return append(f[:5], f[7:]...) }, checkerReport{Frames: 22}},
		"lost at the end":   {func(f [][]byte) [][]byte { return f[:23] }, checkerReport{Frames: 23}},
		"two swapped":       {func(f [][]byte) [][]byte { f[3], f[4] = f[4], f[3]; return f }, checkerReport{Frames: 24, Reordered: 1}},
		"one late":          {func(f [][]byte) [][]byte { return append(append(f[1:9:9], f[0]), f[9:]...) }, checkerReport{Frames: 24, Reordered: 1}},
		"twice":             {func(f [][]byte) [][]byte { return append(f[:9:9], f[8:]...) }, checkerReport{Frames: 24, Duplicated: 1}},
		"twice, much later": {func(f [][]byte) [][]byte { return append(f, f[0], f[1]) }, checkerReport{Frames: 24, Duplicated: 2}},
		"a bit flipped":     {func(f [][]byte) [][]byte { f[6][1500] ^= 4; return f }, checkerReport{Frames: 23, Corrupt: 1}},
		"for another":       {func(f [][]byte) [][]byte { f[6][5]++; return f }, checkerReport{Frames: 23, Corrupt: 1}},
		"number changed":    {func(f [][]byte) [][]byte { f[0][atNumber]++; return f }, checkerReport{Frames: 23, Corrupt: 1}},
		"checksum changed":  {func(f [][]byte) [][]byte { f[0][atSum]++; return f }, checkerReport{Frames: 23, Corrupt: 1}},
		"cut":               {func(f [][]byte) [][]byte { f[6] = f[6][:1000]; return f }, checkerReport{Frames: 23, Corrupt: 1}},
		"cut to nothing":    {func(f [][]byte) [][]byte { f[6] = nil; return f }, checkerReport{Frames: 23, Corrupt: 1}},
		"longer":            {func(f [][]byte) [][]byte { f[0] = append(f[0], 0, 0); return f }, checkerReport{Frames: 23, Corrupt: 1}},
	} {
		var c checker
		for _, f := range test.change(numbered(24)) {
			c.look(f)
		}
		c.Bytes = 0
		if c.checkerReport != test.want {
			t.Errorf("%s: %+v, want %+v", name, c.checkerReport, test.want)
		}
	}
	var c checker
	f := numbered(1)[0]
	number(f, mostFrames)
	if c.look(f); c.Corrupt != 1 || len(c.seen) != 0 {
		t.Errorf("a number of %d was taken", mostFrames)
	}
}

func TestCheckerDoesNotAllocate(t *testing.T) {
	var c checker
	f := numbered(1)[0]
	n := uint64(0)
	c.look(f)
	if a := testing.AllocsPerRun(1000, func() { n++; number(f, n); c.look(f) }); a != 0 {
		t.Errorf("%v allocations a frame", a)
	}
}
