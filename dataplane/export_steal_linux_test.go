package dataplane

import "github.com/cilium/ebpf"

// NewStealProgram makes the programs of the BPF rungs without attaching them.
func NewStealProgram() (Taker, error) { return newBPFTaker() }

// RunSteal has the kernel run them on a frame, and says whether it is taken.
func RunSteal(t Taker, frame []byte) (bool, error) {
	r, err := t.(*bpfTaker).gateProgram.Run(&ebpf.RunOptions{Data: frame})
	return r == actDrop, err
}

// StealEntries counts what is in their map of addresses.
func StealEntries(t Taker) (n int) {
	var key takeKey
	var value uint32
	for i := t.(*bpfTaker).addresses.Iterate(); i.Next(&key, &value); {
		n++
	}
	return n
}
