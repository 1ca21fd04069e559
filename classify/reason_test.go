package classify

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func TestReasons(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]Reason{}
	for r := range Reason(NumReasons) {
		key, s := r.Key(), r.Sentence()
		if !snake.MatchString(key) {
			t.Errorf("reason %d has key %q", r, key)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("reasons %d and %d are both %q", other, r, key)
		}
		seen[key] = r
		if s == "" || strings.HasSuffix(s, ".") {
			t.Errorf("%v has sentence %q", r, s)
		}
		if r.String() != key || r.Dropped() != (r.Class() == ClassDropped) {
			t.Errorf("%v: String %q, Dropped %v, class %v", key, r, r.Dropped(), r.Class())
		}
	}
	for r, c := range map[Reason]Class{
		Delivered: ClassDelivered, Unicast: ClassRx, OwnFrame: ClassRx, ToWire: ClassTx, ToBoth: ClassTx,
		NotSubscribed: ClassSkipped, WireOnly: ClassSkipped, VmacDown: ClassDropped, VmacGone: ClassDropped,
	} {
		if r.Class() != c {
			t.Errorf("%v is of class %v, want %v", r, r.Class(), c)
		}
	}
	if beyond := Reason(NumReasons); beyond.Key() == "" || beyond.Sentence() == "" || !beyond.Dropped() {
		t.Errorf("a reason that doesn't exist: %q, %q", beyond.Key(), beyond.Sentence())
	}
	if b, err := json.Marshal(map[Reason]int{NoOwner: 1}); err != nil || string(b) != `{"no_owner":1}` {
		t.Errorf("%s, %v", b, err)
	}
}
