package dataplane

import (
	"slices"
	"testing"
)

// logged is a Child that notes who is sent a frame.
type logged struct {
	Child
	who string
	log *[]string
}

func (c logged) Offload() bool { return true }

func (c logged) Send(frames []*Frame) (int, error) {
	for range frames {
		*c.log = append(*c.log, c.who)
	}
	return len(frames), nil
}

// Nobody waits for another vmac's burst, and each gets its own in order.
func TestFewestFirst(t *testing.T) {
	var log []string
	vmacs := map[string]*Vmac{}
	for _, who := range []string{"busy", "quiet", "calm"} {
		vmacs[who] = NewVmac(who, logged{who: who, log: &log})
	}
	for id := range workers {
		log = nil
		w := &worker{id: id}
		for _, who := range []string{"busy", "busy", "quiet", "busy", "calm"} {
			w.stage(vmacs[who], &Frame{}, account{})
		}
		w.flush()
		if want := []string{"quiet", "calm", "busy", "busy", "busy"}; !slices.Equal(log, want) {
			t.Errorf("worker %d: %v, not %v", id, log, want)
		}
		if allocs := testing.AllocsPerRun(10, func() {
			log = log[:0]
			for _, who := range []string{"busy", "busy", "quiet"} {
				w.stage(vmacs[who], &Frame{}, account{})
			}
			w.flush()
		}); allocs > 3 { // the frames
			t.Errorf("worker %d: %v allocations", id, allocs)
		}
	}
}
