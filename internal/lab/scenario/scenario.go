package scenario

import (
	"io/fs"

	"github.com/umacvlan/umacvlan/classify"
)

// Way is a way of running a scenario.
type Way string

const (
	Model    Way = "model"    // the decision alone, in this process
	Emulator Way = "emulator" // umacvlan on real devices
	Kernel   Way = "kernel"   // the kernel's own macvlan
)

// Ways are all of them.
var Ways = []Way{Model, Emulator, Kernel}

// Profile says whose behaviour is meant: the driver's as it is now, or as it
// was in an older kernel.
type Profile string

const (
	Current  Profile = "current"
	Linux310 Profile = "3.10"
	Linux44  Profile = "4.4"
	Linux54  Profile = "5.4"
)

// Profiles are all of them, the newest first.
var Profiles = []Profile{Current, Linux54, Linux44, Linux310}

// Scenario is one file: a port, what is done to it, and what follows. A
// Scenario that was read by Parse and not changed since may be shared by any
// number of goroutines.
type Scenario struct {
	File     string // as given to Parse; for messages, and where captures are looked for
	Title    string
	Profile  Profile
	Only     []Way  // the ways that can run it; empty: all
	OnlyWhy  string // why not the others
	Recorded string // what it was recorded on, such as "Linux 6.18.44"; empty if it never was
	Parent   Parent
	Names    []Name
	Vmacs    []Vmac // made before the first step, in this order
	Steps    []Step

	// FS is where a send's capture file is opened; nil means the directory of
	// File.
	FS fs.FS

	notes map[string]Note // of the statements that there is one of, by keyword
	end   []string        // comment lines after the last statement
}

// Note is what a writer put beside a statement: it survives Format.
type Note struct {
	Above []string // whole lines before it: comments with their "#", or "" for an empty line
	Right string   // the comment on the same line, with its "#"
}

// Addr is an address as a scenario says it: a name, or octets in hexadecimal.
// Scenario.MAC and Scenario.Octets resolve it.
type Addr string

// Parent is the lower device at the start.
type Parent struct {
	MTU      int
	Address  classify.MAC
	Offloads bool
}

// Name is a name for an address.
type Name struct {
	Name string
	MAC  classify.MAC
	Note Note
}

// Vmac is what a vmac is made from, at the start or by an add. It is made,
// given its broadcast address, groups, promisc and allmulti in this order, and
// brought up unless Down.
type Vmac struct {
	Name      string
	On        string // what it is put on; empty: the parent. See On* below
	Link      Link
	Address   Addr // empty: by its place, 02:00:00:00:01:NN. See Scenario.Address
	MTU       *uint32
	Broadcast Addr
	Groups    []Addr
	Promisc   bool
	Allmulti  bool
	Down      bool
	Netns     string // empty: the parent's
	Note      Note
}

// What a vmac can be put on, beside the parent and another vmac.
const (
	OnNone    = "none"    // the request names no device
	OnMissing = "missing" // it names one that doesn't exist
	OnLo      = "lo"      // the loopback device of the parent's namespace
	OnBusy    = "busy"    // a device that is a bridge's port
)

// Link is what one request says about IFLA_INFO_DATA. Nil means that it is not
// said. Values need not be valid: what the driver answers may be the point.
type Link struct {
	Mode        *uint32
	Flags       *uint16
	BCQueueLen  *uint32
	BCLim       *int32
	MacaddrMode *uint32 // rules.MacaddrAdd and so on
	Macaddr     Addr    // for add and del; empty: none
	List        []Addr  // for set
}

// Step is one statement after the topology: exactly one of Send and Control is
// set. Its outcome is complete before the next step begins.
type Step struct {
	Line    int // in the file, from 1
	Send    *Send
	Control *Control

	// Stated says that something is expected. If nothing is, whatever happens
	// is right, but a control action has to succeed.
	Stated bool
	Expect Outcome
	Note   Note
}

// Send is one frame, sent Times times. Scenario.Frame makes its bytes.
type Send struct {
	From string // "wire", "host" (the parent's own socket), or a vmac

	Dst, Src Addr
	Tags     []Tag    // the outermost first
	Kind     []string // a frame by name, with its arguments; empty: a test frame
	Type     *uint16
	Len      int    // of the whole frame, tags included; 0: as it comes
	Payload  []byte // nil: one of our own, different in each step

	Bytes   []byte // the whole frame, instead of all the above
	Capture string // or a record of this pcap or pcapng file
	Record  int    // from 1

	Times int // at least 1
}

// Tag is one VLAN tag.
type Tag struct {
	TPID uint16
	TCI  uint16
}

// Verb is what a Control does.
type Verb string

const (
	Add    Verb = "add"    // Vmac
	Set    Verb = "set"    // Link, or one Attr
	Delete Verb = "delete" // a vmac, "parent", or with Attr AttrNetns the namespace Value
	Join   Verb = "join"   // Groups
	Leave  Verb = "leave"  // Groups
	Fdb    Verb = "fdb"    // Attr is one of AttrFdb*, Value the address
	Show   Verb = "show"   // what Outcome.Shows has
)

// Attr is a property of a device, one of which a set changes.
type Attr string

const (
	AttrUp        Attr = "up"
	AttrDown      Attr = "down"
	AttrAddress   Attr = "address"   // Value: Addr, of any length
	AttrMTU       Attr = "mtu"       // Value: a number
	AttrBroadcast Attr = "broadcast" // Value: Addr
	AttrPromisc   Attr = "promisc"   // Value: on, off
	AttrAllmulti  Attr = "allmulti"  // Value: on, off
	AttrNetns     Attr = "netns"     // Value: a name; "parent" is the parent's first one
	AttrCarrier   Attr = "carrier"   // parent only. Value: on, off; settled before the step ends
	AttrIngress   Attr = "ingress"   // parent only: a tc rule drops what is received. Value: "pass", "drop", or Addr: drop what is for it
	AttrEgress    Attr = "egress"    // parent only: a tc rule drops what is sent. Value: "pass" or "drop"
)

// What an Fdb does to a vmac's further addresses, as "bridge fdb" would.
const (
	AttrFdbAdd     Attr = "add"
	AttrFdbReplace Attr = "replace"
	AttrFdbDel     Attr = "del"
)

// Control is one action on the control plane.
type Control struct {
	Verb   Verb
	Who    string // a vmac, or "parent"
	Vmac   *Vmac  // Add
	Link   *Link  // Set of what ip calls type options
	Attr   Attr   // Set of anything else
	Value  string
	Groups []Addr
}
