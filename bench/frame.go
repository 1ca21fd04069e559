package bench

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/umacvlan/umacvlan/tap/vnet"
)

// etherType is one that no stack answers (IEEE 802.1, local experiments).
const etherType = 0x88b5

// blank returns a frame of etherType with nothing in it.
func blank(dst, src [6]byte, size int) []byte {
	f := make([]byte, size)
	copy(f, dst[:])
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], etherType)
	return f
}

// Where a numbered frame keeps its number, its length and its checksum.
const (
	atNumber = 14
	atLength = 22
	atSum    = 24
	atFill   = 28
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// number makes f, of at least Smallest bytes, the frame number n.
func number(f []byte, n uint64) {
	binary.BigEndian.PutUint64(f[atNumber:], n)
	binary.BigEndian.PutUint16(f[atLength:], uint16(len(f)))
	x := n*2862933555777941757 + 3037000493
	for i := atFill; i+8 <= len(f); i += 8 {
		binary.LittleEndian.PutUint64(f[i:], x)
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	binary.BigEndian.PutUint32(f[atSum:], frameSum(f))
}

// frameSum covers everything but itself.
func frameSum(f []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, f[:atSum]), castagnoli, f[atFill:])
}

// lengths of the frames that are sent in turn.
func lengths(size int) []int {
	if size == Mix {
		return []int{60, 590, 60, 60, 590, 60, 1514, 60, 590, 60, 590, 60}
	}
	return []int{size}
}

const (
	superSegment = 1448
	superLen     = 14 + 20 + 20 + 44*superSegment // the most that IPv4 can say of whole segments
)

// superFrame returns a TCP super-frame with its virtio header, for an address
// that nobody has: who gets it drops it without an answer.
func superFrame(dst, src [6]byte) []byte {
	raw := make([]byte, vnet.HdrLen+superLen)
	f := raw[vnet.HdrLen:]
	copy(f, dst[:])
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip := f[14:]
	copy(ip, []byte{0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 198, 51, 100, 1, 198, 51, 100, 2})
	binary.BigEndian.PutUint16(ip[2:], uint16(superLen-14))
	binary.BigEndian.PutUint16(ip[10:], ^fold(ip[:20], 0))
	tcp := ip[20:]
	copy(tcp, []byte{0, 9, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff})
	binary.BigEndian.PutUint16(tcp[16:], fold(ip[12:20], 6+uint32(len(tcp))))
	vnet.Hdr{
		Flags: vnet.FlagNeedsCsum, GSOType: vnet.GSOTCPv4,
		HdrLen: 54, GSOSize: superSegment, CsumStart: 34, CsumOffset: 16,
	}.Put(raw)
	return raw
}

// fold is the Internet checksum's sum.
func fold(b []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
