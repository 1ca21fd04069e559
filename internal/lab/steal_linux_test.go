package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// onEachRung runs f on the kernel's driver, on the emulator with each rung that
// this kernel offers, and without any: then what f is about must go wrong.
func onEachRung(t *testing.T, f func(t *testing.T, d Driver, takes bool)) {
	t.Helper()
	Need(t, NeedNS)
	t.Run("kernel", func(t *testing.T) {
		Need(t, NeedMacvlan)
		f(t, Kernel(), true)
	})
	for _, rung := range []struct {
		name  string
		needs []feature.Name
	}{
		{dataplane.StealTCX, []feature.Name{feature.BPF, feature.TCX}}, {dataplane.StealCls, []feature.Name{feature.BPF, feature.ClsBPF}},
		{dataplane.StealNFT, []feature.Name{feature.NFTNetdev}}, {dataplane.StealNone, nil},
	} {
		t.Run(rung.name, func(t *testing.T) {
			Need(t, NeedTUN)
			for _, n := range rung.needs {
				if feature.Off(n) {
					t.Skipf("%s is switched off", n)
				}
			}
			before := Measure()
			e := startEmulator(control.EngineOptions{Steal: rung.name})
			f(t, e, rung.name != dataplane.StealNone)
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if err := before.Leaked(); err != nil {
				t.Error(err)
			}
		})
	}
}

// passthruBed is a passthru vmac with an address, and the parent with another or
// the same one. The vmac is in the namespace that is returned.
func passthruBed(t *testing.T, d Driver, apart bool) (top *Topology, ns *NS, end func()) {
	t.Helper()
	top, err := NewTopology(d, Options{Offloads: true})
	if err != nil {
		t.Fatal(err)
	}
	end = func() {
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	}
	live := false
	defer func() {
		if !live {
			end()
		}
	}()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	parent := "10.1.1.1/24"
	ns = top.Parent.NS
	if apart {
		ns, err = top.NewNS()
		must(err)
		parent = "10.1.1.2/24"
	}
	pt, err := top.Add(Vmac{Name: "pt", Mode: classify.Passthru, NS: ns})
	must(err)
	must(pt.Up())
	for _, name := range []string{"all", "va"} {
		must(Sysctl(top.Parent.NS, "ipv4/conf/"+name+"/rp_filter", "0"))
	}
	must(Sysctl(ns, "ipv4/conf/pt/rp_filter", "0"))
	must(top.Parent.AddAddr(parent))
	must(pt.AddAddr("10.1.1.2/24"))
	must(top.Wire.AddAddr("10.1.1.9/24"))
	// The parent's questions would be answered to the vmac.
	must(top.Parent.NS.Do(func() error {
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: top.Parent.Index, State: netlink.NUD_PERMANENT, IP: net.IP{10, 1, 1, 9}, HardwareAddr: WireMAC})
	}))
	must(poll(patience, func() (bool, error) {
		if _, err := Ping(top.Wire.NS, netip.MustParseAddr("10.1.1.2"), 200*time.Millisecond); err != nil {
			return false, nil
		}
		// It may be the parent that has answered, before the emulator knows.
		c, err := d.Counters(pt)
		return c.RxPackets > 0, err
	}))
	live = true
	return top, ns, end
}

// In one namespace with its parent, both with an address, a passthru vmac alone
// answers, also when the parent has been given another name.
func TestPassthruAnswersOnce(t *testing.T) {
	onEachRung(t, func(t *testing.T, d Driver, takes bool) {
		top, _, end := passthruBed(t, d, false)
		defer end()
		for _, to := range []string{"10.1.1.2", "10.1.1.1"} {
			const asked = 5
			answers := 0
			err := poll(patience, func() (bool, error) {
				err := top.Wire.NS.Do(func() (err error) { answers, err = countAnswers(netip.MustParseAddr(to), asked); return err })
				return takes || answers > asked, err // it may be the host alone that has answered yet
			})
			if err != nil && !errors.Is(err, ErrTimeout) {
				t.Fatal(err)
			}
			if takes && answers != asked {
				t.Errorf("%d answers to %d pings of %s", answers, asked, to)
			}
			if !takes && answers <= asked {
				t.Errorf("nothing is taken, and yet there are %d answers to %d pings of %s", answers, asked, to)
			}
		}
		if !takes {
			return
		}
		err := top.Parent.NS.Do(func() error {
			return netlink.LinkSetName(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: top.Parent.Index}}, "renamed")
		})
		if errors.Is(err, unix.EBUSY) {
			return // a kernel that renames no device that is up
		}
		answers := 0
		err = errors.Join(err, poll(patience, func() (bool, error) {
			err := top.Wire.NS.Do(func() (err error) {
				answers, err = countAnswers(netip.MustParseAddr("10.1.1.2"), 5)
				return err
			})
			return answers == 5, err
		}))
		if err != nil {
			t.Errorf("renamed: %d answers to 5 pings: %v", answers, err)
		}
	})
}

// The host does not reset the connections of a passthru vmac that has taken over
// its address.
func TestPassthruIsNotReset(t *testing.T) {
	onEachRung(t, func(t *testing.T, d Driver, takes bool) {
		top, ns, end := passthruBed(t, d, true)
		defer end()
		s, err := TCP(context.Background(), top.Wire.NS, ns, netip.MustParseAddr("10.1.1.2"), 200*time.Millisecond)
		switch {
		case takes && (err != nil || s.Bytes == 0):
			t.Errorf("%d bytes, %v", s.Bytes, err)
		case !takes && err == nil:
			t.Error("nothing is taken, and yet the host has not reset the connection")
		}
	})
}

// countAnswers pings from the thread's namespace and counts all answers.
func countAnswers(to netip.Addr, asked int) (answers int, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	seen := map[uint16]bool{}
	first := uint16(pings.Add(uint32(asked+1))) - uint16(asked)
	ask := func(seq uint16) error {
		request := []byte{8, 0, 0, 0, 0x0e, 0xc4, 0, 0, 'o', 'n', 'c', 'e'}
		binary.BigEndian.PutUint16(request[6:], seq)
		binary.BigEndian.PutUint16(request[2:], onesComplement(request))
		return unix.Sendto(fd, request, 0, &unix.SockaddrInet4{Addr: to.As4()})
	}
	// One answered request behind the others is time enough for a second answer to
	// those.
	for i := range asked + 1 {
		if i == asked {
			time.Sleep(20 * time.Millisecond)
		}
		seq := first + uint16(i)
		if err := ask(seq); err != nil {
			return 0, err
		}
		buf := make([]byte, 1500)
		for end := time.Now().Add(patience); !seen[seq]; {
			n, err := unix.Read(fd, buf)
			switch {
			case errors.Is(err, unix.EAGAIN) && time.Now().After(end):
				return answers, ErrTimeout
			case errors.Is(err, unix.EAGAIN):
				p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
				unix.Poll(p, 10)
				continue
			case err != nil:
				return answers, err
			}
			header := int(buf[0]&15) * 4
			if n < header+8 || buf[header] != 0 || buf[header+4] != 0x0e || buf[header+5] != 0xc4 {
				continue
			}
			got := binary.BigEndian.Uint16(buf[header+6:])
			seen[got] = true
			if got-first < uint16(asked) {
				answers++
			}
		}
	}
	return answers, nil
}
