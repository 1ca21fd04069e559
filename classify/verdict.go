package classify

import "fmt"

// Path is the way on which a copy reaches a vmac; the kernel counts and types
// each differently.
type Path uint8

const (
	Skipped    Path = iota // not delivered; Copy.Reason says why
	Direct                 // unicast to the vmac (or anything unicast, in passthru)
	Flood                  // macvlan_broadcast: a group the vmac's filter admits
	SourceCopy             // macvlan_forward_source: the vmac lists the sender
	Echo                   // a group from the vmac's own address: rx_bytes +0
)

var paths = [...]string{"skipped", "direct", "flood", "source_copy", "echo"}

// String returns the path as a JSON key.
func (p Path) String() string {
	if int(p) < len(paths) {
		return paths[p]
	}
	return fmt.Sprintf("path(%d)", uint8(p))
}

// MarshalText writes the form of String.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Copy is one line of a verdict: a vmac, and how the frame reaches it. A flood
// also yields one Copy, with Path Skipped, for every up vmac that it walked
// past.
type Copy struct {
	Vmac   int32      `json:"vmac"`
	Path   Path       `json:"path"`
	Type   PacketType `json:"type"`   // as the kernel's stack sees it on the vmac; means nothing if skipped
	Reason Reason     `json:"reason"` // Delivered, or why not
}

// Verdict is what happens to the frame itself.
type Verdict struct {
	// Reason is the one answer for the frame: a disposition or a drop.
	Reason Reason `json:"reason"`

	// Host says that the parent's own stack gets the frame too (RX_HANDLER_PASS).
	Host bool `json:"host"`

	// Queued says that the kernel puts the frame on the port's broadcast queue
	// and floods it from there, rather than at once. A frame that nobody turns
	// out to want takes its place in the queue too; source copies never wait.
	Queued bool `json:"queued"`

	// Wire (egress only) says that the frame is handed to the parent.
	Wire bool `json:"wire"`
}
