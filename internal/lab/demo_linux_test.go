package lab

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"time"
)

// The decision that the demo compares with is the kernel's too.
func TestDemoOnKernel(t *testing.T) {
	Need(t, NeedNS, NeedMacvlan)
	before := Measure()
	r := &DemoReport{OK: true}
	for _, m := range demoModes {
		col, err := r.mode(Kernel(), m.name, m.mode)
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		for i := range col.Cells {
			col.Cells[i].judge()
			if c := col.Cells[i]; !c.OK && !c.Impossible || c.Copied {
				t.Errorf("%s, %s: heard by %q, decided %q", m.name, c.Frame, c.Heard, c.Decided)
			}
		}
		r.Modes = append(r.Modes, col)
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
	r.Streams = []DemoTCP{{"wire → vmac1", []float64{10e9, 11e9}, []float64{14e9, 15e9}}}
	r.Kernel = true
	if testing.Verbose() {
		if err := r.WriteText(os.Stderr, false); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTCP(t *testing.T) {
	Need(t, NeedNS)
	before := Measure()
	top, err := NewTopology(Kernel(), Options{Offloads: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := top.Parent.AddAddr("10.77.0.1/24"); err != nil {
		t.Fatal(err)
	}
	if err := top.Wire.AddAddr("10.77.0.2/24"); err != nil {
		t.Fatal(err)
	}
	s, err := TCP(context.Background(), top.Parent.NS, top.Wire.NS, netip.MustParseAddr("10.77.0.2"), 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if s.BitsPerSecond() < 50e6 || s.Elapsed > time.Second {
		t.Errorf("%+v over a veth pair", s)
	}
	t.Logf("%.1f Gbit/s", s.BitsPerSecond()/1e9)
	if err := top.Close(); err != nil {
		t.Error(err)
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
}
