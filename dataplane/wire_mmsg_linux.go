package dataplane

import (
	"net"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
)

// mmsgWire receives with recvmmsg into an arena of one full-size buffer per
// message. Pages that no frame has reached are never touched, so the arena is
// 4 MiB of address space and, with small frames, 256 KiB of memory.
type mmsgWire struct {
	*socket
	bufs [recvBatch][]byte
	in   recvArrays
	n    int // how many messages the next recvmmsg may give
}

// mmsgHot bounds how much one batch of large frames takes: about what stays in
// cache until it has been written out.
const mmsgHot = 512 << 10

func newMmsgWire(s *socket) (*mmsgWire, error) {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return nil, err
	}
	m := &mmsgWire{socket: s, n: recvBatch}
	// Not a multiple of the page size, or the frames' first lines would share
	// a few sets of the cache.
	const stride = (tagLen + MaxRaw + 127) &^ 63
	arena := make([]byte, recvBatch*stride)
	for i := range m.bufs {
		m.bufs[i] = arena[i*stride:][:tagLen+MaxRaw]
		m.in.receiveInto(i, m.bufs[i][tagLen+s.skip:])
	}
	return m, nil
}

func (m *mmsgWire) Recv(b *Batch) error {
	m.life.RLock()
	defer m.life.RUnlock()
	if m.closed.Load() {
		return net.ErrClosed
	}
	b.Frames = b.Frames[:0]
	for m.turns.begin(); ; {
		n, errno := m.in.recvmmsg(m.fd, m.n)
		if errno == 0 {
			m.fill(b, n)
			m.received.Add(uint64(n))
			return nil
		}
		if errno == unix.EAGAIN && m.turns.give() {
			continue
		}
		var err error
		if errno == unix.EAGAIN {
			_, err = m.wait(pollUp)
		} else {
			err = m.recvError(errno)
		}
		if err != nil {
			return err
		}
	}
}

func (m *mmsgWire) fill(b *Batch, n int) {
	bytes := 0
	for i := range n {
		length := int(m.in.msgs[i].Len)
		bytes += length
		end := tagLen + m.skip + length
		buf := m.bufs[i][:end:end]
		f := Frame{Type: classify.PacketType(m.in.names[i].Pkttype)}
		aux := m.in.aux(i)
		if m.in.msgs[i].Hdr.Flags&unix.MSG_TRUNC != 0 || aux == nil {
			f.Raw, f.Cut = buf[tagLen:], true
		} else {
			tpid := aux.Vlan_tpid
			if aux.Status&statusTPID == 0 {
				tpid = 0x8100
			}
			restore(&f, buf, aux.Status, aux.Vlan_tci, tpid, m.offload)
		}
		b.Frames = append(b.Frames, f)
	}
	if bytes > mmsgHot {
		m.n = max(m.n/2, mmsgHot/MaxRaw)
	} else if m.n < recvBatch {
		m.n *= 2
	}
	m.n = min(m.n, recvBatch)
}

func (m *mmsgWire) Close() error {
	if !m.stop() {
		return nil
	}
	defer m.life.Unlock()
	return m.closeFDs()
}
