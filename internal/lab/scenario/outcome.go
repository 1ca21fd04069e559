package scenario

import (
	"context"

	"github.com/umacvlan/umacvlan/classify"
)

// Names of places that aren't vmacs.
const (
	Wire  = "wire"   // the other end of the parent's cable
	Host  = "host"   // the parent's own socket, as a sender
	Stack = "stack"  // protocol handlers in the parent's namespace, frames that come in on the parent
	Tap   = "tap"    // a packet socket of every type on the parent
	Port  = "parent" // the parent as a device, in counters and actions
)

// Outcome is what follows from one step, expected or observed.
type Outcome struct {
	// Gets are all frames that reached anybody. Whoever isn't named got
	// nothing, except Tap: that is compared only if it is named.
	Gets []Delivery
	// InOrder says that the vmacs have to be served in the order of Gets. An
	// observed outcome always lists them in the order observed.
	InOrder bool
	// Counts are differences made by the step. An expected one is exact about
	// the device that it names; an observed one has every device that exists
	// after the step, even if nothing moved.
	Counts []Count
	Answer Answer
	Shows  []Shown
	// Why says for each vmac that got nothing what decided so. Only the model
	// knows.
	Why []Why
	// Explained is the whole decision, nil if there was none. Only the model
	// knows.
	Explained *classify.Explanation

	notes map[lineKey]Note // of the expected lines, by what they begin with
}

// lineKey says what a line is about: an answer, gets, nobody, order, counts or
// shows, and the index of the first that it has of these.
type lineKey struct {
	kind  byte
	index int
}

// Delivery is a frame that reached somebody.
type Delivery struct {
	Who  string // a vmac, Wire, Stack or Tap
	Type classify.PacketType
	// StackType is what protocol handlers on a vmac see if that is another
	// type; nil: the same, or nobody looked.
	StackType *classify.PacketType
	// Frame is the frame with its VLAN tag in place; expected nil means: as it
	// was sent.
	Frame []byte
	// Len is expected instead of a Frame if it is not 0: the bytes don't
	// matter, only how many.
	Len int
	// Times is how often, 0 means 1. If an expected Most is not 0, anything from
	// Times, which may be 0 then, to Most is right.
	Times, Most int
}

// Count is by how much the counters of a vmac, or of Port, moved.
type Count struct {
	Who string
	Counters
}

// Counters are what "ip -s link" shows.
type Counters struct {
	RxPackets, RxBytes, RxErrors, RxDropped, Multicast uint64
	TxPackets, TxBytes, TxDropped                      uint64
}

// Answer is what a control action or a send was answered. The zero value is
// success.
type Answer struct {
	Errno string // such as "EBUSY"
	Text  string // extended ack; compared only if both sides have one
	Hint  string // what the emulator adds for people; never compared
}

// OK reports success.
func (a Answer) OK() bool { return a.Errno == "" }

// Shown is what a device looks like: some of the Show* keys. Only keys that
// both sides have are compared.
type Shown struct {
	Who    string // a vmac or Port
	Fields []Field
}

// Field is one property, in the words of the language.
type Field struct{ Key, Value string }

// Keys of a Shown. Absent vmacs show "exists no" and nothing else.
const (
	ShowExists      = "exists"     // yes or no
	ShowMode        = "mode"       // vmac: by name
	ShowFlags       = "flag"       // vmac: nopromisc, nodst, "nopromisc,nodst" or null
	ShowAddress     = "address"    // octets
	ShowMTU         = "mtu"        // a number
	ShowState       = "state"      // vmac: up or down, administratively
	ShowCarrier     = "carrier"    // on or off
	ShowBCQueueLen  = "bcqueuelen" // vmac: a number
	ShowUsedLen     = "usedbcqueuelen"
	ShowBCLim       = "bclim"       // vmac: a number
	ShowList        = "list"        // vmac: octets, sorted, with commas; none
	ShowPromiscuity = "promiscuity" // parent: a number
	ShowAllmulti    = "allmulti"    // parent: a number
	ShowUnicast     = "unicast"     // secondary addresses, as ShowList
	ShowMulticast   = "multicast"   // groups, the parent's from vmacs, without allhosts, as ShowList
)

// Why is the reason for which a vmac got nothing. Reason is Delivered, the zero
// value, if the frame never came as far as the decision; Text says it always.
type Why struct {
	Who    string
	Reason classify.Reason
	Text   string
}

// Result is what one way of running observed.
type Result struct {
	Way      Way
	Version  string    // of the kernel, for ways that have one
	Outcomes []Outcome // one per step
}

// Player runs scenarios one at a time. Play fails if the topology can't be
// made or a step can't be carried out at all; that a step was refused, or went
// otherwise than expected, is in the Result. It must not change the Scenario.
type Player interface {
	Way() Way
	Play(ctx context.Context, s *Scenario) (*Result, error)
}

// Difference is one thing that isn't as it should be, or not as it is
// elsewhere.
type Difference struct {
	Step int    // index into Scenario.Steps
	Who  string // the device, or empty for an answer
	What string // "gets" with what is wrong, and so on: a clause to be printed
	// Kind is one of the Kind* constants.
	Kind string
	// Listed is the number of the deviation in docs/semantics.md that excuses
	// it; empty: none does. Compare and Check leave it empty.
	Listed string
}
