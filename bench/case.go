package bench

import "fmt"

// Kind of traffic.
type Kind string

const (
	TCP    Kind = "tcp"    // one stream
	Frames Kind = "frames" // 60-byte frames, flat out
)

// Way of the traffic.
type Way string

const (
	In      Way = "in"      // from the wire to a vmac
	Out     Way = "out"     // from a vmac to the wire
	Sibling Way = "sibling" // from a vmac to its bridge-mode sibling
)

// Case is one line of the comparison.
type Case struct {
	// Name in Go's benchmark style, for example "traffic=tcp/way=in".
	Name string `json:"name"`
	// Title for people, for example "TCP wire→vmac".
	Title string `json:"title"`
	Unit  string `json:"unit"` // "Gbit/s" or "kframes/s"
	Kind  Kind   `json:"kind"`
	Way   Way    `json:"way"`

	// Parent bounds the parent's rate with a token bucket, in bits per second;
	// 0 leaves it as it is.
	Parent uint64 `json:"parent,omitempty"`

	// Floor is the smallest ratio to the baseline that is acceptable; 0 is any.
	Floor float64 `json:"floor,omitempty"`
}

// Cases are all, in the order in which they run.
func Cases() []Case {
	arrow := map[Way]string{In: "wire→vmac", Out: "vmac→wire", Sibling: "vmac→vmac"}
	var cases []Case
	add := func(kind Kind, way Way, parent uint64, floor float64) {
		c := Case{
			Name: fmt.Sprintf("traffic=%s/way=%s", kind, way), Unit: "Gbit/s",
			Title: "TCP " + arrow[way], Kind: kind, Way: way, Parent: parent, Floor: floor,
		}
		if kind == Frames {
			c.Unit, c.Title = "kframes/s", "60-byte frames "+arrow[way]
		}
		if parent > 0 {
			c.Name += fmt.Sprintf("/parent=%dM", parent/1e6)
			c.Title += fmt.Sprintf(", parent %d Mbit/s", parent/1e6)
		}
		cases = append(cases, c)
	}
	add(TCP, In, 0, 0.6)
	add(TCP, Out, 0, 0.6)
	add(TCP, Sibling, 0, 0.6)
	add(Frames, In, 0, 0.5)
	add(Frames, Out, 0, 0.35)
	add(TCP, Out, 200e6, 0)
	add(TCP, Out, 1e9, 0)
	return cases
}
