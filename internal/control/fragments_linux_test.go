package control

import "testing"

// Parents in one namespace share what waits, and what nobody needs is forgotten.
func TestFragmentsByNamespace(t *testing.T) {
	var f fragments
	a, one := f.open(1)
	b, _ := f.open(1)
	other, two := f.open(2)
	if a != b || a == other {
		t.Error("one for each namespace is wanted")
	}
	f.close(one)
	f.close(two)
	if again, _ := f.open(1); len(f.in) != 1 || again != a {
		t.Errorf("%d namespaces", len(f.in))
	}
	// Another namespace that has the number of one that has gone.
	f.in[fragmentsOf{1, one.cookie + 1}], f.in[one] = f.in[one], nil
	delete(f.in, one)
	if c, _ := f.open(1); c == a {
		t.Error("what waited in another namespace is there")
	}
	f.close(one)
	late := fragmentsOf{1, one.cookie + 1}
	f.close(late)
	f.close(late)
	if len(f.in) != 0 {
		t.Errorf("%d namespaces are left", len(f.in))
	}
}
