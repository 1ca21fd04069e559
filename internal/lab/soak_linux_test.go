package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"golang.org/x/sys/unix"
)

// soakTime is $UMACVLAN_SOAK, by default long enough for a few hundred changes.
func soakTime(t *testing.T) time.Duration {
	s := os.Getenv("UMACVLAN_SOAK")
	if s == "" {
		return 8 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSoak mixes everything: TCP, small frames of all kinds, all modes, devices
// that go up and down, come and go, change MAC, MTU and promiscuity. At the end
// every equation of the ledger is 0 and nothing is left.
func TestSoak(t *testing.T) {
	Need(t, NeedNS, NeedTUN)
	before := Measure()
	e := NewEmulator()
	ctx, stop := context.WithTimeout(t.Context(), soakTime(t))
	defer stop()

	mix, err := newSoak(e, []classify.Mode{
		classify.Private, classify.Vepa, classify.Bridge, classify.Bridge, classify.Bridge, classify.Source, classify.Source,
	})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := newSoak(e, []classify.Mode{classify.Passthru})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	failed := make(chan error, 64)
	run := func(what string, fn func(context.Context) error) {
		wg.Go(func() {
			if err := fn(ctx); err != nil && (ctx.Err() == nil || err == errStarved) {
				failed <- fmt.Errorf("%s: %w", what, err)
				stop()
			}
		})
	}
	for _, s := range []*soak{mix, alone} {
		for name := range s.sent {
			run("frames from "+name, s.frames(name))
		}
	}
	run("TCP wire to vmac", mix.streams(mix.Wire, mix.vmac(2)))
	run("TCP vmac to wire", mix.streams(mix.vmac(2), mix.Wire))
	run("TCP between siblings", mix.streams(mix.vmac(2), mix.vmac(3)))
	run("TCP wire to passthru vmac", alone.streams(alone.Wire, alone.vmac(0)))
	run("changes", mix.changes)
	run("comings and goings", mix.guests)
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}

	var wrong []string
	if err := poll(10*time.Second, func() (bool, error) { wrong = e.Unbalanced(); return len(wrong) == 0, nil }); err != nil {
		t.Errorf("ledger: %q", wrong)
	}
	if len(e.Engine.Ledgers()) != 2 {
		t.Errorf("%d ledgers for two parents", len(e.Engine.Ledgers()))
	}
	for _, s := range []*soak{mix, alone} {
		s.moved(t)
	}
	for _, s := range []*soak{mix, alone} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
}

// soak is one parent and what happens on it.
type soak struct {
	*Topology
	names    []string
	sent     map[string]*Injector
	addr     map[string]netip.Addr
	turnover int // changes made
	streamed atomic.Uint64
}

func newSoak(d Driver, modes []classify.Mode) (*soak, error) {
	top, err := NewTopology(d, Options{Offloads: true, IPv6: true})
	if err != nil {
		return nil, err
	}
	s := &soak{Topology: top, sent: map[string]*Injector{}, addr: map[string]netip.Addr{}}
	if err := s.build(modes); err != nil {
		return nil, errors.Join(err, top.Close())
	}
	return s, nil
}

func (s *soak) build(modes []classify.Mode) error {
	for i, m := range modes {
		ns, err := s.NewNS()
		if err != nil {
			return err
		}
		v := Vmac{Name: fmt.Sprintf("m%d", i), Mode: m, NS: ns}
		if m == classify.Source {
			v.Sources = []net.HardwareAddr{WireMAC}
		}
		dev, err := s.Add(v)
		if err != nil {
			return err
		}
		if err := dev.Up(); err != nil {
			return err
		}
		s.names = append(s.names, v.Name)
	}
	for i, d := range append([]*Device{s.Wire}, s.devices()...) {
		s.addr[d.Name] = netip.AddrFrom4([4]byte{10, 88, 0, byte(i + 1)})
		if err := d.AddAddr(s.addr[d.Name].String() + "/24"); err != nil {
			return err
		}
		in, err := s.Injector(d.Name)
		if err != nil {
			return err
		}
		s.sent[d.Name] = in
	}
	return nil
}

func (s *soak) vmac(i int) *Device { return s.Vmacs[s.names[i]] }

func (s *soak) devices() (list []*Device) {
	for _, n := range s.names {
		list = append(list, s.Vmacs[n])
	}
	return list
}

// frames sends bursts of frames of all sizes to everybody and nobody, from its
// own address or a listed or a foreign one.
func (s *soak) frames(name string) func(context.Context) error {
	in := s.sent[name]
	targets := []net.HardwareAddr{broadcast, {1, 0, 0x5e, 0, 0, 1}, {1, 0, 0x5e, 1, 2, 3}, {2, 0, 0, 0, 0x77, 0x77}, ParentMAC, WireMAC}
	for _, d := range s.devices() {
		targets = append(targets, d.MAC)
	}
	own := s.Device(name).MAC
	return func(ctx context.Context) error {
		r := rand.New(rand.NewPCG(uint64(len(name)), uint64(own[5])))
		for seq := uint32(0); ctx.Err() == nil; {
			for range 1 + r.IntN(64) {
				seq++
				src, tags, length := own, []uint32(nil), 14+r.IntN(100)
				switch r.IntN(16) {
				case 0:
					src = net.HardwareAddr{2, 0, 0, 0, 0x55, byte(seq)}
				case 1:
					tags = []uint32{0x8100_0000 | uint32(r.IntN(4095))}
				case 2:
					length = 1514
				}
				err := in.Send(buildFrame(targets[r.IntN(len(targets))], src, tags, EtherType, seq, length))
				// A device that is down, or a full queue, is part of the mix.
				if err != nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EMSGSIZE) {
					return err
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(r.IntN(4000)) * time.Microsecond):
			}
		}
		return nil
	}
}

