package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/feature"
	"golang.org/x/sys/unix"
)

// exclusions is everything in which the emulator is not (yet) the kernel's
// equal, as a change to what is expected of it, so that each is asserted too.
var exclusions = []struct {
	name  string
	apply func(l lacks, s *sheet, r *row)
}{
	{"a packet socket copies and does not consume: where nothing takes it the parent's stack gets what the wire brings", func(l lacks, _ *sheet, r *row) {
		if r.at != "wire" || !l.steal {
			return
		}
		r.stack = slices.Clone(r.tap)
		for i := range r.stack {
			if len(r.tags) > 0 && r.tags[0]&0xfff != 0 {
				r.stack[i].stack = classify.TypeOther
			}
		}
	}},
	{"a TAP types frames by its own address: taps see no HOST forced in passthru, or taken from the parent in source copies", func(l lacks, s *sheet, r *row) {
		for name, list := range r.vmacs {
			mac, _ := s.address(name)
			dst, _ := s.address(r.dst)
			for i := range list {
				if list[i].typ == classify.TypeHost && !bytes.Equal(mac, dst) {
					list[i].typ = classify.TypeOther
					if l.types {
						list[i].stack = classify.TypeOther
					}
				}
			}
		}
	}},
	{"what bridge siblings say to each other does not pass the parent's receive path", func(_ lacks, _ *sheet, r *row) {
		if r.at != "wire" && len(r.tap) > 0 && r.tap[0].typ != classify.TypeOutgoing {
			r.tap = nil
		}
	}},
	{"a full broadcast queue is counted by the emulator, not on the parent's device", func(_ lacks, _ *sheet, r *row) {
		c := r.counters["parent"]
		c.RxDropped = 0
		r.counters["parent"] = c
	}},
}

// lacks is what a driver does without: something that takes from the parent's
// stack, and programs that correct packet types.
type lacks struct{ steal, types bool }

func lacking(d Driver) lacks {
	if b, ok := d.(*bare); ok {
		return lacks{steal: b.rung == dataplane.StealNone, types: true}
	}
	return lacks{!steals(), !types()}
}

func TestConformance(t *testing.T) {
	Need(t, NeedNS)
	scenarios, err := readScenarios("testdata/macvlan.txt")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("kernel", func(t *testing.T) {
		Need(t, NeedMacvlan)
		conform(t, scenarios, false, Kernel)
	})
	for _, w := range wires {
		rung := w.rung
		if slices.ContainsFunc(w.needs, feature.Off) {
			rung = dataplane.StealNone
		}
		t.Run("data plane, "+w.name+", "+rung, func(t *testing.T) {
			Need(t, NeedTUN)
			conform(t, scenarios, true, func() Driver { return &bare{w.open, rung, map[*Device]*bareSwitch{}} })
		})
	}
	t.Run("umacvlan", func(t *testing.T) {
		Need(t, NeedTUN)
		conform(t, scenarios, true, func() Driver { return NewEmulator() })
	})
}

// wires are the parents that the data plane can be opened on, each with another
// rung beside it.
var wires = []struct {
	name, rung string
	open       func(string) (dataplane.Wire, error)
	needs      []feature.Name
}{
	{"ring", dataplane.StealTCX, openRing, []feature.Name{feature.BPF, feature.TCX}},
	{"mmsg", dataplane.StealCls, openMmsg, []feature.Name{feature.BPF, feature.ClsBPF}},
	{"ring", dataplane.StealNFT, openRing, []feature.Name{feature.NFTNetdev}},
}

func openRing(name string) (dataplane.Wire, error) {
	return dataplane.OpenRing(name, dataplane.WireOptions{})
}

func openMmsg(name string) (dataplane.Wire, error) {
	return dataplane.OpenMmsg(name, dataplane.WireOptions{})
}

func conform(t *testing.T, scenarios []*sheet, emulated bool, open func() Driver) {
	before := Measure()
	defer func() {
		if err := before.Leaked(); err != nil {
			t.Error(err)
		}
	}()
	for _, s := range scenarios {
		for _, apart := range []bool{false, true} {
			name := s.name
			if apart {
				if len(s.rows) < 5 {
					continue
				}
				name += ", each vmac in a namespace of its own"
			}
			t.Run(name, func(t *testing.T) {
				// Which groups a vmac's filter takes for others is chance, drawn
				// when it is made (KERNEL.md 4.4). A vmac made anew draws again; a
				// rule that is broken stays broken.
				for try := 1; ; try++ {
					wrong := playSheet(t, s, apart, emulated, open())
					if len(wrong) == 0 {
						return
					}
					if try == 4 {
						t.Fatal(strings.Join(wrong, "\n"))
					}
					t.Logf("once more, with other vmacs: %s", strings.Join(wrong, "\n"))
				}
			})
		}
	}
}

