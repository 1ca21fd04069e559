package classify

import "testing"

// FuzzWords: what is read of a word is written as one that is read as the same.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"02:00:00:00:00:01", "0200.0000.0001", "2-0-0-0-0-1", "bridge", "nopromisc nodst", "null", "unicast"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := ParseMAC(s); err == nil {
			if again, err := ParseMAC(m.String()); err != nil || again != m {
				t.Errorf("%q: %v, then %v, %v", s, m, again, err)
			}
		}
		if m, err := ParseMode(s); err == nil && m.String() != s {
			t.Errorf("%q: %v", s, m)
		}
		if f, err := ParseFlags(s); err == nil {
			if again, err := ParseFlags(f.String()); err != nil || again != f {
				t.Errorf("%q: %v, then %v, %v", s, f, again, err)
			}
		}
		var r Reason
		if r.UnmarshalText([]byte(s)) == nil && r.Key() != s {
			t.Errorf("%q: %v", s, r)
		}
		var p PacketType
		if p.UnmarshalText([]byte(s)) == nil && p.String() != s {
			t.Errorf("%q: %v", s, p)
		}
	})
}
