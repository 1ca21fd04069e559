package classify

// MAC is an Ethernet address, packed so that it compares and hashes as one
// word: the six octets are the low 48 bits, first octet lowest, which is how
// drivers/net/macvlan.c reads an address on a little-endian machine. The zero
// value is the all-zero address, which is valid on no device.
type MAC uint64

// Broadcast is ff:ff:ff:ff:ff:ff.
const Broadcast MAC = 0xffff_ffff_ffff

// MACFrom returns the address in the first six octets of b. It panics if b is
// shorter; callers have checked the length of the frame.
func MACFrom(b []byte) MAC {
	_ = b[5]
	return MAC(b[0]) | MAC(b[1])<<8 | MAC(b[2])<<16 | MAC(b[3])<<24 | MAC(b[4])<<32 | MAC(b[5])<<40
}

// IsGroup reports whether the lowest bit of the first octet is set
// (is_multicast_ether_addr; broadcast is a group address too).
func (m MAC) IsGroup() bool { return m&1 != 0 }
