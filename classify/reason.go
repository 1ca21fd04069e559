package classify

import "fmt"

// Reason names what became of a frame or of a copy. The list below is the only
// one: it is the counter, the JSON key, the metric label, and the sentence that
// explain prints. Adding is free; renaming is a breaking change.
type Reason uint8

const (
	Delivered Reason = iota // a copy: reached its vmac

	// Dispositions of a frame received on the parent (ClassRx).
	Unicast     // to the vmac that owns the destination
	Flooded     // a group, to at least one vmac
	Echoed      // a group from a private, passthru or source vmac's own address, to that vmac alone
	SourceOnly  // a nodst list was hit: source copies only, the parent's stack gets nothing
	NoOwner     // unicast that no up vmac owns: the parent's
	SourceMode  // unicast to a source-mode vmac, which takes nothing by destination: the parent's
	NoGroup     // a group that the port's filters, or every receiver's, don't admit: the parent's
	NoReceiver  // a group that no vmac's mode may hear: the parent's
	PauseToHost // a group with ethertype 0x8808, never flooded: the parent's
	OwnFrame    // sent or looped back by the host itself (PACKET_OUTGOING, PACKET_LOOPBACK)

	// An IPv4 fragment of a group that didn't make its datagram whole: the parent's
	// stack gets none of these. The one that does counts as the datagram.
	FragmentHeld // waits for the others (ClassRx)

	// Dispositions of a frame sent by a vmac (ClassTx).
	ToWire  // to the parent only
	ToLocal // to a bridge sibling only (through the parent's receive path)
	ToBoth  // a group from a bridge vmac: to siblings and to the parent

	// Why a copy was not planned (ClassSkipped). A flood's verdict has the first five.
	NotSubscribed // the vmac's multicast filter does not admit the group
	ModeMask      // the vmac's mode does not hear groups from this sender
	Sender        // the frame came from this vmac
	PauseFrame    // ethertype 0x8808 is never flooded
	OverMTU       // a sibling's group frame larger than this vmac's MTU + 18

	// The same, for vmacs that the decision never came near: only Explain says so.
	NotUp          // the vmac is down: in no hash, and its source list yields no copy
	NotDestination // unicast to somebody else
	PortFilter     // the port's filters did not admit the group, so no vmac was asked
	EchoOnly       // the group came from a vmac whose mode gives it to that vmac alone
	Withheld       // another vmac's nodst list took the frame
	WireOnly       // a sibling's frame that goes to the parent, not to siblings

	// Drops, decided (ClassDropped).
	VmacDown      // the passthru vmac, which would take everything, is down
	ParentDown    // the parent is down or has no carrier
	Runt          // shorter than an Ethernet header
	VLANTruncated // too short for its VLAN tag, the ethertype behind it and two octets more

	// Drops, met while moving frames (ClassDropped).
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

	// Drops of fragments of groups (ClassDropped).
	FragmentDuplicate // all of it is held already
	FragmentOverlap   // overlaps with what is held, which is thrown away too
	FragmentBad       // the same, as it contradicts the others, is empty, or makes too long a datagram
	FragmentNoRoom    // fragments of others take all the memory that they may

	NumReasons int = iota
)

// Class says what a Reason is said of.
type Class uint8

const (
	ClassDelivered Class = iota // a copy that reached its vmac
	ClassRx                     // a frame received on the parent, not dropped
	ClassTx                     // a frame sent by a vmac, not dropped
	ClassSkipped                // a vmac that was meant to get no copy
	ClassDropped                // a frame or copy that was lost
)

var classes = [...]string{"delivered", "rx", "tx", "skipped", "dropped"}

