package lab

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// bed is a scenario's topology with a probe everywhere.
type bed struct {
	*Topology
	s      *sheet
	taps   map[string]*Probe   // by the names of the rows: parent, wire, vmacs
	stacks map[uint64][]*Probe // by namespace, one for each of stackTypes
	probes []*Probe
	seq    uint32
	base   map[string]Counters
	leaks  map[string]bool // "vmac group": their hashes collide in the vmac's filter
}

func newBed(d Driver, s *sheet, apart bool) (*bed, error) {
	top, err := NewTopology(d, Options{MTU: s.mtu})
	if err != nil {
		return nil, err
	}
	b := &bed{Topology: top, s: s, taps: map[string]*Probe{}, stacks: map[uint64][]*Probe{}, leaks: map[string]bool{}}
	if err := b.build(apart); err != nil {
		top.Close()
		return nil, err
	}
	return b, nil
}

func (b *bed) build(apart bool) error {
	spaces := []*NS{b.Parent.NS}
	for _, v := range b.s.vmacs {
		if apart {
			ns, err := b.NewNS()
			if err != nil {
				return err
			}
			v.NS = ns
			spaces = append(spaces, ns)
		}
		dev, err := b.Add(v.Vmac)
		if err != nil {
			return err
		}
		if v.down {
			continue
		}
		if err := dev.Up(); err != nil {
			return err
		}
		for _, g := range v.join {
			mac, err := b.s.address(g)
			if err != nil {
				return err
			}
			if err := b.Join(v.Name, mac); err != nil {
				return err
			}
		}
	}
	for _, name := range append([]string{"parent", "wire"}, slices.Sorted(maps.Keys(b.Vmacs))...) {
		p, err := b.device(name).Tap()
		if err != nil {
			return err
		}
		b.taps[name] = p
		b.probes = append(b.probes, p)
	}
	for _, ns := range spaces {
		for _, e := range stackTypes {
			p, err := (&Device{NS: ns}).Stack(e)
			if err != nil {
				return err
			}
			b.stacks[ns.Inode()] = append(b.stacks[ns.Inode()], p)
			b.probes = append(b.probes, p)
		}
	}
	return nil
}

func (b *bed) device(name string) *Device {
	switch name {
	case "parent":
		return b.Parent
	case "wire":
		return b.Wire
	}
	return b.Vmacs[name]
}

func (b *bed) close(t *testing.T) {
	for _, p := range b.probes {
		p.Close()
	}
	if err := errors.Join(b.Driver.Close(), b.Topology.Close()); err != nil {
		t.Error(err)
	}
}

func (b *bed) send(at string, frame []byte) error {
	i, err := b.Injector(b.device(at).Name)
	if err != nil {
		return err
	}
	return i.Send(frame)
}

// A mark is one marker frame: where it is sent, where it must show up before
// everything sent earlier has passed, and what it adds to the counters.
type mark struct {
	at       string
	frame    []byte
	shows    []string
	counters map[string]Counters
}

func (b *bed) marker(at string, dst, src net.HardwareAddr) mark {
	b.seq++
	m := mark{at: at, frame: buildFrame(dst, src, nil, MarkerType, b.seq, 60), counters: map[string]Counters{}}
	if at == "wire" {
		m.counters["parent"] = Counters{RxPackets: 1, RxBytes: 60}
	} else {
		m.counters[at] = Counters{TxPackets: 1, TxBytes: 60}
		m.counters["parent"] = Counters{TxPackets: 1, TxBytes: 60}
	}
	return m
}

