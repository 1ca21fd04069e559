package lab

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// players are the real ways, with what is needed to run them.
func players(t *testing.T, f func(t *testing.T, p *Player)) {
	t.Helper()
	for _, w := range []struct {
		needs []Needs
		open  func() *Player
	}{{[]Needs{NeedNS, NeedMacvlan}, KernelPlayer}, {[]Needs{NeedNS, NeedTUN}, EmulatorPlayer}} {
		p := w.open()
		t.Run(string(p.Way()), func(t *testing.T) {
			Need(t, w.needs...)
			before := Measure()
			f(t, p)
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if err := before.Leaked(); err != nil {
				t.Error(err)
			}
		})
	}
}

func play(t *testing.T, p *Player, text string) (*scenario.Scenario, *scenario.Result) {
	t.Helper()
	s, err := scenario.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	r, err := p.Play(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d steps in %v", p.Way(), len(s.Steps), time.Since(start))
	return s, r
}

// expect plays a scenario and returns what is not as the scenario says.
func expect(t *testing.T, p *Player, text string) (wrong []string) {
	t.Helper()
	s, r := play(t, p, text)
	for _, d := range scenario.Check(s, r) {
		wrong = append(wrong, d.Who+" "+d.What)
	}
	return wrong
}

// What every kind of statement does, as far as it is the same in both ways.
const everything = `title A bit of everything
vmac b1 mode bridge
vmac b2 mode bridge join mdns
vmac p1 mode private
vmac v1 mode vepa
vmac s1 mode source list listed
vmac n1 mode bridge netns other

send wire: ext > broadcast
  b1 b2 p1 v1 n1 stack get broadcast
  b1 b2 p1 v1 n1 counts rx 1/60 multicast 1
  s1 counts nothing
  parent counts rx 1/60
send b1: b1 > b2
  b2 gets host
  b1 counts tx 1/60
  b2 counts rx 1/60
  parent counts nothing
send b1: b1 > broadcast
  b2 n1 wire get broadcast
  b2 n1 counts rx 1/74 multicast 1
  b1 parent counts tx 1/60
send host: parent > unknown
  wire gets other
  tap gets out
send b1: b1 > broadcast len 2000
  answers EMSGSIZE
  nobody
set b1 mode passthru
  answers EINVAL
set b1 mode private
show b1
  b1 shows mode private state up carrier on address 02:00:00:00:01:01 mtu 1500 list none
show parent
  parent shows promiscuity 1 multicast mdns
send b1: b1 > broadcast
  wire gets broadcast
join b1 vrrp
send wire: ext > vrrp
  b1 stack get multicast
leave b1 vrrp
set b2 down
send b2: b2 > ext
  answers ENETDOWN
  nobody
set p1 address 02:00:00:00:99:99
set v1 address 02:00:00:00:99:99
  answers EADDRINUSE
set parent down
send b1: b1 > ext
  nobody
  b1 counts tx-dropped 1
set parent up
set n1 netns third
send wire: ext > broadcast
  b1 p1 v1 stack get broadcast
set n1 up
send wire: ext > broadcast
  b1 p1 v1 n1 stack get broadcast
delete netns third
send wire: ext > broadcast
  b1 p1 v1 stack get broadcast
show n1
  n1 shows exists no
add b1 mode bridge
  answers EEXIST
add x1 mode bridge on b1 netns other
send wire: ext > broadcast
  b1 p1 v1 x1 stack get broadcast
add y1 mode bridge on lo
  answers EINVAL
add y1 mode bridge on busy
  answers EBUSY
add y1 mode bridge on missing
  answers ENODEV
add y1 mode bridge on none
  answers EINVAL
` + parentMoves + `delete parent
show b1
  b1 shows exists no
`

const parentMoves = `set parent netns elsewhere
set parent up
send wire: ext > broadcast
  b1 p1 v1 x1 stack get broadcast
`

// playable is as much of text as there can be on this kernel.
func playable(p *Player, text string) string {
	s, err := scenario.Parse("playable", []byte(text))
	if err == nil && p.lacks(s) != nil {
		return strings.ReplaceAll(text, parentMoves, "")
	}
	return text
}

func TestPlayer(t *testing.T) {
	players(t, func(t *testing.T, p *Player) {
		for range 2 {
			if wrong := expect(t, p, playable(p, everything)); len(wrong) > 0 {
				t.Errorf("%s", strings.Join(wrong, "\n"))
			}
		}
	})
}
