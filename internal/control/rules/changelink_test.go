package rules

import (
	"slices"
	"syscall"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

var modes = []classify.Mode{classify.Private, classify.Vepa, classify.Bridge, classify.Passthru, classify.Source}

// Row 188.
func TestModeChanges(t *testing.T) {
	for _, from := range modes {
		for _, to := range modes {
			w := newWorld(t)
			w.want(w.add("a", func(r *NewLink) { r.Data = mode(from) }), 0)
			want := syscall.Errno(0)
			if (from == classify.Passthru) != (to == classify.Passthru) {
				want = syscall.EINVAL
			}
			w.want(w.change("a", mode(to)), want)
			if want == 0 && w.vmac("a").Mode != to {
				t.Errorf("%v -> %v: mode is %v", from, to, w.vmac("a").Mode)
			}
		}
	}
}

func source(op uint32, one string, many ...string) *Data {
	d := &Data{MacaddrMode: &op}
	if one != "" {
		d.Macaddr = hw(one)
	}
	for _, m := range many {
		d.MacaddrData = append(d.MacaddrData, hw(m))
	}
	return d
}

func TestSourceList(t *testing.T) {
	const A, B, C, D = "02:00:00:00:0e:01", "02:00:00:00:0e:02", "02:00:00:00:0e:03", "01:00:00:00:0e:04"
	for _, c := range []struct {
		name  string
		d     *Data
		errno syscall.Errno
		want  []string // in order of addition; the vmac starts with A, B
	}{
		{"add", source(MacaddrAdd, C), 0, []string{A, B, C}},
		{"add a present one", source(MacaddrAdd, A), 0, []string{A, B}},
		{"del", source(MacaddrDel, A), 0, []string{B}},
		{"del an absent one", source(MacaddrDel, C), 0, []string{A, B}},
		{"del without", source(MacaddrDel, ""), syscall.EINVAL, []string{A, B}},
		{"flush", source(MacaddrFlush, ""), 0, nil},
		{"flush with addresses", source(MacaddrFlush, C, B), 0, nil},
		{"set", source(MacaddrSet, C, B), 0, []string{C, B}},
		{"set nested only", source(MacaddrSet, "", B, C), 0, []string{B, C}},
		{"set empty", source(MacaddrSet, ""), 0, nil},
		{"set with a bad member", source(MacaddrSet, C, D), syscall.EADDRNOTAVAIL, []string{A, B}},
		{"set with a short member", &Data{MacaddrMode: ptr(MacaddrSet), MacaddrData: [][]byte{{2}}}, syscall.EINVAL, []string{A, B}},
		{"mode 4", source(4, A), syscall.EINVAL, []string{A, B}},
		{"address alone", &Data{Macaddr: hw(C)}, 0, []string{A, B}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.want(w.add("first", func(r *NewLink) {
				r.Data = source(MacaddrAdd, B)
				r.Data.Mode = ptr(uint32(classify.Source))
			}), 0)
			w.want(w.add("s", func(r *NewLink) {
				r.Data = source(MacaddrSet, A, B)
				r.Data.Mode = ptr(uint32(classify.Source))
			}), 0)
			w.want(w.add("other", func(r *NewLink) {
				r.Data = source(MacaddrAdd, A)
				r.Data.Mode = ptr(uint32(classify.Source))
			}), 0)
			w.want(w.change("s", c.d), c.errno)
			var got []string
			for _, e := range w.s.Spec(1).Sources {
				if e.Vmac == 1 {
					for _, s := range []string{A, B, C} {
						if mac(s) == e.MAC {
							got = append(got, s)
						}
					}
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("list is %v, want %v", got, c.want)
			}
			for _, other := range []string{"first", "other"} {
				if n := len(w.s.Port(1).SourceList(w.named[other])); n != 1 {
					t.Errorf("%s has a list of %d entries", other, n)
				}
			}
		})
	}
}

// The kernel dumps "set A B" of these two as B A.
func TestSourceListOrder(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("s", func(r *NewLink) {
		r.Data = source(MacaddrSet, "02:00:00:00:0e:01", "02:00:00:00:0e:02")
		r.Data.Mode = ptr(uint32(classify.Source))
	}), 0)
	got := w.s.Port(1).SourceList(w.named["s"])
	want := []classify.MAC{mac("02:00:00:00:0e:02"), mac("02:00:00:00:0e:01")}
	if !slices.Equal(got, want) {
		t.Errorf("list is %v, want %v", got, want)
	}
}

