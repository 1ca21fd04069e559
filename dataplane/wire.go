// Package dataplane moves frames between a parent (a Wire) and the vmacs
// behind it (a Child each), as package classify decides.
package dataplane

import "github.com/umacvlan/umacvlan/classify"

// Wire is the parent: what frames come from and go to. Every backend passes the
// suite in wiretest.
//
// Recv has one caller at a time, and so has Send; the two may be different
// goroutines. Everything else may be called from any goroutine.
type Wire interface {
	// Recv blocks until there is at least one frame and fills b, whose frames
	// are borrowed until the next Recv. What the host itself sends is not
	// received. After Close it returns net.ErrClosed. While the parent is down
	// it goes on blocking; when the parent is gone for good it returns an error
	// that unwraps to unix.ENODEV.
	Recv(b *Batch) error

	// Send hands frames to the parent, in order, retaining none. It returns how
	// many were taken. If that is less than all, err says what happened to the
	// next one: EAGAIN means not taken (wait with WaitSend, then try it again),
	// anything else that this one frame is lost and that the rest has not been
	// tried: the caller counts it and goes on behind it.
	Send(frames []*Frame) (int, error)

	// WaitSend blocks until Send is likely to take a frame, the timeout (in
	// milliseconds) is over, or the Wire is closed.
	WaitSend(timeoutMillis int) error

	// Program makes the parent's address lists and the socket's filter what a
	// port needs, changing only what differs from the last call. The filter is
	// widened before addresses are added and narrowed after they are removed.
	Program(a classify.Addresses) error

	// Offload reports whether frames carry virtio headers in both directions.
	// If not, Recv gives zero headers with finished checksums, and Send must be
	// given the same.
	Offload() bool

	// Stats are the backend's own counters since it was opened.
	Stats() WireStats

	// Close unblocks Recv and WaitSend. The parent forgets the port's addresses.
	Close() error
}

// WireStats are kept by the backend and by the kernel, apart from the switch's
// own counters, so that the ledger compares two accounts.
type WireStats struct {
	// Packets is what the kernel offered to the socket and Drops what of that
	// it could not store (PACKET_STATISTICS; Packets contains Drops).
	Packets, Drops uint64
	// Received is what Recv has handed out, frames marked Cut included.
	Received uint64
	// Sent is what Send has reported as taken.
	Sent uint64
	// Stuck is how often the ring had a hole that had to be stepped over.
	Stuck uint64
}
