package dataplane

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/tap"
)

// tapChild is the usual Child: a TAP device.
type tapChild struct{ *tap.Device }

// NewTap returns d as a Child, which owns it.
func NewTap(d *tap.Device) Child { return tapChild{d} }

func (t tapChild) Recv(b *Batch, arena []byte, max int) (rest []byte, err error) {
	for ; max > 0 && len(arena) >= MaxRaw; max-- {
		n, err := t.Read(arena[:MaxRaw])
		if err != nil {
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			return arena, err
		}
		b.Frames = append(b.Frames, Frame{Raw: arena[:n:n]})
		arena = arena[min((n+63)&^63, len(arena)):] // each frame starts on a cache line of its own
	}
	return arena, nil
}

func (t tapChild) Send(frames []*Frame) (int, error) {
	for i, f := range frames {
		if err := t.Write(f.Raw); err != nil {
			return i, err
		}
	}
	return len(frames), nil
}
