package scenario

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// The addresses that every scenario starts with, unless it says otherwise.
var (
	ParentMAC = mustMAC("02:00:00:00:00:0a")
	WireMAC   = mustMAC("02:00:00:00:00:0b")
	AllHosts  = mustMAC("01:00:5e:00:00:01") // joined by every device that is up, by the IPv4 stack
)

// known are the names that need not be said.
var known = map[string]classify.MAC{
	"wire":      WireMAC,
	"ext":       mustMAC("02:00:00:00:0e:01"), // nobody's
	"listed":    mustMAC("02:00:00:00:0e:02"), // nobody's, for source lists
	"unknown":   mustMAC("02:00:00:00:77:77"), // nobody's, to send to
	"broadcast": classify.Broadcast,
	"allhosts":  AllHosts,
	"stp":       mustMAC("01:80:c2:00:00:00"),
	"pause":     mustMAC("01:80:c2:00:00:01"),
	"slow":      mustMAC("01:80:c2:00:00:02"), // LACP
	"pae":       mustMAC("01:80:c2:00:00:03"), // EAPOL
	"lldp":      mustMAC("01:80:c2:00:00:0e"),
	"cdp":       mustMAC("01:00:0c:cc:cc:cc"),
	"ptp":       mustMAC("01:1b:19:00:00:00"),
	"vrrp":      mustMAC("01:00:5e:00:00:12"),
	"mdns":      mustMAC("01:00:5e:00:00:fb"),
}

// reserved can't be names: they mean something else in the language.
var reserved = []string{
	Port, Wire, Host, Stack, Tap, OnNone, OnMissing, OnLo, OnBusy, "netns", "get", "gets", "counts", "shows", "nobody", "in", "answers", "nothing",
}

func mustMAC(s string) classify.MAC {
	m, err := classify.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// MAC resolves an address of six octets.
func (s *Scenario) MAC(a Addr) (classify.MAC, error) {
	b, err := s.Octets(a)
	if err != nil {
		return 0, err
	}
	if len(b) != 6 {
		return 0, fmt.Errorf("address %q has %d octets, not six", string(a), len(b))
	}
	return classify.MACFrom(b), nil
}

// Octets resolves an address of any length. A vmac's name stands for the first
// address that the file gives it, whatever is set later; a passthru vmac's for
// the parent's.
func (s *Scenario) Octets(a Addr) ([]byte, error) {
	if strings.Contains(string(a), ":") {
		if b, ok := octets(string(a)); ok {
			return b, nil
		}
		return nil, fmt.Errorf("address %q is not octets in hexadecimal between colons", string(a))
	}
	m, ok := s.named(string(a))
	if !ok {
		return nil, fmt.Errorf("no address has the name %q", string(a))
	}
	b := m.Bytes()
	return b[:], nil
}

func (s *Scenario) named(name string) (classify.MAC, bool) {
	if name == Port {
		return s.Parent.Address, true
	}
	for _, n := range s.Names {
		if n.Name == name {
			return n.MAC, true
		}
	}
	if m, ok := known[name]; ok {
		return m, true
	}
	var found *Vmac
	s.eachVmac(func(v *Vmac) bool {
		if v.Name == name {
			found = v
		}
		return found == nil
	})
	if found == nil {
		return 0, false
	}
	return s.Address(found), true
}

// eachVmac goes through what the file makes, in its order, until f says no.
func (s *Scenario) eachVmac(f func(*Vmac) bool) {
	for i := range s.Vmacs {
		if !f(&s.Vmacs[i]) {
			return
		}
	}
	for i := range s.Steps {
		if c := s.Steps[i].Control; c != nil && c.Vmac != nil && !f(c.Vmac) {
			return
		}
	}
}

// Address returns what a vmac of Vmacs, or of an Add, is given when it is made:
// what it says, or 02:00:00:00:01:NN with the place of its name in the file.
// Passthru has the parent's first address. It is 0 if the vmac says something
// that is no address.
func (s *Scenario) Address(v *Vmac) classify.MAC {
	switch {
	case v.Link.Mode != nil && *v.Link.Mode == uint32(classify.Passthru):
		return s.Parent.Address
	case v.Address != "":
		m, err := s.MAC(v.Address)
		if err != nil {
			return 0
		}
		return m
	}
	n := s.place(v.Name)
	b := [6]byte{2, 0, 0, 0, byte(1 + n>>8), byte(n)}
	return classify.MACFrom(b[:])
}

// place is the number of a vmac's name among all that the file has, from 1.
func (s *Scenario) place(name string) int {
	var seen []string
	s.eachVmac(func(v *Vmac) bool {
		if !slices.Contains(seen, v.Name) {
			seen = append(seen, v.Name)
		}
		return v.Name != name
	})
	return len(seen)
}

// octets reads two octets or more, of one or two digits between colons.
func octets(s string) ([]byte, bool) {
	var b []byte
	for _, g := range strings.Split(s, ":") {
		if len(g) == 1 {
			g = "0" + g
		}
		o, err := hex.DecodeString(g)
		if err != nil || len(o) != 1 || len(b) == 32 {
			return nil, false
		}
		b = append(b, o[0])
	}
	return b, len(b) > 1
}

// literal is how an address is written.
func literal(b []byte) Addr {
	var w strings.Builder
	for i, o := range b {
		if i > 0 {
			w.WriteByte(':')
		}
		fmt.Fprintf(&w, "%02x", o)
	}
	return Addr(w.String())
}

// validName says whether a vmac or an address can have the name: letters,
// digits, underscore, hyphen and full stop, at most the 15 of a device.
func validName(name string) bool {
	if name == "" || len(name) > 15 || name == "." || name == ".." || slices.Contains(reserved, name) {
		return false
	}
	if _, ok := known[name]; ok {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
