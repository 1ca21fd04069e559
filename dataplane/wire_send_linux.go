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
	var first unix.Errno // of the frame that is tried again
	for done < len(frames) {
		n, errno := s.out.sendmmsg(s.fd, frames[done:], s.skip)
		done += n
		if errno == unix.ENETDOWN || errno == unix.ENXIO {
			s.down.Store(true)
		}
		if first == unix.EINVAL && errno != first {
			s.lose() // it was Recv's: see recvError
		}
		switch {
		case errno == 0:
			first = 0
		case first == 0 && (errno == unix.EINVAL || errno == unix.ENETDOWN):
			// sock_alloc_send_pskb also reports what waits for the receiver: that
			// the parent was down, or what recvmmsg met in the middle of a batch.
			first = errno
		default:
			s.sent.Add(uint64(done))
			return done, errno
		}
	}
	s.sent.Add(uint64(done))
	return done, nil
}
