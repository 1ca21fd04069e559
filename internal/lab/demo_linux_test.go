package lab

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
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
}

func TestDemo(t *testing.T) {
	Need(t, NeedNS, NeedTUN)
	before := Measure()
	steps := 0
	r, err := Demo(t.Context(), 200*time.Millisecond, func(string) { steps++ })
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d steps\n%s", steps, b.String())
	if !r.OK || r.Balanced != 6 || len(r.Ledger) > 0 {
		t.Errorf("ok %v, %d ledgers looked at, off: %q", r.OK, r.Balanced, r.Ledger)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) > 45 {
		t.Errorf("%d lines do not fit one screen", len(lines))
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, s := range r.Streams {
		for _, rate := range s.Emulator {
			if rate < 50e6 {
				t.Errorf("TCP %s: %.0f bit/s", s.Way, rate)
			}
		}
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
}

// A demo that is interrupted leaves nothing behind either.
func TestDemoInterrupted(t *testing.T) {
	Need(t, NeedNS, NeedTUN)
	before := Measure()
	ctx, stop := context.WithCancel(t.Context())
	_, err := Demo(ctx, 10*time.Second, func(what string) {
		if strings.HasPrefix(what, "TCP") {
			time.AfterFunc(100*time.Millisecond, stop)
		}
	})
	if err == nil {
		t.Error("an interrupted demo succeeded")
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
}

// What was heard is judged against the decision and the kernel; the one thing
// forgiven is the host's copy of a frame from the wire.
func TestDemoJudge(t *testing.T) {
	for _, c := range []struct {
		sender, heard, decided, kernel string
		ok, copied                     bool
	}{
		{"w", "1", "1", "1", true, false},
		{"w", "1 h", "1", "1", true, true},
		{"1", "h w", "w", "w", false, false},
		{"w", "1 2", "1", "1", false, false},
		{"w", "", "1", "1", false, false},
		{"w", "1", "1", "2", false, false},
		{"w", "h", "h", "h", true, false},
	} {
		cell := DemoCell{Sender: c.sender, Heard: strings.Fields(c.heard), Decided: strings.Fields(c.decided), Kernel: strings.Fields(c.kernel)}
		cell.judge()
		if cell.OK != c.ok || cell.Copied != c.copied {
			t.Errorf("%+v: ok %v, copied %v", c, cell.OK, cell.Copied)
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
