package classify

// Spec is everything the decision depends on: a port (the parent's side) and
// its vmacs. A Table is made whole from it; nothing is edited in place.
type Spec struct {
	// Parent is the parent's own address, Broadcast its broadcast address
	// (zero means ff:ff:ff:ff:ff:ff). The one types source-list copies of what
	// siblings send each other, the other is always in the port's filters.
	Parent    MAC
	Broadcast MAC

	// ParentDown says that the parent is administratively down or has lost its
	// carrier: every transmission of a vmac is dropped, local ones included.
	ParentDown bool

	// FilterAll says that the parent was promiscuous or allmulti when the
	// port-wide group filters were last computed: both are then all ones.
	FilterAll bool
	// QueueCounts, with FilterAll, says that this holds for the one filter only: the
	// one for the broadcast queue was made again since, when the parent was neither,
	// and counts who subscribes (macvlan_recompute_bc_filter).
	QueueCounts bool

	// BCLim is IFLA_MACVLAN_BC_CUTOFF of the port: groups with more than so
	// many subscribing vmacs go through the broadcast queue, below 0 none does,
	// not even broadcast. The kernel's default is DefaultBCLim, not 0.
	BCLim int32

	// Vmacs in order of creation. A vmac's index here is its number in Copy
	// and in every method of Table.
	Vmacs []Vmac

	// Sources holds the source-list entries of all vmacs in the order in which
	// they were added (the newest is served first).
	Sources []SourceEntry
}

// DefaultBCLim and DefaultBCQueueLen are what the kernel starts with.
const (
	DefaultBCLim      = 1
	DefaultBCQueueLen = 1000
)

// Vmac is one emulated device, as macvlan_dev and its net_device.
type Vmac struct {
	Name  string
	Mode  Mode
	Flags Flags
	MAC   MAC

	// Broadcast is the device's broadcast address; zero means ff:ff:ff:ff:ff:ff.
	Broadcast MAC

	// Up is IFF_UP. UpSeq orders the vmacs by when they last entered the hash
	// (brought up, or given a new MAC while up): larger is later, and among
	// equals the later created.
	Up    bool
	UpSeq uint64

	// MTU bounds what a bridge sibling may flood to this vmac; 0 means no bound.
	MTU int

	// Groups is the device's multicast list; a repetition counts once. Promisc and Allmulti admit every
	// group (and no foreign unicast).
	Groups   []MAC
	Promisc  bool
	Allmulti bool

	// Unicast are the device's secondary addresses, which the parent gets too.
	// No frame is delivered for their sake.
	Unicast []MAC

	// FilterKey is XORed into the group hash of this vmac's 256-bit filter. The
	// kernel derives it from a pointer; here it is whatever the Spec says, so
	// that a decision can be repeated.
	FilterKey uint32

	// BCQueueLen is IFLA_MACVLAN_BC_QUEUE_LEN; the port's queue holds the
	// largest of its vmacs', up or down.
	BCQueueLen uint32
}

// SourceEntry is one line of a source list: frames from MAC are copied to
// Vmacs[Vmac], which must be in source mode. No entry comes twice.
type SourceEntry struct {
	Vmac int
	MAC  MAC
}
