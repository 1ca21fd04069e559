package tap

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"unsafe"
)

// The address of a variable, as a number, before and after what moves a stack.
//
//go:noinline
func moves() bool {
	var here byte
	before := uintptr(unsafe.Pointer(&here))
	runtime.GC() // halves it, once
	runtime.GC()
	growth()
	return uintptr(unsafe.Pointer(&here)) != before
}

//go:noinline
func growth() {
	var room [stillRoom - 1<<10]byte
	touch(room[:])
}

// deep leaves a stack that is much larger than what is in use.
//
//go:noinline
func deep(n int) {
	var frame [1 << 10]byte
	touch(frame[:])
	if n > 0 {
		deep(n - 1)
	}
}

// on runs f with depth KiB of stack in use, on one that has had room for more.
func on(depth, more int, f func()) {
	if depth > 0 {
		var frame [1 << 10]byte
		touch(frame[:])
		on(depth-1, more, f)
		touch(frame[:])
		return
	}
	deep(more)
	f()
}

func TestStillStack(t *testing.T) {
	for _, more := range []int{0, 40, 100} {
		moved := 0
		for depth := range 64 {
			var wg sync.WaitGroup
			wg.Go(func() {
				on(depth, more, func() {
					if moves() {
						moved++
					}
				})
			})
			wg.Wait()
			wg.Go(func() {
				on(depth, more, func() {
					onStillStack(func() {
						if moves() {
							t.Errorf("%d KiB in use, %d more before: moved", depth, more)
						}
					})
				})
			})
			wg.Wait()
		}
		if moved == 0 {
			t.Error("no stack was moved without it either; this shows nothing")
		}
	}
}

// What water calls a device is what it is called. Without onStillStack one in ten
// thousand has no name: UMACVLAN_FULL=1 finds that.
func TestBornWhileCollecting(t *testing.T) {
	need(t)
	rounds := 1
	if os.Getenv("UMACVLAN_FULL") != "" {
		rounds = 60
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	for range rounds {
		t.Run("", func(t *testing.T) {
			enterNS(t)
			r, err := openRoute()
			if err != nil {
				t.Fatal(err)
			}
			defer r.close()
			for i := range 1000 {
				deep(64)
				if _, name, err := born(r); err != nil || name != fmt.Sprintf(birthName, i) {
					t.Errorf("number %d is %q: %v", i, name, err)
				}
			}
		})
	}
}
