package tap

import (
	"errors"

	"github.com/songgao/water"
)

// born makes the persistent device and closes water's queue again.
func born(r *route) (index int, name string, err error) {
	var w *water.Interface
	onStillStack(func() {
		w, err = water.New(water.Config{
			DeviceType:             water.TAP,
			PlatformSpecificParams: water.PlatformSpecificParams{Name: birthName, Persist: true},
		})
	})
	if err != nil {
		return 0, "", err
	}
	index, err = r.index(w.Name())
	return index, w.Name(), errors.Join(err, w.Close())
}

// onStillStack calls f on a stack that stays where it is as long as f and what it
// calls need less than stillRoom. water hands the kernel the address of a variable
// on its stack as a number; when Go moves the stack before the system call, to
// make it larger or smaller, the kernel reads flags from memory that is no longer
// water's (EINVAL), and writes the new device's name there, and water answers with
// "umac-new%d" (so ENODEV). While the collector runs all the time, that is one
// device in ten thousand.
//
// The collector halves a stack of which less than a quarter is in use
// (runtime.shrinkstack), so here none of up to 256 KiB; and one is made larger by
// a call that finds no room.
func onStillStack(f func()) {
	var used [64 << 10]byte
	touch(used[:])
	reserve()
	f()
}

const stillRoom = 4 << 10

//go:noinline
func reserve() {
	var room [stillRoom]byte
	touch(room[:])
}

// touch has its caller keep b on its stack.
//
//go:noinline
func touch(b []byte) { b[len(b)-1]++ }
