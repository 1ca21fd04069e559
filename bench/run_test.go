//go:build linux

package bench

import (
	"os"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// The baseline against itself: the ruler must measure about 1, and leave
// nothing behind.
func TestKernelAgainstItself(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedMacvlan)
	before := lab.Measure()
	o := Options{Contenders: []Contender{Kernel(), Kernel()}, Repetitions: 3, Warmup: 50 * time.Millisecond, Last: 100 * time.Millisecond}
	results, err := Run(o, Cases())
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteTable(os.Stderr, results); err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if q := r.Ratio(1); q.Median < 0.2 || q.Median > 5 { // other programs run too
			t.Errorf("%s: %.2f", r.Case.Title, q)
		}
		if limit := float64(r.Case.Parent) / 1e9; limit > 0 {
			if rate := r.Series[0].Spread().Median; rate > 1.1*limit || rate < 0.5*limit {
				t.Errorf("%s: %.2f Gbit/s through a parent of %.2f", r.Case.Title, rate, limit)
			}
		}
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
}
