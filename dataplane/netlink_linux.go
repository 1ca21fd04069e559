package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// netlinkSocket is what the rungs below tcx need of netlink: requests with
// their answers, and several requests as one. One user at a time.
type netlinkSocket struct {
	fd  int
	seq uint32
	buf []byte
}

// dialNetlink opens a socket in the namespace of the calling thread, to which it
// belongs from then on.
func dialNetlink(protocol int) (*netlinkSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	// An answer that never comes is a broken kernel, not one to wait for.
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &netlinkSocket{fd: fd, buf: make([]byte, 64<<10)}, nil
}

func (s *netlinkSocket) close() error { return unix.Close(s.fd) }

// message is a request; its sequence number is filled in when it is sent.
type message []byte

func newMessage(typ, flags uint16, parts ...[]byte) message {
	m := make(message, unix.NLMSG_HDRLEN)
	for _, p := range parts {
		m = append(m, p...)
	}
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], typ)
	binary.NativeEndian.PutUint16(m[6:], flags|unix.NLM_F_REQUEST)
	return m
}

// nlattr is an attribute, padded; nested ones are its value.
func nlattr(typ uint16, parts ...[]byte) []byte {
	b := make([]byte, unix.NLA_HDRLEN)
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	binary.NativeEndian.PutUint16(b[2:], typ)
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func nlstring(typ uint16, s string) []byte { return nlattr(typ, append([]byte(s), 0)) }

func nl32(typ uint16, v uint32) []byte { return nlattr(typ, binary.NativeEndian.AppendUint32(nil, v)) }

// attributes finds the values of those in b, the last of each kind.
func attributes(b []byte) map[uint16][]byte {
	m := map[uint16][]byte{}
	for len(b) >= unix.NLA_HDRLEN {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.NLA_HDRLEN || n > len(b) {
			break
		}
		m[binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED] = b[unix.NLA_HDRLEN:n]
		b = b[min(len(b), (n+3)&^3):]
	}
	return m
}

// do sends messages in one datagram and returns the first error that any of them
// is answered with. Those with NLM_F_ACK are waited for.
func (s *netlinkSocket) do(messages ...message) error {
	wait := map[uint32]bool{}
	first := s.seq + 1
	var all []byte
	for _, m := range messages {
		s.seq++
		binary.NativeEndian.PutUint32(m[8:], s.seq)
		if binary.NativeEndian.Uint16(m[6:])&unix.NLM_F_ACK != 0 {
			wait[s.seq] = true
		}
		all = append(all, m...)
	}
	if err := unix.Sendto(s.fd, all, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	var failed error
	for len(wait) > 0 {
		done := false
		err := s.receive(func(typ uint16, seq uint32, body []byte) {
			if typ != unix.NLMSG_ERROR || seq < first || len(body) < 4 {
				return
			}
			if e := int32(binary.NativeEndian.Uint32(body)); e != 0 && failed == nil {
				failed = unix.Errno(-e)
				// What a batch as a whole is refused for ends all waiting.
				done = !wait[seq]
			}
			delete(wait, seq)
		})
		if err != nil || done {
			return errors.Join(failed, err)
		}
	}
	return failed
}

// dump calls f with the body of each answer.
func (s *netlinkSocket) dump(m message, f func(body []byte)) error {
	s.seq++
	binary.NativeEndian.PutUint32(m[8:], s.seq)
	if err := unix.Sendto(s.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	var failed error
	for done := false; !done; {
		err := s.receive(func(typ uint16, seq uint32, body []byte) {
			switch {
			case seq != s.seq:
			case typ == unix.NLMSG_DONE:
				done = true
			case typ == unix.NLMSG_ERROR && len(body) >= 4:
				failed, done = unix.Errno(-int32(binary.NativeEndian.Uint32(body))), true
			default:
				f(body)
			}
		})
		if err != nil {
			return err
		}
	}
	return failed
}

func (s *netlinkSocket) receive(f func(typ uint16, seq uint32, body []byte)) error {
	n, _, err := unix.Recvfrom(s.fd, s.buf, 0)
	for err == unix.EINTR {
		n, _, err = unix.Recvfrom(s.fd, s.buf, 0)
	}
	if err != nil {
		return err
	}
	for b := s.buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return unix.EBADMSG
		}
		f(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[unix.NLMSG_HDRLEN:size])
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}
