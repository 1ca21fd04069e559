package classify

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

// Copy is one line of a verdict: a vmac, and how the frame reaches it. A flood
// also yields one Copy, with Path Skipped, for every up vmac that it walked
// past.
type Copy struct {
	Vmac   int32
	Path   Path
	Type   PacketType // as the kernel's stack sees it on the vmac
	Reason Reason     // Delivered, or why not
}

// Verdict is what happens to the frame itself.
type Verdict struct {
	// Reason is the one answer for the frame: a disposition or a drop.
	Reason Reason

	// Host says that the parent's own stack gets the frame too (RX_HANDLER_PASS).
	Host bool

	// Queued says that the Flood copies go through the broadcast queue rather
	// than being delivered at once.
	Queued bool

	// Wire (egress only) says that the frame is handed to the parent.
	Wire bool
}

// Reason names what became of a frame or of a copy. The list below is the only
// one: it is the counter, the JSON key, the metric label, and the sentence that
// explain prints. Adding is free; renaming is a breaking change.
type Reason uint8

const (
	Delivered Reason = iota // a copy: reached its vmac

	// Dispositions of a frame received on the parent.
	Unicast    // to the vmac that owns the destination
	Flooded    // a group, to at least one vmac
	Echoed     // a group from a private, passthru or source vmac's own address, to that vmac alone
	SourceOnly // a nodst list was hit: source copies only, the parent's stack gets nothing
	NoOwner    // unicast that no up vmac owns: the parent's
	SourceMode // unicast to a source-mode vmac, which takes nothing by destination: the parent's
	NoGroup    // a group that the port's filters, or every receiver's, don't admit: the parent's
	NoReceiver // a group that no vmac's mode may hear: the parent's
	OwnFrame   // sent or looped back by the host itself (PACKET_OUTGOING, PACKET_LOOPBACK)

	// Dispositions of a frame sent by a vmac.
	ToWire  // to the parent only
	ToLocal // to a bridge sibling only (through the parent's receive path)
	ToBoth  // a group from a bridge vmac: to siblings and to the parent

	// Why a copy was not planned.
	NotSubscribed // the vmac's multicast filter does not admit the group
	ModeMask      // the vmac's mode does not hear groups from this sender
	Sender        // the frame came from this vmac
	PauseFrame    // ethertype 0x8808 is never flooded
	OverMTU       // a sibling's group frame larger than this vmac's MTU + 18

	// Drops, decided.
	VmacDown      // the passthru vmac, which would take everything, is down
	ParentDown    // the parent is down or has no carrier
	Runt          // shorter than an Ethernet header
	VLANTruncated // ends inside its VLAN tag

	// Drops, met while moving frames.
	BCQueueFull  // the broadcast queue was full
	TapDown      // the device was down when the frame was written
	TapGone      // the device no longer exists
	TapRefused   // the device refused the frame's virtio header or length
	TapNoBuffer  // the device could not allocate
	WireDown     // the parent went down while sending
	WireGone     // the parent no longer exists
	WireTooLong  // larger than the parent's MTU
	WireRefused  // the parent refused the frame's virtio header or length
	WireNoBuffer // the parent's queue was full (ENOBUFS)
	WireBusy     // the parent did not become writable in time
	Truncated    // the frame did not fit the socket's buffer
	BadOffload   // a virtio header that doesn't describe its frame, or a kind that can't be segmented
	VmacGone     // deleted while a copy was waiting in the broadcast queue

	NumReasons int = iota
)
