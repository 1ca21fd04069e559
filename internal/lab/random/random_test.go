package random

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

func small() Size { return Size{Frames: 200, Controls: 20} }

func TestSameSeedSameScenario(t *testing.T) {
	a, b := New(1, 2, small()), New(1, 2, small())
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed made two scenarios")
	}
	if bytes.Equal(New(1, 3, small()).Format(), a.Format()) || bytes.Equal(New(2, 2, small()).Format(), a.Format()) {
		t.Error("two seeds made the same scenario")
	}
}

// What is made can be written, read and played.
func TestScenariosAreWhole(t *testing.T) {
	for n := range uint64(60) {
		s := New(7, n, small())
		text := s.Format()
		back, err := scenario.Parse(s.File, text)
		if err != nil {
			t.Fatalf("number %d: %v\n%s", n, err, text)
		}
		if again := back.Format(); !bytes.Equal(again, text) {
			t.Fatalf("number %d: read and written again it is\n%s\nnot\n%s", n, again, text)
		}
		for i := range s.Steps {
			if s.Steps[i].Send == nil {
				continue
			}
			a, err := s.Frame(i)
			b, _ := back.Frame(i)
			if err != nil || !bytes.Equal(a, b) {
				t.Fatalf("number %d, %v: frame %x, read again %x: %v", n, s.Steps[i], a, b, err)
			}
		}
		if _, err := scenario.NewModel().Play(context.Background(), s); err != nil {
			t.Fatalf("number %d: %v\n%s", n, err, text)
		}
	}
}

// What can occur does, often enough for a run of two million frames to have a
// thousand of each.
func TestEverythingOccurs(t *testing.T) {
	scenarios, size := 800, Size{Frames: 400, Controls: 30}
	if testing.Short() {
		scenarios = 100
	}
	r, err := Run(context.Background(), []scenario.Player{scenario.NewModel(), scenario.NewModel()}, Options{Seed: 1, Scenarios: scenarios, Size: size})
	if err != nil || len(r.Findings) != 0 || r.Scenarios != scenarios {
		t.Fatalf("%d scenarios, %d findings: %v", r.Scenarios, len(r.Findings), err)
	}
	least := r.Frames / 2000
	if testing.Short() {
		least /= 2 // so few are more of a matter of chance
	}
	for _, k := range r.Histogram.Rare(least) {
		t.Errorf("%s occurred %d times in %d frames, want %d", k, r.Histogram.Count(k), r.Frames, least)
	}
}
