// Package config is the file that says which vmacs there shall be: it reads it,
// checks it without a machine, writes it, and finds what has to be done so that
// what runs becomes what it says. It is pure.
package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// Config is a file that has been read, or what runs in the same form.
type Config struct {
	File    string
	Parents []Parent
}

// Parent is a device below, and what shall stand on it.
type Parent struct {
	Name  string `json:"name"`
	Netns string `json:"netns,omitempty"` // a name under /run/netns or a path; empty: the daemon's own
	BCLim int32  `json:"bclim"`
	Vmacs []Vmac `json:"-"`

	at places
}

// Vmac is one device. Name and Netns identify it.
type Vmac struct {
	Name       string            `json:"name"`
	Netns      string            `json:"netns,omitempty"` // as in Parent, but empty means the parent's
	Mode       classify.Mode     `json:"mode"`
	Flags      classify.Flags    `json:"flags,omitempty"`
	MAC        classify.MAC      `json:"mac,omitempty"`     // zero: drawn when the device is made, and kept
	Sources    []classify.MAC    `json:"macaddr,omitempty"` // sorted
	MTU        int               `json:"mtu,omitempty"`     // 0: the parent's
	BCQueueLen uint32            `json:"bcqueuelen"`
	TxQueueLen uint32            `json:"txqueuelen"`
	Up         bool              `json:"up"`
	Promisc    *bool             `json:"promisc,omitempty"` // nil: left as it is
	Allmulti   *bool             `json:"allmulticast,omitempty"`
	Alias      string            `json:"alias,omitempty"` // empty: the daemon's own
	Owner      map[string]string `json:"owner,omitempty"`
	// Addresses are IP addresses that the device shall have; it may have others.
	Addresses []netip.Prefix `json:"addresses,omitempty"`

	at places
}

// pos is a place in the file; lines and columns count from 1.
type pos struct{ line, column int }

// places are the keys of a mapping that were given, and where; "" is the mapping.
type places map[string]pos

func (p places) of(key string) pos {
	if at, ok := p[key]; ok {
		return at
	}
	return p[""]
}

// DefaultTxQueueLen is what macvlan_common_setup gives a device.
const DefaultTxQueueLen = 1000

func newParent() Parent { return Parent{BCLim: classify.DefaultBCLim} }

func newVmac() Vmac {
	return Vmac{
		Mode: classify.Vepa, BCQueueLen: classify.DefaultBCQueueLen,
		TxQueueLen: DefaultTxQueueLen, Up: true,
	}
}

// Home is the namespace where a vmac of p lives, in the words of the file.
func (p *Parent) Home(v *Vmac) string {
	if v.Netns != "" {
		return v.Netns
	}
	return p.Netns
}

// Problem is something wrong with a file, or, as a warning, something odd.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Warning bool   `json:"warning,omitempty"`
	Text    string `json:"text"`
}

func (p Problem) String() string {
	kind := ""
	if p.Warning {
		kind = "warning: "
	}
	return fmt.Sprintf("%s:%d:%d: %s%s", p.File, p.Line, p.Column, kind, p.Text)
}

// Problems is an error if one of them is no warning.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, q := range p {
		lines[i] = q.String()
	}
	return strings.Join(lines, "\n")
}

// Failed reports whether one of them is no warning.
func (p Problems) Failed() bool {
	for _, q := range p {
		if !q.Warning {
			return true
		}
	}
	return false
}
