package lab

import (
	"strings"
	"testing"
)

func text(t *testing.T, r *DemoReport) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDemoTextWithoutKernel(t *testing.T) {
	cell := DemoCell{Frame: "wire → vmac1", Kind: "unicast", Sender: "w", Heard: []string{"1", "h"}, Decided: []string{"1"}}
	cell.judge()
	r := &DemoReport{
		Modes:   []DemoMode{{Mode: "bridge", Vmacs: 3, Cells: []DemoCell{cell}}},
		Streams: []DemoTCP{{Way: "wire → vmac1", Emulator: []float64{9.96e9, 11e9}}},
		OK:      true,
	}
	got := text(t, r)
	for _, want := range []string{
		"\n  wire → vmac1                1 · · *\n", "10.0  11.0", "no macvlan to compare with", "* the host's own stack", "Each was heard as decided.\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	for _, not := range []string{"ratio", "\x1b", " \n"} {
		if strings.Contains(got, not) {
			t.Errorf("%q stands in\n%s", not, got)
		}
	}
}

func TestDemoTextOfAFault(t *testing.T) {
	cell := DemoCell{
		Frame: "vmac1 → all" + sentBack, Kind: "broadcast", Sender: "w",
		Heard: []string{"2"}, Decided: []string{"1"}, Kernel: []string{"1"},
	}
	cell.judge()
	got := text(t, &DemoReport{
		Kernel: true, Modes: []DemoMode{{Mode: "private", Vmacs: 3, Cells: []DemoCell{cell}}},
		Ledger: []string{"eth0: tx: read 8 = dispositions 7 (off by 1)"},
	})
	for _, want := range []string{
		"… sent back by a switch   · 2 · ·   !\n",
		`! private, vmac1 → all, sent back by a switch: heard by "2", decided "1", kernel "1"`,
		"! ledger: eth0: tx: read 8",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "as decided") || strings.Contains(got, "accounted for") {
		t.Errorf("a fault is praised:\n%s", got)
	}
}
