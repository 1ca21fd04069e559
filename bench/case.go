package bench

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// Kind of traffic.
type Kind string

const (
	TCP     Kind = "tcp"     // streams, as fast as they go
	Frames  Kind = "frames"  // frames below IP, flat out or at a rate
	Request Kind = "request" // one UDP request at a time, and its answer
	Checked Kind = "checked" // numbered frames of all sizes, each one looked at
	Idle    Kind = "idle"    // nothing
)

// Way of the traffic.
type Way string

const (
	In      Way = "in"      // from the wire to a vmac
	Out     Way = "out"     // from a vmac to the wire
	Sibling Way = "sibling" // from a vmac to its sibling
	Host    Way = "host"    // from the wire to the parent's own address
)

// Sizes of frames, in bytes without their checksum.
const (
	Smallest = 60
	Largest  = 1514
	Super    = 64 << 10 // about: a TCP super-frame that the receiving end may cut (GSO)
	Mix      = -1       // 60, 590 and 1514 in the proportion 7:4:1
)

// Scene is what stands before the traffic starts.
type Scene struct {
	Vmacs    int           `json:"vmacs"`           // with an address each, in namespaces of their own
	Crowd    int           `json:"crowd,omitempty"` // more of them, up, all in one namespace
	Mode     classify.Mode `json:"mode"`
	Software bool          `json:"software,omitempty"` // every device's offloads off
}

// Side is one that takes part under conditions of its own.
type Side struct {
	Contender string `json:"contender"` // as ParseContender reads it
	Label     string `json:"label"`
	Scene     Scene  `json:"scene"`
}

// Case is one line of the comparison.
type Case struct {
	Key   string `json:"key"`   // for --only
	Title string `json:"title"` // for people, "TCP wire→vmac"
	Unit  string `json:"unit"`  // of a sample's value
	Kind  Kind   `json:"kind"`
	Way   Way    `json:"way"`
	Scene Scene  `json:"scene"`

	// Sides take part instead of the run's contenders, the first as baseline.
	Sides []Side `json:"sides,omitempty"`

	Streams   int    `json:"streams,omitempty"`   // TCP: how many
	Spread    bool   `json:"spread,omitempty"`    // TCP: each to a vmac of its own; frames: over the crowd
	Size      int    `json:"size,omitempty"`      // of frames
	Rate      int    `json:"rate,omitempty"`      // frames offered per second; 0 is flat out
	Broadcast bool   `json:"broadcast,omitempty"` // frames go to all, and copies are counted
	Shaped    uint64 `json:"shaped,omitempty"`    // bits per second that the link between parent and wire carries; 0 is any
	Churn     bool   `json:"churn,omitempty"`     // vmacs come and go meanwhile
	Flood     bool   `json:"flood,omitempty"`     // another vmac is flooded meanwhile

	Least bool   `json:"least,omitempty"` // a smaller value is better
	Quick bool   `json:"quick,omitempty"` // part of the quick profile
	Wide  bool   `json:"wide,omitempty"`  // every contender takes part, not just the first two
	Goals []Goal `json:"goals,omitempty"`

	// Floor is the smallest ratio to the baseline that is acceptable; 0 is any.
	Floor float64 `json:"floor,omitempty"`
}

// Name in Go's benchmark style: "traffic=tcp/way=in/streams=1".
func (c Case) Name() string {
	parts := []string{"traffic=" + string(c.Kind), "way=" + string(c.Way)}
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(c.Kind == TCP, "streams=%d", c.Streams)
	add(c.Kind == Frames || c.Kind == Checked, "size=%s", sizeName(c.Size))
	add(c.Rate > 0, "rate=%d", c.Rate)
	add(c.Broadcast, "to=all")
	add(c.Spread, "to=each")
	add(c.Scene.Crowd > 0, "vmacs=%d", c.Scene.Vmacs+c.Scene.Crowd)
	add(c.Scene.Mode != classify.Bridge, "mode=%s", c.Scene.Mode)
	add(c.Scene.Software, "offloads=off")
	add(c.Shaped > 0, "link=%dM", c.Shaped/1e6)
	add(c.Churn, "churn=on")
	add(c.Flood, "flood=on")
	add(c.Sides != nil, "case=%s", c.Key)
	return strings.Join(parts, "/")
}

func sizeName(size int) string {
	switch size {
	case Mix:
		return "mix"
	case Super:
		return "64K"
	}
	return fmt.Sprint(size)
}

// Select returns the cases of a profile, or those that patterns name, each a
// key or one with * and ? as in file names. It refuses a pattern that is none
// or that names nothing.
func Select(full bool, patterns []string) ([]Case, error) {
	all := Cases()
	if len(patterns) == 0 {
		return slices.DeleteFunc(all, func(c Case) bool { return !c.Quick && !full }), nil
	}
	chosen := make([]bool, len(all))
	for _, p := range patterns {
		found := false
		for i, c := range all {
			ok, err := path.Match(p, c.Key)
			if err != nil {
				return nil, fmt.Errorf("%q is no pattern", p)
			}
			if ok {
				chosen[i], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no case %q", p)
		}
	}
	var cases []Case
	for i, c := range all {
		if chosen[i] {
			cases = append(cases, c)
		}
	}
	return cases, nil
}
