package lab

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/umacvlan/umacvlan/classify"
)

// stage is the demo's topology: vmac1 … in namespaces of their own, a probe
// everywhere.
type stage struct {
	*Topology
	mode   classify.Mode
	spaces []*NS
	taps   map[string]*Probe // by the names of Hearers; "h" is the parent's stack
	probes []*Probe
	seq    uint32
	seen   int
}

func newStage(d Driver, mode classify.Mode, vmacs int, offloads bool) (*stage, error) {
	t, err := NewTopology(d, Options{Offloads: offloads, Parent: "eth0", Wire: "wire0"})
	if err != nil {
		return nil, err
	}
	s := &stage{Topology: t, mode: mode, taps: map[string]*Probe{}}
	if err := s.build(vmacs); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) build(vmacs int) error {
	for i := range vmacs {
		ns, err := s.NewNS()
		if err != nil {
			return err
		}
		s.spaces = append(s.spaces, ns)
		v := Vmac{Name: fmt.Sprintf("vmac%d", i+1), Mode: s.mode, MAC: net.HardwareAddr{2, 0, 0, 0, 1, byte(i + 1)}, NS: ns}
		if s.mode == classify.Passthru {
			v.MAC = nil
		}
		if s.mode == classify.Source && i == 0 {
			v.Sources = []net.HardwareAddr{WireMAC}
		}
		dev, err := s.Add(v)
		if err != nil {
			return err
		}
		if err := dev.Up(); err != nil {
			return err
		}
	}
	for _, h := range Hearers {
		var p *Probe
		var err error
		switch d := s.device(h); {
		case d == nil:
			continue
		case h == "h":
			p, err = d.Stack(EtherType)
		default:
			p, err = d.Tap()
		}
		if err != nil {
			return err
		}
		s.taps[h] = p
		s.probes = append(s.probes, p)
	}
	return nil
}

func (s *stage) device(hearer string) *Device {
	switch hearer {
	case "h":
		return s.Parent
	case "w":
		return s.Wire
	}
	return s.Vmacs["vmac"+hearer]
}

func (s *stage) mac(who string) net.HardwareAddr {
	switch who {
	case "all":
		return net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	case "x":
		return net.HardwareAddr{2, 0, 0, 0, 0x77, 0x77}
	}
	return s.device(who).MAC
}

func (s *stage) next() uint32 { s.seq++; return s.seq }

func (s *stage) close() error {
	for _, p := range s.probes {
		p.Close()
	}
	return s.Topology.Close()
}

// table is the decision for the stage as it stands.
func (s *stage) table() (*classify.Table, error) {
	spec := classify.Spec{Parent: classify.MACFrom(ParentMAC), FilterAll: true, BCLim: classify.DefaultBCLim}
	for i := range s.spaces {
		v := classify.Vmac{
			Name: fmt.Sprintf("vmac%d", i+1), Mode: s.mode, MAC: classify.MACFrom(s.mac(Hearers[i])),
			Up: true, UpSeq: uint64(i + 1), MTU: 1500, BCQueueLen: classify.DefaultBCQueueLen,
		}
		spec.Vmacs = append(spec.Vmacs, v)
	}
	if s.mode == classify.Source {
		spec.Sources = []classify.SourceEntry{{Vmac: 0, MAC: classify.MACFrom(WireMAC)}}
	}
	return classify.NewTable(&spec)
}

// fence sends frames that reach every vmac, and the wire, behind everything
// that was sent before, and returns how to recognise them: who must see which.
func (s *stage) fence(at string) (map[string][]byte, error) {
	seen := map[string][]byte{}
	send := func(at string, frame []byte, who ...string) error {
		i, err := s.Injector(s.device(at).Name)
		if err != nil {
			return err
		}
		for _, w := range who {
			seen[w] = frame
		}
		return i.Send(frame)
	}
	all := Hearers[:len(s.spaces)]
	if s.mode == classify.Source {
		// Not flooded; but a group from its own address reaches a source vmac.
		for _, h := range all {
			if err := send("w", buildFrame(s.mac("all"), s.mac(h), nil, MarkerType, s.next(), 60), h); err != nil {
				return nil, err
			}
		}
	} else if err := send("w", buildFrame(s.mac("all"), s.mac("x"), nil, MarkerType, s.next(), 60), all...); err != nil {
		return nil, err
	}
	if at != "w" {
		return seen, send(at, buildFrame(s.mac("all"), s.mac(at), nil, MarkerType, s.next(), 60), "w")
	}
	return seen, nil
}

// pass waits until the fence has been seen everywhere.
func (s *stage) pass(fence map[string][]byte, timeout time.Duration) error {
	return Wait(s.probes, timeout, func() bool {
		for who, frame := range fence {
			if !s.taps[who].Has(frame) {
				return false
			}
		}
		return true
	})
}

// settle waits until every vmac is live.
func (s *stage) settle() error {
	return poll(patience, func() (bool, error) {
		fence, err := s.fence("w")
		if err != nil {
			return false, err
		}
		err = s.pass(fence, 20*time.Millisecond)
		if err != nil && !errors.Is(err, ErrTimeout) {
			return false, err
		}
		return err == nil, nil
	})
}

// play sends one frame and says who heard it. Those who should get a little
// longer than the fence takes: a broadcast may pass a unicast that came in with
// it, because it goes through a queue of its own.
func (s *stage) play(at string, frame []byte, should []string) ([]string, error) {
	for _, p := range s.probes {
		p.Reset()
	}
	i, err := s.Injector(s.device(at).Name)
	if err != nil {
		return nil, err
	}
	if err := i.Send(frame); err != nil {
		return nil, err
	}
	fence, err := s.fence(at)
	if err != nil {
		return nil, err
	}
	if err := s.pass(fence, time.Second); err != nil {
		return nil, fmt.Errorf("waiting for what was sent behind it: %w", err)
	}
	err = Wait(s.probes, 100*time.Millisecond, func() bool {
		return !slices.ContainsFunc(should, func(who string) bool { return !s.taps[who].Has(frame) })
	})
	if err != nil && !errors.Is(err, ErrTimeout) {
		return nil, err
	}
	heard := map[string]bool{}
	for who, p := range s.taps {
		s.seen += len(p.Seen)
		for _, seen := range p.Seen {
			sent := seen.Type == classify.TypeOutgoing
			foreign := who == "h" && seen.Type == classify.TypeOther
			if !sent && !foreign && string(seen.Frame()) == string(frame) {
				heard[who] = true
			}
		}
	}
	return inOrder(heard), nil
}
