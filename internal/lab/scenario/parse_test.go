package scenario

import (
	"reflect"
	"testing"
)

// roundTrip wants the canonical form to be read as the same scenario, and to be
// written again as it is.
func roundTrip(t *testing.T, s *Scenario) {
	t.Helper()
	text := s.Format()
	again, err := Parse(s.File, text)
	if err != nil {
		t.Fatalf("canonical form: %v\n%s", err, text)
	}
	if second := again.Format(); string(second) != string(text) {
		t.Fatalf("written again:\n%s\nfirst:\n%s", second, text)
	}
	third, err := Parse(s.File, again.Format())
	if err != nil || !reflect.DeepEqual(again, third) {
		t.Fatalf("read again it is another scenario: %v\n%s", err, text)
	}
}