// marks makes the markers that follow a stimulus at the given place: on the
// direct way and, if the broadcast queue takes any, through the queue.
func (b *bed) marks(at string) (list []mark) {
	ext, _ := b.s.address("ext")
	listed, _ := b.s.address("listed")
	unknown, _ := b.s.address("unknown")
	flood, source := b.marker("wire", broadcast, ext), b.marker("wire", unknown, listed)
	out := b.marker(at, broadcast, b.device(at).MAC)
	for _, v := range b.s.vmacs {
		switch {
		case v.down:
		case v.Mode != classify.Source:
			if b.s.deaf() {
				m := b.marker("wire", b.Vmacs[v.Name].MAC, ext)
				m.shows, m.counters[v.Name] = []string{v.Name}, Counters{RxPackets: 1, RxBytes: 60}
				list = append(list, m)
			}
			flood.shows = append(flood.shows, v.Name)
			flood.counters[v.Name] = Counters{RxPackets: 1, RxBytes: 60, Multicast: 1}
			if at != v.Name && v.Mode == classify.Bridge && b.modeOf(at) == classify.Bridge {
				out.shows = append(out.shows, v.Name)
				out.counters[v.Name] = Counters{RxPackets: 1, RxBytes: 74, Multicast: 1}
			}
		case slices.ContainsFunc(v.Sources, func(m net.HardwareAddr) bool { return bytes.Equal(m, listed) }):
			source.shows = append(source.shows, v.Name)
			source.counters[v.Name] = Counters{RxPackets: 1, RxBytes: 60}
		}
	}
	flood.shows = append(flood.shows, "parent")
	if !b.s.deaf() {
		list = append(list, flood)
	}
	if len(source.shows) > 0 {
		list = append(list, source)
	}
	if at != "wire" {
		out.shows = append(out.shows, "wire")
		list = append(list, out)
	}
	return list
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// deaf says that the broadcast queue has no room and every group goes through it.
func (s *sheet) deaf() bool {
	return !slices.ContainsFunc(s.vmacs, func(v sheetVmac) bool {
		return v.BCQueueLen == nil || v.BCLim != nil && *v.BCLim < 0
	})
}

func (b *bed) modeOf(name string) classify.Mode {
	for _, v := range b.s.vmacs {
		if v.Name == name {
			return v.Mode
		}
	}
	return 0
}

// mute says that the parent carries nothing, markers neither.
func (b *bed) mute() bool {
	return slices.ContainsFunc(b.s.sets, func(w []string) bool { return w[len(w)-1] == "down" })
}

// saw counts how often the tap there has seen these bytes.
func (b *bed) saw(name string, frame []byte) (n int) {
	for _, s := range b.taps[name].Seen {
		if bytes.Equal(s.Frame(), frame) {
			n++
		}
	}
	return n
}

// settle waits until the driver has noticed what build did to the devices, by
// asking the only way that counts: with frames. Then it makes the scenario's
// last changes, and learns which filters collide.
func (b *bed) settle() error {
	if err := b.sync(); err != nil {
		return err
	}
	err := poll(10*time.Second, func() (bool, error) {
		marks := b.marks("wire")
		for _, v := range b.s.vmacs {
			if v.down {
				continue
			}
			for _, g := range v.join {
				dst, _ := b.s.address(g)
				ext, _ := b.s.address("ext")
				m := b.marker("wire", dst, ext)
				if v.Mode == classify.Source {
					m = b.marker("wire", dst, v.MAC)
				}
				if !b.s.deaf() {
					m.shows = []string{v.Name}
				}
				marks = append(marks, m)
			}
		}
		for _, m := range marks {
			if err := b.send(m.at, m.frame); err != nil {
				return false, err
			}
		}
		err := Wait(b.probes, 50*time.Millisecond, func() bool { return b.shown(marks) })
		if err != nil && err != ErrTimeout {
			return false, err
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the vmacs don't hear what they are up for: %w", err)
	}
	for _, w := range b.s.sets {
		if err := b.set(w); err != nil {
			return err
		}
	}
	if err := b.sync(); err != nil {
		return err
	}
	if !b.mute() {
		if err := b.learnLeaks(); err != nil {
			return err
		}
	}
	return b.rest()
}

// sync tells a driver to look at its devices, if it doesn't by itself.
func (b *bed) sync() error {
	if d, ok := b.Driver.(interface{ Sync() error }); ok {
		return d.Sync()
	}
	return nil
}

func (b *bed) shown(marks []mark) bool {
	for _, m := range marks {
		for _, name := range m.shows {
			if b.saw(name, m.frame) == 0 {
				return false
			}
		}
	}
	return true
}

// set makes one change after the vmacs are up.
func (b *bed) set(w []string) error {
	d := b.device(w[0])
	switch w[1] {
	case "mtu":
		return d.SetMTU(1000)
	case "promisc":
		return d.SetPromisc(true)
	case "allmulti":
		return d.SetAllmulti(true)
	case "down":
		if err := d.Down(); err != nil {
			return err
		}
		return poll(10*time.Second, func() (bool, error) { // link-watch takes up to a second
			v := b.Vmacs[b.s.vmacs[0].Name]
			if e, ok := b.Driver.(*Emulator); ok && feature.Off(feature.SetCarrier) {
				l, err := e.Link(v)
				return l.OperState == "LOWERLAYERDOWN", err
			}
			up, err := v.Operational()
			return !up, err
		})
	}
	return fmt.Errorf("set %v", w)
}

// learnLeaks finds which unsubscribed groups a vmac's filter lets through
// because their hashes collide: the kernel's key is a pointer, so nobody can
// foretell them. A filter that lets through more than chance is an error.
func (b *bed) learnLeaks() error {
	groups := map[string]bool{}
	for _, r := range b.s.rows {
		if mac, err := b.s.address(r.dst); err == nil && mac[0]&1 != 0 {
			groups[r.dst] = true
		}
	}
	ext, _ := b.s.address("ext")
	asked := 0
	for g := range groups {
		dst, _ := b.s.address(g)
		m := b.marker("wire", dst, ext)
		marks := append([]mark{m}, b.marks("wire")...)
		for _, m := range marks {
			if err := b.send(m.at, m.frame); err != nil {
				return err
			}
		}
		if err := Wait(b.probes, 2*time.Second, func() bool { return b.shown(marks) }); err != nil {
			return err
		}
		for name := range b.Vmacs {
			if b.s.hears(name, g) {
				continue
			}
			asked++
			if b.saw(name, m.frame) > 0 {
				b.leaks[name+" "+g] = true
			}
		}
	}
	// A handful of bits of 256 are set: three standard deviations above chance.
	if n := len(b.leaks); n > 3+asked/8 {
		return fmt.Errorf("%d of %d unsubscribed groups pass: %v", n, asked, b.leaks)
	}
	return nil
}

// hears says that a vmac has a reason to hear a group: it joined it, a row says
// so, or it hears them all.
func (s *sheet) hears(name, group string) bool {
	for _, v := range s.vmacs {
		if v.Name == name && (group == "bcast" || slices.Contains(v.join, group)) {
			return true
		}
	}
	for _, w := range s.sets {
		if w[0] == name {
			return true
		}
	}
	return slices.ContainsFunc(s.rows, func(r row) bool { return r.dst == group && r.vmacs[name] != nil })
}
