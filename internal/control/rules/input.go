package rules

import (
	"syscall"

	"github.com/umacvlan/umacvlan/classify"
)

// Input is a request or an event: one of the types below.
type Input interface {
	apply(s *State) (Answer, []Action)
}

// Apply answers in. If the Answer is a refusal the State may still have
// changed: the kernel applies a change request attribute by attribute and does
// not take back what it has done. The Actions are to be carried out in order.
//
// An input about a vmac that doesn't exist is answered with ENODEV.
func Apply(s State, in Input) (State, Answer, []Action) {
	if id, ok := subject(in); ok {
		if v, _ := s.Vmac(id); v == nil {
			return s, refuse(syscall.ENODEV, "the device doesn't exist"), nil
		}
	}
	a, actions := in.apply(&s)
	return s, a, actions
}

// subject is the vmac that has to exist for in to make sense.
func subject(in Input) (VmacID, bool) {
	switch r := in.(type) {
	case NewLink:
		return r.Upper, r.Upper != 0
	case ChangeLink:
		return r.Vmac, true
	case SetAddress:
		return r.Vmac, true
	case SetMTU:
		return r.Vmac, true
	case SetUp:
		return r.Vmac, true
	case DelLink:
		return r.Vmac, true
	case VmacSeen:
		return r.Vmac, true
	case VmacGone:
		return r.Vmac, true
	case FdbAdd:
		return r.Vmac, true
	case FdbDel:
		return r.Vmac, true
	}
	return 0, false
}

// Answer is what rtnetlink would answer. The zero value is success.
type Answer struct {
	Errno syscall.Errno
	Text  string // extended ack
	Hint  string // one line: why, and what to do
	Vmac  VmacID // the one that NewLink made
}

// OK reports success.
func (a Answer) OK() bool { return a.Errno == 0 }

// Data is IFLA_INFO_DATA of kind macvlan. Nil means "not given". Addresses are
// the attribute's bytes, of any length.
type Data struct {
	Mode        *uint32
	Flags       *uint16
	BCQueueLen  *uint32
	BCLim       *int32
	MacaddrMode *uint32
	Macaddr     []byte
	MacaddrData [][]byte
}

// The values of IFLA_MACVLAN_MACADDR_MODE.
const (
	MacaddrAdd uint32 = iota
	MacaddrDel
	MacaddrFlush
	MacaddrSet
)

// NewLink is RTM_NEWLINK with NLM_F_CREATE, and NLM_F_EXCL for a name that is
// taken.
type NewLink struct {
	Name  string // empty, or with one %d: the lowest free number
	Netns uint64 // where the device is to live
	Kind  string

	// Link is the parent; nil if the request names none. If the request names
	// one that doesn't exist, Missing is set. If it names a vmac, Upper is that
	// vmac, and its parent is used (macvlan_common_newlink).
	Link    *Parent
	Missing bool
	Upper   VmacID

	Address []byte       // nil: none given
	Random  classify.MAC // what to use then
	MTU     *uint32
	Data    *Data

	// Taken reports whether a device that is no vmac has the name; nil: none.
	Taken func(name string) bool
}

// ChangeLink is RTM_NEWLINK for an existing vmac with IFLA_LINKINFO in it
// (macvlan_validate, then macvlan_changelink). A new address is only validated;
// it takes a SetAddress to set it.
type ChangeLink struct {
	Vmac    VmacID
	Kind    string
	Address []byte
	Data    *Data
}

// SetAddress is ndo_set_mac_address.
type SetAddress struct {
	Vmac    VmacID
	Address []byte
}

// SetMTU is ndo_change_mtu.
type SetMTU struct {
	Vmac VmacID
	MTU  uint32
}

// SetUp is ndo_open and ndo_stop.
type SetUp struct {
	Vmac VmacID
	Up   bool
}

// DelLink is RTM_DELLINK.
type DelLink struct{ Vmac VmacID }

// ParentSeen says what a parent is like now (NETDEV_UP, DOWN, CHANGE,
// CHANGEMTU, CHANGEADDR, CHANGENAME).
type ParentSeen struct{ Parent Parent }

// ParentGone is NETDEV_UNREGISTER: every vmac of the port goes.
type ParentGone struct{ Parent ParentID }

// VmacSeen says what the device behind a vmac is like now, whoever made it so.
// What the kernel would have refused is answered with the refusal, and taken
// back by Actions.
type VmacSeen struct {
	Vmac      VmacID
	Name      string
	Netns     uint64
	MAC       classify.MAC
	Broadcast classify.MAC
	MTU       int
	Up        bool
	Promisc   bool
	Allmulti  bool
	Groups    []classify.MAC // sorted
}

// VmacGone says that the device behind a vmac no longer exists.
type VmacGone struct{ Vmac VmacID }

// FilterSeen says what the parent's flags were when a port's addresses had been
// programmed (macvlan_compute_filter).
type FilterSeen struct {
	Parent            ParentID
	Promisc, Allmulti bool
}

// ActionKind says what is to be done.
type ActionKind uint8

const (
	SetParentMAC ActionKind = iota // give Parent the address MAC
	SetMAC                         // give Vmac the address MAC
	ChangeMTU                      // give Vmac the MTU
	SetDown                        // take Vmac down
	SetCarrier                     // On: the carrier of Vmac
	Delete                         // delete the device of Vmac
	AddGroup                       // MAC is a further group of Vmac
	DelGroup                       // and no longer
)

// Action is something to be done to a real device.
type Action struct {
	Kind   ActionKind
	Parent ParentID
	Vmac   VmacID
	MAC    classify.MAC
	MTU    int
	On     bool
}
