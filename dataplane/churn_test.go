package dataplane

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
)

// watched is a Child that complains if it is closed while, or before, a data
// thread uses it: the number of its descriptor may then be another vmac's.
type watched struct {
	Child
	t      *testing.T
	closed atomic.Bool
}

func (w *watched) check(when string) {
	if w.closed.Load() {
		w.t.Errorf("the child was closed %s a data thread used it", when)
	}
}

func (w *watched) Send(frames []*Frame) (int, error) {
	w.check("before")
	defer w.check("while")
	runtime.Gosched()
	return w.Child.Send(frames)
}

func (w *watched) Recv(b *Batch, arena []byte, max int) ([]byte, error) {
	w.check("before")
	defer w.check("while")
	return w.Child.Recv(b, arena, max)
}

func (w *watched) Close() error {
	w.closed.Store(true)
	return w.Child.Close()
}

// Vmacs come and go under traffic. Descriptor numbers are reused all the time,
// and every frame that arrives must still be for the vmac it arrives at.
func TestChurn(t *testing.T) {
	p := newPort(t, 256, Options{}, vmac(0, classify.Bridge))
	quit := make(chan struct{})
	fd0 := p.fds[0]
	unix.SetNonblock(fd0, true)
	var traffic sync.WaitGroup
	traffic.Go(func() { // the wire sends to all of them, and broadcasts
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
			}
			n := i % 16
			dst := mac(n)
			if i%7 == 0 {
				dst = classify.Broadcast
			}
			p.peer.Send([]*Frame{{Raw: frame(dst, mac(99), 0x88b5, binary.BigEndian.AppendUint32(nil, uint32(n)))}})
		}
	})
	traffic.Go(func() { // vmac 0 sends to all its siblings
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
			}
			n := 1 + i%15
			unix.Write(fd0, frame(mac(n), mac(0), 0x88b5, binary.BigEndian.AppendUint32(nil, uint32(n))))
		}
	})
	var readers sync.WaitGroup
	read := func(n, fd int) { // until the switch closes its end
		buf := make([]byte, MaxRaw)
		for {
			l, err := unix.Read(fd, buf)
			if err == unix.EAGAIN {
				time.Sleep(100 * time.Microsecond)
				continue
			}
			if l <= 0 || err != nil {
				return
			}
			f := Frame{Raw: buf[:l]}
			if f.Bytes()[0]&1 == 0 && classify.MACFrom(f.Bytes()) != mac(n) {
				t.Errorf("vmac %d received a frame for %v", n, classify.MACFrom(f.Bytes()))
			}
		}
	}
	readers.Go(func() { read(0, fd0) })
	for round, end := 0, time.Now().Add(700*time.Millisecond); time.Now().Before(end); round++ {
		n := 1 + round%15
		p.add(vmac(n, classify.Bridge), false)
		last := len(p.v) - 1
		p.v[last] = NewVmac(p.v[last].Name(), &watched{Child: p.v[last].Child(), t: t})
		fd := p.fds[last]
		readers.Go(func() { read(n, fd); unix.Close(fd) })
		p.swap()
		if len(p.v) > 8 { // the oldest but vmac 0 goes
			p.spec.Vmacs = append(p.spec.Vmacs[:1], p.spec.Vmacs[2:]...)
			p.v = append(p.v[:1], p.v[2:]...)
			p.fds = append(p.fds[:1], p.fds[2:]...)
			p.swap()
		}
	}
	close(quit)
	traffic.Wait()
	p.spec.Vmacs, p.v, p.fds = nil, nil, nil
	p.swap()
	if err := p.sw.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	readers.Wait() // every descriptor was closed
	unix.Close(fd0)
	if st := p.settle(); st.Copies[classify.Delivered] < 100 || st.Sent[classify.ToLocal] == 0 {
		t.Errorf("hardly any traffic: %d copies, %d local", st.Copies[classify.Delivered], st.Sent[classify.ToLocal])
	}
}
