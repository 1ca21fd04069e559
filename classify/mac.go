package classify

import (
	"fmt"
	"strings"
)

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

// ParseMAC reads what ip(8) takes, six octets of one or two hexadecimal digits
// between colons, and the other notations of net.ParseMAC: two digits between
// hyphens, or three groups of four digits between full stops.
func ParseMAC(s string) (MAC, error) {
	sep, octets, least, most := ":", 1, 1, 2
	switch {
	case strings.Contains(s, "."):
		sep, octets, least, most = ".", 2, 4, 4
	case strings.Contains(s, "-"):
		sep, octets, least, most = "-", 1, 2, 2
	}
	groups := strings.Split(s, sep)
	if len(groups)*octets != 6 {
		return 0, fmt.Errorf("parse MAC %q: not six octets", s)
	}
	var m MAC
	shift := 0
	for _, g := range groups {
		if len(g) < least || len(g) > most {
			return 0, fmt.Errorf("parse MAC %q: group %q has %d digits", s, g, len(g))
		}
		v := 0
		for _, c := range []byte(g) {
			d := hexDigit(c)
			if d < 0 {
				return 0, fmt.Errorf("parse MAC %q: %q is not a hexadecimal digit", s, c)
			}
			v = v<<4 | d
		}
		if octets > 1 {
			m |= MAC(v>>8) << shift
			shift += 8
		}
		m |= MAC(v&0xff) << shift
		shift += 8
	}
	return m, nil
}

// hexDigit returns the digit's value, -1 if it isn't one.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// IsGroup reports whether the lowest bit of the first octet is set
// (is_multicast_ether_addr; broadcast is a group address too).
func (m MAC) IsGroup() bool { return m&1 != 0 }

// IsZero reports whether m is the all-zero address.
func (m MAC) IsZero() bool { return m == 0 }

// IsValid reports whether a device may have this address: neither a group nor
// all zero (is_valid_ether_addr), and nothing beyond 48 bits.
func (m MAC) IsValid() bool { return m != 0 && m&1 == 0 && m>>48 == 0 }

// Bytes returns the six octets in the order of the wire.
func (m MAC) Bytes() [6]byte {
	return [6]byte{byte(m), byte(m >> 8), byte(m >> 16), byte(m >> 24), byte(m >> 32), byte(m >> 40)}
}

// Put writes the six octets to the start of b. It panics if b is shorter.
func (m MAC) Put(b []byte) {
	_ = b[5]
	b[0], b[1], b[2] = byte(m), byte(m>>8), byte(m>>16)
	b[3], b[4], b[5] = byte(m>>24), byte(m>>32), byte(m>>40)
}

// String returns the address as ip(8) prints it: 02:00:00:00:0e:01.
func (m MAC) String() string { return string(m.append(make([]byte, 0, 17))) }

func (m MAC) append(b []byte) []byte {
	const digits = "0123456789abcdef"
	for i, o := range m.Bytes() {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[o>>4], digits[o&15])
	}
	return b
}

// MarshalText writes the form of String.
func (m MAC) MarshalText() ([]byte, error) { return m.append(nil), nil }

// UnmarshalText reads what ParseMAC does.
func (m *MAC) UnmarshalText(b []byte) error {
	v, err := ParseMAC(string(b))
	if err == nil {
		*m = v
	}
	return err
}