// playSheet plays all rows of a sheet on one topology and returns what was
// wrong.
func playSheet(t *testing.T, s *sheet, apart, emulated bool, d Driver) (wrong []string) {
	b, err := newBed(d, s, apart)
	if err != nil {
		d.Close()
		t.Fatal(err)
	}
	defer b.close(t)
	if _, ok := d.(*bare); ok && b.mute() {
		return nil // the carrier of vmacs is control's
	}
	if err := b.settle(); err != nil {
		t.Fatal(err)
	}
	for i := range s.rows {
		r := s.rows[i].clone()
		if emulated {
			for _, x := range exclusions {
				x.apply(lacking(d), s, &r)
			}
		}
		err := b.run(&r)
		// A change made just before may not have reached the emulator yet, and
		// not every row would show it.
		for end := time.Now().Add(3 * time.Second); err != nil && emulated && (i == 0 || len(s.sets) > 0) && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
			err = b.run(&r)
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("row %s\n%v", r.text, err))
		}
	}
	if e, ok := d.(*Emulator); ok {
		var off []string
		if poll(time.Second, func() (bool, error) { off = e.Unbalanced(); return len(off) == 0, nil }) != nil {
			t.Errorf("ledger: %q", off)
		}
	}
	return wrong
}

func (r *row) clone() row {
	c := *r
	c.vmacs, c.counters = map[string][]delivery{}, maps.Clone(r.counters)
	for k, v := range r.vmacs {
		c.vmacs[k] = slices.Clone(v)
	}
	return c
}

// stackTypes are the ethertypes whose protocol handlers a bed stands in for.
var stackTypes = []uint16{EtherType, MarkerType, 0x8808, 0x88cc, 0x888e, 0x8809, 0x0806, 0x8100}

// run plays one row and compares.
func (b *bed) run(r *row) error {
	b.seq++
	for _, p := range b.probes {
		p.Reset()
	}
	frame, err := b.s.frame(r, b.seq)
	if err != nil {
		return err
	}
	err = b.send(r.at, frame)
	if r.errno != "" {
		if err == nil || unix.ErrnoName(errnoOf(err)) != r.errno {
			return fmt.Errorf("send: %v, want %s", err, r.errno)
		}
		return nil
	}
	if err != nil {
		return err
	}
	var marks []mark
	if b.mute() {
		err = Wait(b.probes, 30*time.Millisecond, func() bool { return false })
	} else {
		marks = b.marks(r.at)
		for _, m := range marks {
			if err := b.send(m.at, m.frame); err != nil {
				return err
			}
		}
		err = Wait(b.probes, time.Second, func() bool { return b.shown(marks) })
		if err == nil {
			err = Wait(b.probes, 100*time.Millisecond, func() bool { return len(b.missing(r, frame)) == 0 })
		}
	}
	if err != nil && err != ErrTimeout {
		return err
	}
	wrong := b.compare(r, frame)
	for _, m := range marks {
		for _, name := range m.shows {
			if n := b.saw(name, m.frame); n != 1 {
				wrong = append(wrong, fmt.Sprintf("the marker sent at %s reached %s %d times", m.at, name, n))
			}
		}
	}
	if err := b.compareCounters(r, marks); err != nil {
		wrong = append(wrong, err.Error())
	}
	if len(wrong) > 0 {
		return fmt.Errorf("  %s", strings.Join(wrong, "\n  "))
	}
	return nil
}