// Buckets 0, 1, 1, 2, 254, 255; in one the newest first. A kernel 6.18 lists
// them so.
func TestSourceListBuckets(t *testing.T) {
	w := newWorld(t)
	set := []string{
		"02:00:00:00:0f:6b", "02:00:00:00:0e:ba", "02:00:00:00:0f:2e", "02:00:00:00:0e:7d", "02:00:00:00:0e:71", "02:00:00:00:0e:34",
	}
	w.addr("s", macA, classify.Source)
	w.want(w.change("s", source(MacaddrSet, "", set...)), 0)
	set[1], set[2] = set[2], set[1]
	var want []classify.MAC
	for _, s := range set {
		want = append(want, mac(s))
	}
	if got := w.s.Port(1).SourceList(w.named["s"]); !slices.Equal(got, want) {
		t.Errorf("list is %v, want %v", got, want)
	}
}

// Row 189.
func TestLeavingSourceFlushes(t *testing.T) {
	w := newWorld(t)
	w.addr("s", "02:00:00:00:01:01", classify.Source)
	w.want(w.change("s", source(MacaddrAdd, "02:00:00:00:0e:01")), 0)
	w.want(w.change("s", mode(classify.Source)), 0)
	if n := len(w.s.Spec(1).Sources); n != 1 {
		t.Errorf("source -> source left %d entries", n)
	}
	w.want(w.change("s", mode(classify.Bridge)), 0)
	w.want(w.change("s", mode(classify.Source)), 0)
	if n := len(w.s.Spec(1).Sources); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// Rows 190 and 191, and that what stands before a refused attribute stays.
func TestPartialChange(t *testing.T) {
	w := newWorld(t)
	w.addr("b", "02:00:00:00:01:01", classify.Bridge)
	d := source(MacaddrAdd, "02:00:00:00:0e:01")
	d.Mode = ptr(uint32(classify.Source))
	w.want(w.change("b", d), 0)
	if n := len(w.s.Spec(1).Sources); n != 1 {
		t.Errorf("the list has %d entries, want 1", n)
	}

	d = source(MacaddrAdd, "02:00:00:00:0e:02")
	d.Mode = ptr(uint32(classify.Bridge))
	d.Flags = ptr(uint16(2))
	d.BCQueueLen = ptr(uint32(7))
	d.BCLim = ptr(int32(4))
	w.want(w.change("b", d), syscall.EINVAL)
	v := w.vmac("b")
	if v.Mode != classify.Bridge || v.Flags != classify.NoDst || v.BCQueueLen != 7 || w.s.Spec(1).BCLim != 4 || len(w.s.Spec(1).Sources) != 0 {
		t.Errorf("after a half refused change: %+v, bclim %d", *v, w.s.Spec(1).BCLim)
	}

	// A refused mode change comes first and leaves everything.
	w.want(w.change("b", &Data{Mode: ptr(uint32(classify.Passthru)), BCQueueLen: ptr(uint32(9))}), syscall.EINVAL)
	// So does validation.
	w.want(w.change("b", &Data{Mode: ptr(uint32(classify.Vepa)), Macaddr: make([]byte, 6)}), syscall.EADDRNOTAVAIL)
	if v := w.vmac("b"); v.Mode != classify.Bridge || v.BCQueueLen != 7 {
		t.Errorf("a refused change changed %+v", *v)
	}
}

func TestChangeOtherKind(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("a", nil), 0)
	for _, kind := range []string{"macvtap", "ipvlan", "nonsense"} {
		w.want(w.do(ChangeLink{Vmac: w.named["a"], Kind: kind}), 0)
		a := w.do(ChangeLink{Vmac: w.named["a"], Kind: kind, Data: &Data{}})
		w.want(a, syscall.EOPNOTSUPP)
		if a.Text != "" {
			t.Errorf("%s: text %q", kind, a.Text)
		}
	}
}

func TestFlagsChange(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("a", nil), 0)
	w.want(w.change("a", &Data{Flags: ptr(uint16(3))}), 0)
	w.want(w.change("a", &Data{Flags: ptr(uint16(8))}), syscall.EINVAL)
	if f := w.vmac("a").Flags; f != 3 {
		t.Errorf("flags are %d", f)
	}
	w.want(w.change("a", &Data{Flags: ptr(uint16(0))}), 0)
	if f := w.vmac("a").Flags; f != 0 {
		t.Errorf("flags are %d", f)
	}
}

// A bad member of a list is refused before anything else is looked at, be it the
// last one.
func TestEveryMemberIsValidated(t *testing.T) {
	w := newWorld(t)
	w.addr("a", macA, classify.Bridge)
	list := &Data{MacaddrMode: ptr(uint32(MacaddrSet)), MacaddrData: [][]byte{hw("02:00:00:00:0e:01"), hw("01:00:5e:00:00:01")}}
	w.want(w.change("a", list), syscall.EADDRNOTAVAIL)
}

func TestNewState(t *testing.T) {
	w := newWorld(t)
	w.s = NewState(41)
	w.addr("a", macA, classify.Bridge)
	if id := w.vmac("a").ID; id != 42 {
		t.Errorf("the first vmac's ID is %d, want 42", id)
	}
}
