package dataplane

import "github.com/umacvlan/umacvlan/classify"

// Taker takes from the parent's own stack what macvlan consumes. A packet
// socket only gets a copy, but it gets it before the parent's ingress hooks
// run, so a rule there can end a frame that the Wire has already.
type Taker interface {
	// Take makes k what is taken, at once for all frames: none is judged half
	// by the old and half by the new. One caller at a time. After an error what
	// was taken before is still taken.
	Take(k classify.Taken) error

	// Keep says which VLANs have a device of their own on the parent: that takes
	// their frames before macvlan sees any, so they are not taken from it. It has
	// the same caller as Take.
	Keep(ids []uint16) error

	// Rename says what the parent is called now. It has the same caller as Take.
	Rename(name string) error

	// Close ends it. Nothing is taken any more.
	Close() error
}

// The rungs of the ladder, the best first.
const (
	StealTCX  = "tcx"  // a BPF link, gone with its descriptor (6.6)
	StealCls  = "cls"  // a BPF classifier at clsact, without effect once its maps' owner is gone (4.5)
	StealNFT  = "nft"  // a netdev table that its netlink socket owns (5.12)
	StealNone = "none" // the stack keeps its copies
	StealAuto = "auto" // the best of them that there is
)