// String returns the class in one lower-case word.
func (c Class) String() string {
	if int(c) < len(classes) {
		return classes[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

var reasons = [NumReasons]struct {
	class    Class
	key      string
	sentence string
}{
	Delivered: {ClassDelivered, "delivered", "delivered"},

	Unicast:     {ClassRx, "unicast", "unicast to the vmac that owns the destination"},
	Flooded:     {ClassRx, "flooded", "a group, flooded to the vmacs that hear it"},
	Echoed:      {ClassRx, "echoed", "a group from the address of a private, passthru or source vmac: to that vmac alone, not to the parent's stack"},
	SourceOnly:  {ClassRx, "source_only", "a source list with nodst names the sender: source copies only, not to the parent's stack"},
	NoOwner:     {ClassRx, "no_owner", "no up vmac owns the destination: left to the parent's stack"},
	SourceMode:  {ClassRx, "source_mode", "the destination is a source-mode vmac, which takes nothing by destination: left to the parent's stack"},
	NoGroup:     {ClassRx, "no_group", "no vmac that may hear the sender admits the group: left to the parent's stack"},
	NoReceiver:  {ClassRx, "no_receiver", "no vmac's mode lets it hear a group from this sender: left to the parent's stack"},
	PauseToHost: {ClassRx, "pause_to_host", "ethertype 0x8808 is never flooded: left to the parent's stack"},
	OwnFrame:    {ClassRx, "own_frame", "sent or looped back by the host itself: vmacs don't hear the parent"},

	FragmentHeld: {ClassRx, "fragment_held", "a fragment of a group: held until the datagram is whole"},

	ToWire:  {ClassTx, "to_wire", "handed to the parent"},
	ToLocal: {ClassTx, "to_local", "to a bridge sibling, through the parent's receive path; not onto the wire"},
	ToBoth:  {ClassTx, "to_both", "flooded to bridge siblings and handed to the parent"},

	NotSubscribed: {ClassSkipped, "not_subscribed", "its multicast filter does not admit the group"},
	ModeMask:      {ClassSkipped, "mode_mask", "its mode does not hear groups from this sender"},
	Sender:        {ClassSkipped, "sender", "it sent the frame"},
	PauseFrame:    {ClassSkipped, "pause_frame", "ethertype 0x8808 is never flooded"},
	OverMTU:       {ClassSkipped, "over_mtu", "the frame is larger than its MTU + 18"},

	NotUp:          {ClassSkipped, "not_up", "it is down"},
	NotDestination: {ClassSkipped, "not_destination", "it does not own the destination, and its source list does not name the sender"},
	PortFilter:     {ClassSkipped, "port_filter", "the port's filters do not admit the group, so no vmac was asked"},
	EchoOnly:       {ClassSkipped, "echo_only", "the sender's address belongs to a vmac whose mode gives the group to that vmac alone"},
	Withheld:       {ClassSkipped, "withheld", "a source list with nodst took the frame"},
	WireOnly:       {ClassSkipped, "wire_only", "the frame goes to the parent; a sibling hears it only if the network sends it back"},

	VmacDown:      {ClassDropped, "vmac_down", "the passthru vmac, which takes everything, is down"},
	ParentDown:    {ClassDropped, "parent_down", "the parent is down or has no carrier"},
	Runt:          {ClassDropped, "runt", "shorter than an Ethernet header"},
	VLANTruncated: {ClassDropped, "vlan_truncated", "the frame is too short for its VLAN tag: 20 octets are the least"},

	BCQueueFull:  {ClassDropped, "bc_queue_full", "the broadcast queue was full"},
	TapDown:      {ClassDropped, "tap_down", "the device was down when the frame was written"},
	TapGone:      {ClassDropped, "tap_gone", "the device no longer exists"},
	TapRefused:   {ClassDropped, "tap_refused", "the device refused the frame's virtio header or length"},
	TapNoBuffer:  {ClassDropped, "tap_no_buffer", "the device could not allocate a buffer"},
	WireDown:     {ClassDropped, "wire_down", "the parent went down while the frame was sent"},
	WireGone:     {ClassDropped, "wire_gone", "the parent no longer exists"},
	WireTooLong:  {ClassDropped, "wire_too_long", "the frame is larger than the parent's MTU"},
	WireRefused:  {ClassDropped, "wire_refused", "the parent refused the frame's virtio header or length"},
	WireNoBuffer: {ClassDropped, "wire_no_buffer", "the parent's queue was full"},
	WireBusy:     {ClassDropped, "wire_busy", "the parent did not become writable in time"},
	Truncated:    {ClassDropped, "truncated", "the frame did not fit the socket's buffer"},
	BadOffload:   {ClassDropped, "bad_offload", "the virtio header does not describe the frame, or asks for what can't be segmented"},
	VmacGone:     {ClassDropped, "vmac_gone", "the vmac was deleted while the frame waited for it"},

	FragmentDuplicate: {ClassDropped, "fragment_duplicate", "a fragment of a group that is held already"},
	FragmentOverlap:   {ClassDropped, "fragment_overlap", "a fragment of a group that overlaps with others: none of them is kept"},
	FragmentBad:       {ClassDropped, "fragment_bad", "a fragment of a group that contradicts the others, is empty, or makes the datagram too long: none of them is kept"},
	FragmentNoRoom:    {ClassDropped, "fragment_no_room", "a fragment of a group, when as many are held as net.ipv4.ipfrag_high_thresh allows"},
}

// Key returns the reason's JSON key and metric label.
func (r Reason) Key() string {
	if int(r) < NumReasons {
		return reasons[r].key
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// String returns Key.
func (r Reason) String() string { return r.Key() }

// Sentence returns the reason in words, without a full stop.
func (r Reason) Sentence() string {
	if int(r) < NumReasons {
		return reasons[r].sentence
	}
	return r.Key()
}

// Class says what r is said of.
func (r Reason) Class() Class {
	if int(r) < NumReasons {
		return reasons[r].class
	}
	return ClassDropped
}

// Dropped reports whether r says that something was lost, rather than that it
// went where it should.
func (r Reason) Dropped() bool { return r.Class() == ClassDropped }

// MarshalText writes Key.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.Key()), nil }