func errnoOf(err error) unix.Errno {
	for ; err != nil; err = unwrap(err) {
		if e, ok := err.(unix.Errno); ok {
			return e
		}
	}
	return 0
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

// missing says who hasn't got the frame yet.
func (b *bed) missing(r *row, frame []byte) (names []string) {
	want := map[string]int{"parent": len(r.tap), "wire": len(r.wire)}
	for name, list := range r.vmacs {
		want[name] = len(list)
	}
	for name, n := range want {
		if b.saw(name, frame) < n {
			names = append(names, name)
		}
	}
	return names
}

// compare checks every place, byte for byte.
func (b *bed) compare(r *row, frame []byte) (wrong []string) {
	inner := 12 + 4*len(r.tags)
	for name, p := range b.taps {
		want := r.vmacs[name]
		switch name {
		case "parent":
			want = r.tap
		case "wire":
			want = r.wire
		}
		var got []delivery
		for _, s := range p.Seen {
			f := s.Frame()
			own := (name == r.at || name == "wire") && s.Type == classify.TypeOutgoing && r.at != "parent"
			switch {
			case own, len(f) >= 14 && binary.BigEndian.Uint16(f[12:]) == MarkerType:
			case bytes.Equal(f, frame):
				got = append(got, delivery{typ: s.Type, length: len(s.Bytes)})
			case len(f) >= inner+2 && binary.BigEndian.Uint16(f[inner:]) == r.etherType:
				wrong = append(wrong, fmt.Sprintf("%s: altered frame %x, sent %x", name, f, frame))
			}
		}
		if len(got) > 0 && len(want) == 0 && b.leaks[name+" "+r.dst] {
			continue
		}
		if !slices.EqualFunc(got, want, func(g, w delivery) bool { return g.typ == w.typ && g.length == w.length }) {
			wrong = append(wrong, fmt.Sprintf("%s: got %v, want %v", name, got, want))
		}
		if name != "wire" && name != r.at && len(r.tags) < 2 {
			if name == "parent" {
				want = r.stack
			}
			wrong = append(wrong, b.compareStack(name, want, r, frame)...)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// compareStack checks what protocol handlers saw arrive on a device. Where the
// vid isn't 0 the kernel has taken the tag away by then.
func (b *bed) compareStack(name string, want []delivery, r *row, frame []byte) (wrong []string) {
	d := b.device(name)
	var got, types []classify.PacketType
	for _, s := range b.stacks[d.NS.Inode()][slices.Index(stackTypes, r.etherType)].Seen {
		if s.Index == d.Index && bytes.Equal(s.Bytes[:12], frame[:12]) {
			got = append(got, s.Type)
		}
	}
	for _, w := range want {
		types = append(types, w.stack)
	}
	if !slices.Equal(got, types) {
		wrong = append(wrong, fmt.Sprintf("%s's stack: got %v, want %v", name, got, types))
	}
	return wrong
}

func (d delivery) String() string {
	for name, t := range typeNames {
		if t == d.typ {
			return fmt.Sprintf("%s %d", name, d.length)
		}
	}
	return fmt.Sprintf("type %d %d", d.typ, d.length)
}

func (b *bed) counters() (map[string]Counters, error) {
	m := map[string]Counters{}
	var err error
	for name, d := range b.Vmacs {
		if m[name], err = b.Driver.Counters(d); err != nil {
			return nil, err
		}
	}
	m["parent"], err = b.Parent.Counters()
	return m, err
}

// compareCounters waits a moment for counters that are written after the frame
// and compares totals, so that one that lags or moves late is found by the next
// row at the latest.
func (b *bed) compareCounters(r *row, marks []mark) error {
	want := map[string]Counters{}
	for name, base := range b.base {
		want[name] = base.add(r.counters[name])
		for _, m := range marks {
			want[name] = want[name].add(m.counters[name])
		}
	}
	var now map[string]Counters
	var wrong []string
	ignored := false
	err := poll(500*time.Millisecond, func() (ok bool, err error) {
		if now, err = b.counters(); err != nil {
			return false, err
		}
		wrong = wrong[:0]
		for name := range now {
			if _, named := r.vmacs[name]; !named && b.leaks[name+" "+r.dst] {
				want[name], ignored = now[name], true
			}
			if now[name] != want[name] {
				wrong = append(wrong, fmt.Sprintf("%s: counted %+v, want %+v", name, now[name].Sub(b.base[name]), want[name].Sub(b.base[name])))
			}
		}
		slices.Sort(wrong)
		return len(wrong) == 0, nil
	})
	b.base = now
	if ignored && err == nil {
		return b.rest()
	}
	if err == ErrTimeout {
		return fmt.Errorf("%s (markers included)", strings.Join(wrong, "\n  "))
	}
	return err
}

// rest waits until no counter has moved for a while, and takes the totals that
// rows are compared with.
func (b *bed) rest() error {
	last := time.Now()
	return poll(10*time.Second, func() (bool, error) {
		now, err := b.counters()
		if !maps.Equal(now, b.base) {
			b.base, last = now, time.Now()
		}
		return time.Since(last) > 30*time.Millisecond, err
	})
}

func (a Counters) add(b Counters) Counters {
	return Counters{
		a.RxPackets + b.RxPackets, a.RxBytes + b.RxBytes, a.RxErrors + b.RxErrors, a.RxDropped + b.RxDropped, a.Multicast + b.Multicast,
		a.TxPackets + b.TxPackets, a.TxBytes + b.TxBytes, a.TxDropped + b.TxDropped,
	}
}
