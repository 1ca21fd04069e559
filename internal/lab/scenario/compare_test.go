package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

func mustParse(t *testing.T, src string) *Scenario {
	t.Helper()
	s, err := Parse("f", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func says(list []Difference) []string {
	var out []string
	for _, d := range list {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s %s: %s", d.Step, d.Kind, d.Who, d.What)))
	}
	return out
}

// TestCheckFails spoils each line of an expectation that holds.
func TestCheckFails(t *testing.T) {
	const file = "title x\nvmac b1 mode bridge\nvmac b2 mode bridge\nvmac s1 mode source list ext\n"
	const send = "send wire: ext > broadcast vlan 5\n"
	good := []string{"  b1 b2 get broadcast stack-type other", "  s1 gets broadcast stack-type other", "  stack gets other", "  tap gets broadcast",
		"  b1 counts rx 1/60 multicast 1"}
	s := mustParse(t, file+send+strings.Join(good, "\n"))
	r := play(t, s)
	if d := Check(s, r); d != nil {
		t.Fatal(says(d))
	}
	for _, c := range []struct {
		line int
		bad  string
		want string
	}{
		{0, "  b1 gets broadcast stack-type other", "0 delivery b2: got broadcast, expected it doesn't"},
		{0, "  b1 b2 get broadcast stack-type other times 2", "0 delivery b1: got no broadcast, expected it does"},
		{0, "  b1 b2 get broadcast stack-type other times 2..3", "0 delivery b1: got no broadcast, expected it does"},
		{0, "  b1 b2 get multicast stack-type other", "0 type b1: got broadcast, expected multicast"},
		{0, "  b1 b2 get broadcast", "0 type b1: got broadcast with stack-type other, expected broadcast"},
		{0, "  b1 b2 get broadcast stack-type other len 60", "0 bytes b1: got 64 bytes, expected 60"},
		{0, "  b1 b2 get broadcast stack-type other bytes 0102", "0 bytes b1: got ffffffff"},
		{0, "  b1 b2 wire get broadcast stack-type other", "0 delivery wire: got no broadcast, expected it does"},
		{1, "", "0 delivery s1: got broadcast, expected it doesn't"},
		{2, "  stack gets broadcast", "0 type stack: got other, expected broadcast"},
		{3, "  tap gets other", "0 type tap: got broadcast, expected other"},
		{4, "  b1 counts rx 1/64 multicast 1", "0 counter b1: counts rx 1/60 multicast 1, expected rx 1/64 multicast 1"},
		{4, "  b1 counts nothing", "0 counter b1: counts rx 1/60 multicast 1, expected nothing"},
		{4, "  answers EINVAL", "0 answer : answered ok, expected EINVAL"},
		{4, "  in order", "0 order : served s1 b2 b1, expected b1 b2 s1"},
	} {
		lines := slices.Clone(good)
		lines[c.line] = c.bad
		s := mustParse(t, file+send+strings.Join(lines, "\n"))
		got := says(Check(s, r))
		if c.want == "" && got != nil || c.want != "" && (len(got) == 0 || !strings.HasPrefix(got[0], c.want)) {
			t.Errorf("%q: %q, want %q", c.bad, got, c.want)
		}
	}
	// Handlers see the frame after the tag has been taken away.
	bare := play(t, s)
	for i := range bare.Outcomes[0].Gets {
		if d := &bare.Outcomes[0].Gets[i]; d.Who == Stack {
			d.Frame = untagged(d.Frame)
		}
	}
	if d := Check(s, bare); d != nil {
		t.Error(says(d))
	}
	for _, right := range []string{"  b1 b2 get broadcast stack-type other times 0..1", "  b1 b2 get broadcast stack-type other len 64"} {
		lines := slices.Clone(good)
		lines[0] = right
		if got := Check(mustParse(t, file+send+strings.Join(lines, "\n")), r); got != nil {
			t.Errorf("%q: %q", right, says(got))
		}
	}
	if d := Check(mustParse(t, file+send+"set b1 up\n"), r); len(d) != 1 || d[0].Step != 1 {
		t.Errorf("a step that was not played: %q", says(d))
	}
	if d := Check(mustParse(t, file+send), r); d != nil {
		t.Errorf("nothing is expected: %q", says(d))
	}
}

func TestCheckControl(t *testing.T) {
	s := mustParse(t, "title x\nvmac b1 mode bridge\nset b1 mtu 60\nset b1 mtu 60\n  answers EINVAL\nset b1 mtu 60\n  answers EINVAL \"other\"\n"+
		"show b1\n  b1 shows mode vepa mtu 1500 list b1\nshow b1\n  b1 shows promiscuity 0\n  parent shows mtu 1500\n")
	want := []string{
		`0 answer : answered EINVAL "mtu less than device minimum", expected ok`,
		`2 answer : answered EINVAL "mtu less than device minimum", expected EINVAL "other"`,
		"3 show b1: shows mode bridge, expected vepa", "3 show b1: shows list none, expected b1",
		"4 show b1: shows no promiscuity, expected 0", "4 show parent: was not shown",
	}
	if got := says(Check(s, play(t, s))); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestCompare holds two ways against each other, one of them changed.
func TestCompare(t *testing.T) {
	s := mustParse(t, "title x\nvmac b1 mode bridge\nvmac b2 mode bridge\nsend wire: ext > broadcast\nset b1 mtu 60\nshow b1\n")
	left := play(t, s)
	left.Way = Kernel
	if d := Compare(s, left, play(t, s)); d != nil {
		t.Fatal(says(d))
	}
	for name, c := range map[string]struct {
		change func(r *Result)
		want   string
	}{
		"missing":     {func(r *Result) { drop(r, "b1") }, "0 delivery b1: got no broadcast, kernel it does"},
		"more":        {func(r *Result) { r.Outcomes[0].gets(Wire, 0, nil) }, "0 delivery wire: got host, kernel it doesn't"},
		"no tap":      {func(r *Result) { drop(r, Tap) }, ""},
		"type":        {func(r *Result) { get(r, "b2").Type = classify.TypeOther }, "0 type b2: got other, kernel broadcast"},
		"handlers":    {func(r *Result) { get(r, "b2").StackType = ptr(classify.TypeOther) }, "0 type b2: got broadcast with stack-type other, kernel broadcast"},
		"bytes":       {func(r *Result) { get(r, "b2").Frame = []byte{1} }, "0 bytes b2: got 01, kernel ffff"},
		"counter":     {func(r *Result) { r.Outcomes[0].Counts[0].RxBytes++ }, "0 counter b1: counts rx 1/61 multicast 1, kernel rx 1/60 multicast 1"},
		"not counted": {func(r *Result) { r.Outcomes[0].Counts = nil }, ""},
		"answer":      {func(r *Result) { r.Outcomes[1].Answer = Answer{} }, `1 answer : answered ok, kernel EINVAL "mtu less`},
		"no text":     {func(r *Result) { r.Outcomes[1].Answer.Text = "" }, ""},
		"show":        {func(r *Result) { r.Outcomes[2].Shows[0].Fields[1].Value = "vepa" }, "2 show b1: shows mode vepa, kernel bridge"},
		"no key":      {func(r *Result) { r.Outcomes[2].Shows[0].Fields = nil }, ""},
		"short":       {func(r *Result) { r.Outcomes = r.Outcomes[:2] }, "2 answer : was not played everywhere"},
	} {
		right := play(t, s)
		c.change(right)
		got := says(Compare(s, left, right))
		if c.want == "" && got != nil || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func drop(r *Result, who string) {
	o := &r.Outcomes[0]
	o.Gets = slices.DeleteFunc(o.Gets, func(d Delivery) bool { return d.Who == who })
}

func get(r *Result, who string) *Delivery {
	o := &r.Outcomes[0]
	return &o.Gets[slices.IndexFunc(o.Gets, func(d Delivery) bool { return d.Who == who })]
}

func TestInOrder(t *testing.T) {
	const file = "title x\nvmac s0 mode source list ext\nvmac s1 mode source list ext\nvmac s2 mode source list ext\nsend wire: ext > unknown\n  stack gets other\n"
	s := mustParse(t, file+"  s2 s1 s0 get other\n  in order\n")
	if d := Check(s, play(t, s)); d != nil {
		t.Error(says(d))
	}
	s = mustParse(t, file+"  s0 s1 s2 get other\n  in order\n")
	if got := says(Check(s, play(t, s))); len(got) != 1 || got[0] != "0 order : served s2 s1 s0, expected s0 s1 s2" {
		t.Errorf("%q", got)
	}
}

// TestRecord has a result written into a file: what held stays as it was,
// comments stay, and the file then holds.
func TestRecord(t *testing.T) {
	s := mustParse(t, `title x
vmac b1 mode bridge
vmac b2 mode bridge
vmac s1 mode source list ext

send    wire: ext > broadcast  # all
  b2 gets broadcast  # right
  # because
  b1 gets broadcast
  stack gets broadcast
  s1 gets broadcast
send    wire: ext > b1  # wrong
  # two
  b2 gets host  # three
  b1 counts nothing
send    b1: b1 > broadcast vlan 5 times 3  # nothing said
set     b1 mtu 60
set     b1 mode private
  answers EINVAL  # wrong
show    b1
  b1 shows mtu 3
show    parent
`)
	r := play(t, s)
	before := string(s.Format())
	rec := s.Record(r, "Linux 9")
	if string(s.Format()) != before {
		t.Error("Record changed the scenario that it was given")
	}
	want := `title   x
recorded on Linux 9
vmac    b1 mode bridge
vmac    b2 mode bridge
vmac    s1 mode source list ext

send    wire: ext > broadcast  # all
  b2 gets broadcast  # right
  # because
  b1 stack s1 get broadcast
send    wire: ext > b1  # wrong
  # two
  # three
  b1 gets host
  s1 gets other
  b1 counts rx 1/60
send    b1: b1 > broadcast vlan 5 times 3  # nothing said
  b2 gets broadcast stack-type other times 3
  wire gets broadcast times 3
  b2 counts rx 3/234 multicast 3
  b1 parent counts tx 3/192
set     b1 mtu 60
  answers EINVAL "mtu less than device minimum"
set     b1 mode private
  # wrong
  answers ok
show    b1
  b1 shows mtu 1500
show    parent
  parent shows exists yes address 02:00:00:00:00:0a mtu 1500 state up carrier on promiscuity 1 allmulti 0 unicast 02:00:00:00:01:01,02:00:00:00:01:02,02:00:00:00:01:03 multicast none
`
	if got := string(rec.Format()); got != want {
		t.Errorf("recorded:\n%s", got)
	}
	again := mustParse(t, string(rec.Format()))
	if d := Check(again, play(t, again)); d != nil {
		t.Errorf("what was recorded doesn't hold: %q", says(d))
	}
}
