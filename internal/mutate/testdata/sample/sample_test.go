package sample

import "testing"

func TestAll(t *testing.T) {
	if !Between(2, 1, 3) || Between(3, 1, 3) || Between(0, 1, 3) { // not Between(1, 1, 3)
		t.Error("Between")
	}
	if Name(Red) != "red" || Name(Blue) != "" { // not Green
		t.Error("Name")
	}
	if c, err := Next(Red); c != Green || err != nil {
		t.Error("Next")
	}
	if _, err := Next(Blue); err == nil { // not what comes with an error
		t.Error("Next")
	}
	if Sum([]int{1, 2}, false) != (Point{6, 3}) || Sum([]int{1}, true).X != 0 {
		t.Error("Sum")
	}
	n := 0
	Count(&n, false)
	if n != 1 { // not enough
		t.Error("Count")
	}
	if n, _ := Pair(); n != 7 { // not its second result
		t.Error("Pair")
	}
}
