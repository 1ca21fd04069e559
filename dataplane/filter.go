package dataplane

import (
	"slices"

	"github.com/umacvlan/umacvlan/classify"
)

// insn is one instruction of a classic BPF program, laid out as struct
// sock_filter.
type insn struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// The instructions that a filter is made of (linux/bpf_common.h).
const (
	opLoadWord   = 0x20 // A = 4 bytes of the frame at k, big endian
	opLoadHalf   = 0x28
	opLoadByte   = 0x30
	opMul        = 0x24 // A *= k
	opAddX       = 0x0c // A += X
	opTAX        = 0x07 // X = A
	opJump       = 0x05 // skip k instructions
	opJumpEqual  = 0x15
	opJumpAbove  = 0x25 // A > k, unsigned
	opJumpSet    = 0x45
	opReturn     = 0x06
	passAll      = 0xffff_ffff // the return value that keeps the whole frame
	maxInsns     = 4096        // BPF_MAXINSNS
	adPacketType = 0xffff_f000 + 4
)

// filterSet is what a filter lets through beside group frames.
type filterSet struct {
	dst, src []classify.MAC // sorted, no duplicates
	all      bool
}

func newFilterSet(a *classify.Addresses) filterSet {
	if a.All {
		return filterSet{all: true}
	}
	return filterSet{dst: sortedMACs(a.Dst), src: sortedMACs(a.Src)}
}

func (f filterSet) equal(g filterSet) bool {
	return f.all == g.all && slices.Equal(f.dst, g.dst) && slices.Equal(f.src, g.src)
}

// union lets through what f or g lets through.
func (f filterSet) union(g filterSet) filterSet {
	if f.all || g.all {
		return filterSet{all: true}
	}
	return filterSet{
		dst: sortedMACs(append(slices.Clone(f.dst), g.dst...)),
		src: sortedMACs(append(slices.Clone(f.src), g.src...)),
	}
}

func sortedMACs(m []classify.MAC) []classify.MAC {
	m = slices.Clone(m)
	slices.Sort(m)
	return slices.Compact(m)
}

// program compiles f. A set too large for one program becomes one that passes
// every frame, which costs copies and changes no decision; full says so.
// dropOutgoing is for kernels without PACKET_IGNORE_OUTGOING (before 4.20).
func (f filterSet) program(dropOutgoing bool) (prog []insn, full bool) {
	if dropOutgoing {
		prog = append(prog,
			insn{opLoadWord, 0, 0, adPacketType},
			insn{opJumpEqual, 0, 1, uint32(classify.TypeOutgoing)},
			insn{opReturn, 0, 0, 0})
	}
	if f.all {
		return append(prog, insn{opReturn, 0, 0, passAll}), false
	}
	head := len(prog)
	prog = append(prog,
		insn{opLoadByte, 0, 0, 0},
		insn{opJumpSet, 0, 1, 1},
		insn{opReturn, 0, 0, passAll})
	if len(f.dst) > 0 {
		prog = append(prog, loadKey(0)...)
		prog = append(prog, search(keys(f.dst), 0)...)
	}
	if len(f.src) > 0 {
		prog = append(prog, loadKey(6)...)
		prog = append(prog, search(keys(f.src), 0)...)
	}
	prog = append(prog, insn{opReturn, 0, 0, 0})
	if len(prog) > maxInsns {
		return append(prog[:head], insn{opReturn, 0, 0, passAll}), true
	}
	return prog, false
}

// An address is compared by a 32-bit key, because that is what classic BPF can
// compare at once: the last four octets plus the first two times an odd number.
// Addresses that differ only in their first two octets (a vmac's derived from
// the parent's, say) never share a key. If others do, a frame too many is
// copied, and Table.Ingress still decides it.
const keyMul = 0x9e37_79b1

func key(m classify.MAC) uint32 {
	first := uint32(m&0xff)<<8 | uint32(m>>8&0xff)
	last := uint32(m>>16&0xff)<<24 | uint32(m>>24&0xff)<<16 | uint32(m>>32&0xff)<<8 | uint32(m>>40&0xff)
	return last + first*keyMul
}

func keys(macs []classify.MAC) []uint32 {
	k := make([]uint32, len(macs))
	for i, m := range macs {
		k[i] = key(m)
	}
	slices.Sort(k)
	return slices.Compact(k)
}

// loadKey leaves the key of the address at offset off in A.
func loadKey(off uint32) []insn {
	return []insn{
		{opLoadHalf, 0, 0, off},
		{opMul, 0, 0, keyMul},
		{opTAX, 0, 0, 0},
		{opLoadWord, 0, 0, off + 2},
		{opAddX, 0, 0, 0},
	}
}

// leafKeys is how many keys a leaf compares one after the other. A leaf costs
// three instructions beside them, so smaller leaves would hold fewer addresses.
const leafKeys = 8

// search passes the frame if A is one of k, and otherwise goes on miss
// instructions behind its own end. Jumps of a condition reach 255
// instructions, those of opJump any distance.
func search(k []uint32, miss int) []insn {
	if len(k) <= leafKeys {
		var p []insn
		for i, key := range k {
			p = append(p, insn{opJumpEqual, uint8(len(k) - i), 0, key})
		}
		return append(p, insn{opJump, 0, 0, uint32(1 + miss)}, insn{opReturn, 0, 0, passAll})
	}
	mid := len(k) / 2
	above := search(k[mid:], miss)
	below := search(k[:mid], miss+len(above))
	p := []insn{{opJumpAbove, uint8(len(below)), 0, k[mid-1]}}
	if len(below) > 255 {
		p = []insn{{opJumpAbove, 0, 1, k[mid-1]}, {opJump, 0, 0, uint32(len(below))}}
	}
	p = append(p, below...)
	return append(p, above...)
}
