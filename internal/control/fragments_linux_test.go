package control

import "testing"

// Parents in one namespace share what waits, and what nobody needs is forgotten.
func TestFragmentsByNamespace(t *testing.T) {
	var f fragments
	a, b, other := f.open(1), f.open(1), f.open(2)
	if a != b || a == other {
		t.Error("one for each namespace is wanted")
	}
	f.close(1)
	f.close(2)
	if len(f.in) != 1 || f.open(1) != a {
		t.Errorf("%d namespaces", len(f.in))
	}
	f.close(1)
	f.close(1)
	if len(f.in) != 0 {
		t.Errorf("%d namespaces are left", len(f.in))
	}
}
