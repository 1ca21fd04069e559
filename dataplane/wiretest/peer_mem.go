package wiretest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
)

// Memory opens one end of an in-memory pair; the other is the peer.
func Memory(offload bool) Open {
	return func(t *testing.T) (dataplane.Wire, Peer) {
		a, b := dataplane.NewPair(512, 0)
		a.SetOffload(offload)
		if err := b.Program(classify.Addresses{All: true}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return a, &memPeer{w: b, one: make([]*dataplane.Frame, 1)}
	}
}

type memPeer struct {
	w    *dataplane.MemWire
	b    dataplane.Batch
	next int
	f    dataplane.Frame
	one  []*dataplane.Frame
}

func (p *memPeer) Inject(raw []byte) error {
	p.f.Raw = raw
	p.one[0] = &p.f
	_, err := p.w.Send(p.one)
	return err
}

func (p *memPeer) Capture(wait time.Duration) ([]byte, error) {
	for deadline := time.Now().Add(wait); p.next == len(p.b.Frames); {
		s := p.w.Stats()
		if s.Packets == s.Received {
			if time.Now().After(deadline) {
				return nil, ErrQuiet
			}
			time.Sleep(time.Millisecond)
			continue
		}
		if err := p.w.Recv(&p.b); err != nil {
			return nil, fmt.Errorf("capture: %w", err)
		}
		p.next = 0
	}
	p.next++
	return bytes.Clone(p.b.Frames[p.next-1].Raw), nil
}

// Discard takes what has been sent, without allocating.
func (p *memPeer) Discard() {
	if s := p.w.Stats(); s.Packets != s.Received {
		p.w.Recv(&p.b)
	}
	p.next = len(p.b.Frames)
}
