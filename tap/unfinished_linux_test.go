package tap

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Only what nobody holds is removed, and only if it is what was seen.
func TestUnfinished(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	make := func(name string, persist bool) (fd int) {
		fd, err := openTun()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			t.Fatal(err)
		}
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			t.Fatal(err)
		}
		if persist {
			if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
				t.Fatal(err)
			}
			other, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(other)
			if err := unix.Dup3(other, fd, unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
		}
		return fd
	}
	make("umac-new0", true)
	make("umac-new1", false)
	make("umac-newer", true)
	make("vmac0", true)
	seen, err := Unfinished()
	if err != nil || len(seen) != 2 {
		t.Fatalf("%v, %v", seen, err)
	}
	make("umac-new2", true)
	for index := range seen {
		if seen[index] == "umac-new0" {
			seen[index+1000] = "umac-new2" // another device has the name now
		}
	}
	if err := RemoveUnfinished(seen); err != nil {
		t.Fatal(err)
	}
	links(t, h, "umac-new1", "umac-newer", "vmac0", "umac-new2")
}
