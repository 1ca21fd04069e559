package classify

import (
	"encoding/json"
	"reflect"
	"testing"
)

// An explanation may be read by another process than the one that decided.
func TestExplanationSurvivesJSON(t *testing.T) {
	for _, row := range []string{"x NODST vb listed>b1 len=64 type=8100000a88b5 -", "x MIX vb listed>SUB -", "x MIX b1 >bcast -", "x MIX vb ext>b1 len=13 -"} {
		r := parseRow(row)
		table, err := NewTable(r.spec)
		if err != nil {
			t.Fatal(err)
		}
		want := table.Explain(r.frame, r.from, Meta{Type: TypeOther})
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Explanation
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %+v, wrote %+v", row, got, want)
		}
	}
}

func TestUnmarshalText(t *testing.T) {
	for i := range NumReasons {
		if got := Reason(255); got.UnmarshalText([]byte(Reason(i).Key())) != nil || got != Reason(i) {
			t.Errorf("reason %d came back as %d", i, got)
		}
	}
	for p := TypeHost; p <= TypeLoopback; p++ {
		if got := PacketType(255); got.UnmarshalText([]byte(p.String())) != nil || got != p {
			t.Errorf("packet type %d came back as %d", p, got)
		}
	}
	for p := Skipped; p <= Echo; p++ {
		if got := Path(255); got.UnmarshalText([]byte(p.String())) != nil || got != p {
			t.Errorf("path %d came back as %d", p, got)
		}
	}
	for _, v := range []interface{ UnmarshalText([]byte) error }{new(Reason), new(PacketType), new(Path)} {
		for _, s := range []string{"", "nonsense"} {
			if v.UnmarshalText([]byte(s)) == nil {
				t.Errorf("%T read %q", v, s)
			}
		}
	}
}
