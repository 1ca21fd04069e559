package dataplane

import (
	"net"

	"golang.org/x/sys/unix"
)

// Send goes through the parent's qdisc, as kernel macvlan does (packet_snd).
//
// sendmmsg stops at the first frame that fails and reports an error only if
// that is its first; so the frame that err speaks of is always number n. A
// full-size 802.1ad frame (the parent's MTU + 18) is EMSGSIZE, the raw socket
// allows the four bytes more to 802.1Q alone: kernel macvlan sends it.
func (s *socket) Send(frames []*Frame) (int, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	done := 0
	for done < len(frames) {
		n, errno := s.out.sendmmsg(s.fd, frames[done:], s.skip)
		done += n
		if errno != 0 {
			s.sent.Add(uint64(done))
			if errno == unix.ENETDOWN || errno == unix.ENXIO {
				s.down.Store(true) // packet_snd may have taken the error that Recv waits for
			}
			return done, errno
		}
	}
	s.sent.Add(uint64(done))
	return done, nil
}
