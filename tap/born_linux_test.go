package tap

import (
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
