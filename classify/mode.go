package classify

// Mode is a vmac's forwarding mode. The values are those of IFLA_MACVLAN_MODE,
// one bit each, so that "who gets a copy" is one AND of a mask. The zero value
// is not a mode.
type Mode uint8

const (
	Private  Mode = 1
	Vepa     Mode = 2
	Bridge   Mode = 4
	Passthru Mode = 8
	Source   Mode = 16
)

// Flags are IFLA_MACVLAN_FLAGS. Either is accepted in every mode; NoPromisc
// only means something in passthru and NoDst only in source mode.
type Flags uint16

const (
	NoPromisc Flags = 1 // the parent is not made promiscuous for a passthru vmac
	NoDst     Flags = 2 // a frame that hits this vmac's source list goes to nobody else
)

// PacketType is how the kernel classifies a frame relative to the device that
// receives it: the sll_pkttype of packet(7), with the same values.
type PacketType uint8

const (
	TypeHost      PacketType = 0 // PACKET_HOST: to the device's own address
	TypeBroadcast PacketType = 1 // PACKET_BROADCAST
	TypeMulticast PacketType = 2 // PACKET_MULTICAST
	TypeOther     PacketType = 3 // PACKET_OTHERHOST: to somebody else's address
	TypeOutgoing  PacketType = 4 // PACKET_OUTGOING: sent by this host
	TypeLoopback  PacketType = 5 // PACKET_LOOPBACK: the host's own multicast, looped back
)
