package classify

import (
	"fmt"
	"strings"
)

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

var modes = [...]struct {
	mode Mode
	name string
}{{Private, "private"}, {Vepa, "vepa"}, {Bridge, "bridge"}, {Passthru, "passthru"}, {Source, "source"}}

// IsValid reports whether m is exactly one mode.
func (m Mode) IsValid() bool { return m != 0 && m&(m-1) == 0 && m <= Source }

// String returns the name that ip(8) prints.
func (m Mode) String() string {
	for _, e := range modes {
		if e.mode == m {
			return e.name
		}
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// ParseMode returns the mode that ip(8) calls s.
func ParseMode(s string) (Mode, error) {
	for _, e := range modes {
		if e.name == s {
			return e.mode, nil
		}
	}
	return 0, fmt.Errorf("parse mode %q: not private, vepa, bridge, passthru or source", s)
}

// MarshalText writes the form of String.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what ParseMode does.
func (m *Mode) UnmarshalText(b []byte) error {
	v, err := ParseMode(string(b))
	if err == nil {
		*m = v
	}
	return err
}

// Flags are IFLA_MACVLAN_FLAGS. Either is accepted in every mode; NoPromisc
// only means something in passthru and NoDst only in source mode.
type Flags uint16

const (
	NoPromisc Flags = 1 // the parent is not made promiscuous for a passthru vmac
	NoDst     Flags = 2 // a frame that hits this vmac's source list goes to nobody else
)

// String returns the words that ip(8) prints, empty if there is none.
func (f Flags) String() string {
	var words []string
	if f&NoPromisc != 0 {
		words = append(words, "nopromisc")
	}
	if f&NoDst != 0 {
		words = append(words, "nodst")
	}
	if rest := f &^ (NoPromisc | NoDst); rest != 0 {
		words = append(words, fmt.Sprintf("flags(%#x)", uint16(rest)))
	}
	return strings.Join(words, " ")
}

// ParseFlags reads words as String writes them; ip's "null" and the empty
// string are no flags.
func ParseFlags(s string) (Flags, error) {
	var f Flags
	for _, w := range strings.Fields(s) {
		switch w {
		case "nopromisc":
			f |= NoPromisc
		case "nodst":
			f |= NoDst
		case "null":
		default:
			return 0, fmt.Errorf("parse flags %q: %q is not nopromisc, nodst or null", s, w)
		}
	}
	return f, nil
}

// MarshalText writes the form of String.
func (f Flags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what ParseFlags does.
func (f *Flags) UnmarshalText(b []byte) error {
	v, err := ParseFlags(string(b))
	if err == nil {
		*f = v
	}
	return err
}

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

var packetTypes = [...]string{"host", "broadcast", "multicast", "other", "outgoing", "loopback"}

// String returns the type in one lower-case word.
func (p PacketType) String() string {
	if int(p) < len(packetTypes) {
		return packetTypes[p]
	}
	return fmt.Sprintf("type(%d)", uint8(p))
}

// MarshalText writes the form of String.
func (p PacketType) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
