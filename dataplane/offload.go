package dataplane

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/tap/vnet"
)

// software does what a device without virtio headers can't be asked to do. The
// frames it returns are valid until its next call.
type software struct {
	arena  []byte
	raws   [][]byte
	frames []Frame
	list   []*Frame
}

// plain returns f as one or more frames with finished checksums, none longer
// than the sender's segment size.
func (s *software) plain(f *Frame) ([]*Frame, error) {
	s.raws = s.raws[:0]
	h := vnet.Parse(f.Raw)
	switch {
	case h.IsGSO():
		if s.arena == nil {
			s.arena = make([]byte, softArena)
		}
		var err error
		if s.raws, _, err = vnet.Segment(f.Raw, s.arena, s.raws); err != nil {
			return nil, err
		}
	case h.NeedsCsum():
		if s.arena == nil {
			s.arena = make([]byte, softArena)
		}
		raw := append(s.arena[:0], f.Raw...)
		if err := vnet.Complete(raw); err != nil {
			return nil, err
		}
		s.raws = append(s.raws, raw)
	default:
		s.list = append(s.list[:0], f)
		return s.list, nil
	}
	s.frames, s.list = s.frames[:0], s.list[:0]
	for _, raw := range s.raws {
		s.frames = append(s.frames, Frame{Raw: raw})
	}
	for i := range s.frames {
		s.list = append(s.list, &s.frames[i])
	}
	return s.list, nil
}

// softArena has room for the headers of a 64 KiB frame in segments of the
// smallest size that makes sense (536 bytes, the default MSS of IPv4).
const softArena = 4 * MaxRaw

// childReason names an error of Child.Send.
func childReason(err error) classify.Reason {
	switch {
	case errors.Is(err, unix.EIO):
		return classify.TapDown
	case errors.Is(err, unix.EBADFD), errors.Is(err, unix.EBADF), errors.Is(err, net.ErrClosed):
		return classify.TapGone
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EAGAIN):
		return classify.TapNoBuffer
	}
	return classify.TapRefused
}

// wireReason names an error of Wire.Send.
func wireReason(err error) classify.Reason {
	switch {
	case errors.Is(err, unix.EAGAIN):
		return classify.WireBusy
	case errors.Is(err, unix.ENETDOWN):
		return classify.WireDown
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV), errors.Is(err, net.ErrClosed):
		return classify.WireGone
	case errors.Is(err, unix.EMSGSIZE):
		return classify.WireTooLong
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return classify.WireNoBuffer
	}
	return classify.WireRefused
}
