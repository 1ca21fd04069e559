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
