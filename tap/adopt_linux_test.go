package tap

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/tap/vnet"
)

// pair is the test double that stands in for a TAP where there is no privilege.
// The test closes peer.
func pair(t *testing.T, plain bool) (d *Device, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err = FromFD(fds[0], plain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, fds[1]
}

func TestSocketpair(t *testing.T) {
	for _, plain := range []bool{false, true} {
		d, peer := pair(t, plain)
		if d.Offload() == plain || d.Offloads() != nil {
			t.Errorf("Offload %v, %v", d.Offload(), d.Offloads())
		}
		raw := append(make([]byte, vnet.HdrLen), bytes.Repeat([]byte{7}, 60)...)
		wire := raw
		if plain {
			wire = raw[vnet.HdrLen:]
		}
		buf := bytes.Repeat([]byte{0xee}, 2000)
		if _, err := d.Read(buf); err != unix.EAGAIN {
			t.Errorf("Read of nothing: %v", err)
		}
		if err := d.Write(raw); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Read(peer, buf); err != nil || !bytes.Equal(buf[:n], wire) {
			t.Errorf("written: %x, %v", buf[:n], err)
		}
		for _, short := range []int{1, 0} { // a runt is a frame too: somebody has to count it
			if _, err := unix.Write(peer, wire[:len(wire)-short*47]); err != nil {
				t.Fatal(err)
			}
			if n, err := d.Read(buf); err != nil || !bytes.Equal(buf[:n], raw[:len(raw)-short*47]) {
				t.Errorf("read: %x, %v", buf[:n], err)
			}
		}
		if _, err := d.Read(raw[:vnet.HdrLen]); err != unix.EINVAL {
			t.Errorf("Read into too little: %v", err)
		}
		if up, err := d.IsUp(); !up || err != nil {
			t.Errorf("IsUp = %v, %v", up, err)
		}
		if err := d.SetMAC([6]byte{2}); err == nil {
			t.Errorf("SetMAC: %v", err)
		}
		if _, err := d.MTU(); err == nil {
			t.Errorf("MTU: %v", err)
		}
		unix.Close(peer)
		if _, err := d.Read(buf); err != unix.EBADFD {
			t.Errorf("Read with the other end closed: %v", err)
		}
		if _, err := d.IsUp(); !errors.Is(err, unix.EBADFD) {
			t.Errorf("IsUp with the other end closed: %v", err)
		}
	}
}

// TestAdopt hands a queue over: the device lives on as long as one descriptor of
// it does.
func TestAdopt(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	for _, plain := range []bool{false, true} {
		d := mustCreate(t, Config{Name: "ad0", Plain: plain})
		fd, err := unix.Dup(d.FD())
		if err != nil {
			t.Fatal(err)
		}
		plain := !d.Offload()
		if _, err := FromFD(fd, !plain); !errors.Is(err, unix.EINVAL) {
			t.Errorf("FromFD of another kind: %v", err)
		}
		e, err := FromFD(fd, plain)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		links(t, h, "ad0")
		if name, err := e.Name(); err != nil || name != "ad0" {
			t.Errorf("Name = %q, %v", name, err)
		}
		if got, want := len(e.Offloads()), len(d.Offloads()); got != want || plain && got != 0 {
			t.Errorf("offloads %v, had %v", e.Offloads(), d.Offloads())
		}
		if err := e.SetMTU(1000); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		links(t, h)
	}
}

func TestAdoptNothing(t *testing.T) {
	if _, err := FromFD(-1, false); !errors.Is(err, unix.EBADF) {
		t.Errorf("FromFD(-1): %v", err)
	}
	need(t)
	f, err := os.OpenFile(tunPath, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := FromFD(int(f.Fd()), false); !errors.Is(err, unix.EBADFD) {
		t.Errorf("FromFD of a queue without a device: %v", err)
	}
}
