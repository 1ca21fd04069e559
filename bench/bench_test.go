//go:build linux

package bench

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

func TestMain(m *testing.M) {
	RunChild()
	os.Exit(m.Run())
}

// need skips without what the comparison needs, or fails where CI must have it.
func need(tb testing.TB) {
	tb.Helper()
	lab.Need(tb, lab.NeedNS, lab.NeedTUN)
	if os.Getenv("CI") == "true" && !lab.HasMacvlan() {
		tb.Fatal("this kernel has no macvlan to compare with (and CI=true allows no skip)")
	}
	lab.Need(tb, lab.NeedMacvlan)
}

// options are Quick unless UMACVLAN_BENCH=full. UMACVLAN_BENCH_ALSO names test
// binaries of other builds that take part: "name=path,…".
func options() Options {
	o := Quick()
	if os.Getenv("UMACVLAN_BENCH") == "full" {
		o = Full()
	}
	o.Contenders = []Contender{Kernel(), Emulator("")}
	if also := os.Getenv("UMACVLAN_BENCH_ALSO"); also != "" {
		for name := range strings.SplitSeq(also, ",") {
			name, exe, _ := strings.Cut(name, "=")
			o.Contenders = append(o.Contenders, EmulatorFrom(name, exe))
		}
	}
	return o
}

// BenchmarkForwarding compares with kernel macvlan and prints a table at the
// end. UMACVLAN_BENCH=full takes longer and is less at the mercy of the moment.
func BenchmarkForwarding(b *testing.B) {
	need(b)
	var table []Result
	for _, c := range Cases() {
		b.Run(c.Name, func(b *testing.B) {
			var r []Result
			for b.Loop() {
				var err error
				if r, err = Run(options(), []Case{c}); err != nil {
					b.Fatal(err)
				}
			}
			table = append(table, r...)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(r[0].Series[0].Spread().Median, "kernel-"+c.Unit)
			b.ReportMetric(r[0].Series[1].Spread().Median, c.Unit)
			b.ReportMetric(r[0].Ratio(1).Median, "ratio")
			for i, s := range r[0].Series[2:] {
				b.ReportMetric(r[0].Ratio(2+i).Median, s.Contender+"-ratio")
			}
		})
	}
	if err := WriteTable(os.Stdout, table); err != nil {
		b.Fatal(err)
	}
}

// TestFloors fails when a floor isn't reached in any of three tries.
func TestFloors(t *testing.T) {
	if os.Getenv("UMACVLAN_FLOORS") == "" {
		t.Skip("takes a minute and a quiet machine: UMACVLAN_FLOORS=1 runs it")
	}
	need(t)
	o := options()
	o.Calm = 2 * time.Second
	todo := Cases()
	for try := 1; len(todo) > 0; try++ {
		results, err := Run(o, todo)
		if e := WriteTable(os.Stdout, results); e != nil {
			t.Fatal(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		todo = nil
		for _, r := range results {
			if r.BelowFloor(1) {
				todo = append(todo, r.Case)
				if try == 3 {
					t.Errorf("%s: %.2f of kernel macvlan, and the floor is %.2f", r.Case.Title, r.Ratio(1).Median, r.Case.Floor)
				}
			}
		}
		if try == 3 {
			break
		}
	}
}
