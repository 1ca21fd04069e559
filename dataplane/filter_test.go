package dataplane

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/umacvlan/umacvlan/classify"
)

// mustPass is what a filter is for, in plain words.
func (f filterSet) mustPass(frame []byte) bool {
	dst, src := classify.MACFrom(frame), classify.MACFrom(frame[6:])
	for _, m := range f.dst {
		if m == dst {
			return true
		}
	}
	for _, m := range f.src {
		if m == src {
			return true
		}
	}
	return f.all || dst.IsGroup()
}

// mayPass is mustPass with the addresses that share a key.
func (f filterSet) mayPass(frame []byte) bool {
	dst, src := classify.MACFrom(frame), classify.MACFrom(frame[6:])
	for _, m := range f.dst {
		if key(m) == key(dst) {
			return true
		}
	}
	for _, m := range f.src {
		if key(m) == key(src) {
			return true
		}
	}
	return f.mustPass(frame)
}

func newVM(t testing.TB, prog []insn) *bpf.VM {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(prog))
	for i, in := range prog {
		raw[i] = bpf.RawInstruction{Op: in.code, Jt: in.jt, Jf: in.jf, K: in.k}
	}
	insns, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatalf("not classic BPF: %v", prog)
	}
	vm, err := bpf.NewVM(insns)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

func runVM(t testing.TB, vm *bpf.VM, frame []byte) bool {
	t.Helper()
	n, err := vm.Run(frame)
	if err != nil {
		t.Fatal(err)
	}
	return n != 0
}

// macs makes n addresses that are alike in the ways in which real ones are:
// counted up, from the parent's by its first octet, or random.
func macs(r *rand.Rand, n int) []classify.MAC {
	m := make([]classify.MAC, n)
	for i := range m {
		switch r.IntN(3) {
		case 0:
			m[i] = 0x02 | classify.MAC(i)<<40
		case 1:
			m[i] = classify.MAC(r.IntN(256))&^1 | 0x5634_1200_5400
		default:
			m[i] = classify.MAC(r.Uint64()) & (1<<48 - 1) &^ 1
		}
	}
	return m
}

func checkFilter(t *testing.T, r *rand.Rand, f filterSet, probes int) {
	t.Helper()
	prog, full := f.program(false)
	if full {
		t.Fatalf("%d + %d addresses don't fit", len(f.dst), len(f.src))
	}
	if len(prog) > maxInsns {
		t.Fatalf("%d instructions", len(prog))
	}
	vm := newVM(t, prog)
	frame := make([]byte, 60)
	put := func(b []byte, m classify.MAC) {
		for i := range 6 {
			b[i] = byte(m >> (8 * i))
		}
	}
	try := func(dst, src classify.MAC) {
		t.Helper()
		put(frame, dst)
		put(frame[6:], src)
		got := runVM(t, vm, frame)
		if f.mustPass(frame) && !got || got && !f.mayPass(frame) {
			t.Fatalf("to %v from %v: passes %v, with %d dst and %d src", dst, src, got, len(f.dst), len(f.src))
		}
	}
	for _, m := range f.dst {
		try(m, 2)
		try(m^2, 2)
		try(m^1<<40, 2)
		try(2, m)
	}
	for _, m := range f.src {
		try(2, m)
		try(m, 2)
	}
	for range probes {
		try(classify.MAC(r.Uint64())&(1<<48-1), classify.MAC(r.Uint64())&(1<<48-1))
	}
}

func TestFilter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 7, 8, 9, 16, 17, 100, 255, 256, 300, 1000, 2000} {
		checkFilter(t, r, newFilterSet(&classify.Addresses{Dst: macs(r, n)}), 1000)
		checkFilter(t, r, newFilterSet(&classify.Addresses{Src: macs(r, n)}), 1000)
		checkFilter(t, r, newFilterSet(&classify.Addresses{Dst: macs(r, n/2), Src: macs(r, n/2)}), 1000)
	}
	checkFilter(t, r, newFilterSet(&classify.Addresses{All: true}), 100)
}

// TestFilterFull holds how many addresses fit, and that more pass everything.
func TestFilterFull(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func(n int) (m []classify.MAC) {
		for range n {
			m = append(m, classify.MAC(r.Uint64())&(1<<48-1)&^1)
		}
		return m
	}
	prog, full := newFilterSet(&classify.Addresses{Dst: random(2500)}).program(false)
	if full || len(prog) < 2500 {
		t.Errorf("2500 addresses: full %v, %d instructions", full, len(prog))
	}
	prog, full = newFilterSet(&classify.Addresses{Dst: random(4096)}).program(false)
	if !full || !runVM(t, newVM(t, prog), make([]byte, 60)) {
		t.Errorf("4096 addresses: full %v, %d instructions", full, len(prog))
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(uint64(1), uint16(10), uint16(0))
	f.Add(uint64(2), uint16(700), uint16(700))
	f.Fuzz(func(t *testing.T, seed uint64, dst, src uint16) {
		r := rand.New(rand.NewPCG(seed, 5))
		a := classify.Addresses{Dst: macs(r, int(dst)%1200), Src: macs(r, int(src)%1200)}
		checkFilter(t, r, newFilterSet(&a), 50)
	})
}

// TestFilterUnion: what is attached while memberships change lets through what
// either of the two sets does.
func TestFilterUnion(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	a := newFilterSet(&classify.Addresses{Dst: macs(r, 50), Src: macs(r, 20)})
	b := newFilterSet(&classify.Addresses{Dst: macs(r, 50)})
	u := a.union(b)
	vm := newVM(t, must(u.program(false)))
	frame := make([]byte, 60)
	for _, m := range append(append([]classify.MAC{}, a.dst...), b.dst...) {
		for i := range 6 {
			frame[i] = byte(m >> (8 * i))
		}
		if !runVM(t, vm, frame) {
			t.Fatalf("the union keeps out %v", m)
		}
	}
	if all := (filterSet{all: true}); !a.union(all).equal(all) || !all.union(a).equal(all) {
		t.Error("the union with everything is not everything")
	}
	if !u.union(a).equal(u) {
		t.Error("a set's union with its part differs from it")
	}
}

func must(prog []insn, full bool) []insn {
	if full {
		panic("full")
	}
	return prog
}
