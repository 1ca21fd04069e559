package dataplane

// Child is what stands behind a vmac; package tap gives the usual kind. Bytes
// are borrowed as on a Wire.
type Child interface {
	// FD is the descriptor whose readability says that Recv has something and
	// whose EPOLLERR says that the device is gone. It stays the same until Close.
	FD() int

	// Recv appends at most max raw frames to b, taking what is there, and never
	// blocks: an empty queue is no error. The frames live in arena, from which
	// it takes what it needs; it stops early when fewer than MaxRaw bytes are
	// left and returns the rest. One caller at a time. An error means that the
	// device is gone (unix.EBADFD) or closed (net.ErrClosed).
	Recv(b *Batch, arena []byte, max int) (rest []byte, err error)

	// Send writes frames in order, retaining none, and returns how many were
	// written. If that is less than all, err says why the next one was lost:
	// unix.EIO down, unix.EBADFD gone, unix.EINVAL refused, unix.ENOBUFS or
	// ENOMEM no memory. The caller counts it and goes on behind it. Any number
	// of goroutines may call it.
	Send(frames []*Frame) (int, error)

	// Offload reports whether raw frames carry virtio headers in both
	// directions. If not, Recv gives zero headers with finished checksums, and
	// Send must be given the same.
	Offload() bool

	// Close may be called once no data thread uses the Child any more.
	Close() error
}
