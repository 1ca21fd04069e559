package dataplane

import (
	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// MaxRaw is the largest raw frame: the virtio header, an Ethernet header with
// two VLAN tags, and 64 KiB.
const MaxRaw = vnet.HdrLen + 22 + 65536

// Frame is one frame on its way. The bytes are borrowed: they are valid until
// the next Recv of whoever filled the batch, and nobody may change them on the
// way. A clone is the only way to outlive the borrow.
type Frame struct {
	// Raw is the virtio header (vnet.HdrLen bytes, all zero if there is nothing
	// to say) and the Ethernet frame, with its VLAN tag in place.
	Raw []byte

	// Type is the frame's packet type as the parent's kernel sees it. Only set
	// by a Wire.
	Type classify.PacketType

	// Untagged is how many bytes of tag a Wire has put back (0 or 4): the
	// kernel's counters on a vmac do not contain them.
	Untagged uint8

	// Cut says that the kernel gave less than the whole frame. Such a frame is
	// counted and never delivered.
	Cut bool
}

// Bytes returns the Ethernet frame.
func (f *Frame) Bytes() []byte { return f.Raw[vnet.HdrLen:] }

// cloneInto makes dst a copy of f whose bytes live in *buf, which is grown if
// it is too small.
func (f *Frame) cloneInto(dst *Frame, buf *[]byte) {
	*buf = append((*buf)[:0], f.Raw...)
	*dst = *f
	dst.Raw = *buf
}

// Batch is what a Recv fills. It is reused: Recv starts with Frames[:0].
type Batch struct {
	Frames []Frame
}