var errStarved = errors.New("every stream starved")

// streams runs TCP again and again. One that meets a burst of losses starves for
// seconds beside all that is sent without regard; three in a row don't, nor all that
// there are, and none moves nothing.
func (s *soak) streams(from, to *Device) func(context.Context) error {
	return func(ctx context.Context) error {
		starved, thriven := 0, false
		for ctx.Err() == nil {
			got, err := TCP(ctx, from.NS, to.NS, s.addr[to.Name], 500*time.Millisecond)
			if err != nil {
				return err
			}
			s.streamed.Add(got.Bytes)
			if got.Bytes >= 1<<16 {
				starved, thriven = 0, true
			} else if starved++; starved == 3 || got.Bytes == 0 {
				return fmt.Errorf("%d bytes in %v, after %d that starved", got.Bytes, got.Elapsed, starved-1)
			}
		}
		if starved > 0 && !thriven {
			return errStarved
		}
		return nil
	}
}

// changes disturbs the vmacs that carry no TCP.
func (s *soak) changes(ctx context.Context) error {
	r := rand.New(rand.NewPCG(1, 2))
	for ; ctx.Err() == nil; s.turnover++ {
		d := s.vmac([]int{0, 1, 4, 5, 6}[r.IntN(5)])
		var err error
		switch r.IntN(6) {
		case 0, 1:
			if err = d.Down(); err == nil {
				time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
				err = d.Up()
			}
		case 2:
			if err = d.SetPromisc(true); err == nil {
				err = d.SetPromisc(false)
			}
		case 3:
			err = d.SetAllmulti(r.IntN(2) == 0)
		case 4:
			err = d.SetMTU(1000 + r.IntN(500))
		case 5:
			err = d.SetMAC(net.HardwareAddr{2, 0, 0, 9, byte(d.Index), byte(r.IntN(256))})
		}
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	}
	return nil
}

// guests come, are brought up and go again, by themselves or with their
// namespace.
func (s *soak) guests(ctx context.Context) error {
	for i := 0; ctx.Err() == nil; i++ {
		ns, err := NewNS()
		if err != nil {
			return err
		}
		v := Vmac{Name: fmt.Sprintf("guest%d", i), Mode: []classify.Mode{classify.Private, classify.Vepa, classify.Bridge}[i%3], NS: ns}
		err = s.Driver.Add(s.Parent, &v)
		if err == nil {
			var d *Device
			if d, err = Find(ns, v.Name); err == nil {
				if err = d.Up(); err == nil {
					time.Sleep(30 * time.Millisecond)
					if i%2 == 0 {
						err = d.Delete()
					}
				}
			}
		}
		if err := errors.Join(err, ns.Close()); err != nil {
			return err
		}
	}
	return nil
}

// moved checks that each vmac has heard and said something.
func (s *soak) moved(t *testing.T) {
	for _, d := range s.devices() {
		c, err := s.Driver.Counters(d)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("%s: %+v", d.Name, c)
		if c.RxPackets == 0 || c.TxPackets == 0 {
			t.Errorf("%s carried nothing: %+v", d.Name, c)
		}
	}
	t.Logf("%d changes, %d MB of TCP", s.turnover, s.streamed.Load()>>20)
}
