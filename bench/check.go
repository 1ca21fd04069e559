package bench

import "encoding/binary"

// checker looks at numbered frames as they arrive.
type checker struct {
	seen    []uint64 // a bit for each number
	highest uint64   // number, plus 1
	checkerReport
}

// checkerReport is what a checker found.
type checkerReport struct {
	Frames     uint64 // arrived and intact, duplicates left out
	Bytes      uint64 // of these
	Reordered  uint64 // of these: came after one with a higher number
	Duplicated uint64 // came again
	Corrupt    uint64 // not as they were sent, whatever their number was
}

// mostFrames bounds a checker's memory; a higher number is no number of ours.
const mostFrames = 1 << 26

// look takes the next frame.
func (c *checker) look(f []byte) {
	if len(f) < Smallest || int(binary.BigEndian.Uint16(f[atLength:])) != len(f) || binary.BigEndian.Uint32(f[atSum:]) != frameSum(f) {
		c.Corrupt++
		return
	}
	n := binary.BigEndian.Uint64(f[atNumber:])
	if n >= mostFrames {
		c.Corrupt++
		return
	}
	for uint64(len(c.seen))*64 <= n {
		c.seen = append(c.seen, make([]uint64, 1024)...)
	}
	if bit := uint64(1) << (n % 64); c.seen[n/64]&bit == 0 {
		c.seen[n/64] |= bit
	} else {
		c.Duplicated++
		return
	}
	c.Frames++
	c.Bytes += uint64(len(f))
	if n < c.highest {
		c.Reordered++
		return
	}
	c.highest = n + 1
}
