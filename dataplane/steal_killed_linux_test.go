package dataplane_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// killedVariable tells the test's own executable to open a rung, say so, and
// wait to be killed.
const killedVariable = "UMACVLAN_TEST_STEAL"

// TestStealKilled: what a process that was killed leaves takes nothing, and is
// gone after the next one has opened and closed its own.
func TestStealKilled(t *testing.T) {
	if rung := os.Getenv(killedVariable); rung != "" {
		k, _, err := dataplane.OpenSteal("wire0", rung)
		if err == nil {
			err = k.Take(classify.Taken{Unicast: true})
		}
		fmt.Println("steals:", err)
		io.Copy(io.Discard, os.Stdin) // until killed, or the test is gone
		return
	}
	onEachRung(t, func(t *testing.T, rung string) {
		b := newStealBed(t)
		openSteal(t, rung).Close()
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+"TestStealKilled$")
		cmd.Env = append(os.Environ(), killedVariable+"="+rung)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil { // from this thread, so in its namespace
			t.Fatal(err)
		}
		defer in.Close()
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || line != "steals: <nil>\n" {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("%q, %v", line, err)
		}
		frame := stealFrame(rand.New(rand.NewPCG(1, 1)), 4)
		frame[0] &^= 1
		if b.passes(frame) {
			t.Error("not taken while the process lives")
		}
		cmd.Process.Kill()
		cmd.Wait()
		end := time.Now().Add(10 * time.Second)
		for !b.passes(frame) {
			if time.Now().After(end) {
				t.Fatal("still taken after the process was killed")
			}
			time.Sleep(time.Millisecond)
		}
		// Which needn't be on the same rung.
		if k, _, err := dataplane.OpenSteal("wire0", ""); err != nil {
			t.Error(err)
		} else if k != nil {
			k.Close()
		}
		if left := leftOver(t, b.near); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}

// TestStealClosedWhileForking: a process that is being started has copies of all
// descriptors for a moment.
func TestStealClosedWhileForking(t *testing.T) {
	frame := stealFrame(rand.New(rand.NewPCG(1, 1)), 4)
	frame[0] &^= 1
	to, other := classify.MACFrom(frame), classify.MAC(0x0102030402)
	onEachRung(t, func(t *testing.T, rung string) {
		b := newStealBed(t)
		for i, decisions := range [][]classify.Taken{
			{{Unicast: true}},
			{{To: []classify.MAC{to}}},
			{{To: []classify.MAC{to}}, {To: []classify.MAC{to, other}}},
			{{To: []classify.MAC{to}}, {}, {To: []classify.MAC{to}}},
		} {
			before := descriptors(t)
			k := openSteal(t, rung)
			for _, d := range decisions {
				if err := k.Take(d); err != nil {
					t.Fatal(err)
				}
			}
			var copies []int
			for fd := range descriptors(t) {
				if before[fd] {
					continue
				}
				if copy, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
					copies = append(copies, copy)
				}
			}
			if len(copies) == 0 || b.passes(frame) {
				t.Errorf("%d: %d copies; nothing is taken", i, len(copies))
			}
			if err := k.Close(); err != nil {
				t.Error(err)
			}
			if !b.passes(frame) {
				t.Errorf("%d: taken after Close", i)
			}
			for _, fd := range copies {
				unix.Close(fd)
			}
			if left := leftOver(t, b.near); left != "" {
				t.Errorf("%d: left: %s", i, left)
			}
		}
	})
}

// descriptors are those that are open.
func descriptors(t *testing.T) map[int]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := map[int]bool{}
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil { // not the directory's own
			open[fd] = true
		}
	}
	return open
}

// inUserNamespace tells the test's own executable that it runs in one.
const inUserNamespace = "user namespace"

// TestStealInUserNamespace: without bpf(2) nft does it, and says why.
func TestStealInUserNamespace(t *testing.T) {
	if os.Getenv(killedVariable) == inUserNamespace {
		b := stealBedHere(t)
		k, why, err := dataplane.OpenSteal("wire0", "")
		fmt.Println("steal:", why, err)
		if k != nil {
			err := k.Take(classify.Taken{Unicast: true})
			frame := stealFrame(rand.New(rand.NewPCG(1, 1)), 4)
			frame[0] &^= 1
			fmt.Println("passes:", b.passes(frame), err, k.Close())
		}
		_, err = dataplane.OpenTypes()
		fmt.Println("types:", err)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestStealInUserNamespace$")
	cmd.Env = append(os.Environ(), killedVariable+"="+inUserNamespace)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
		t.Skipf("no user namespace: %v", err)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := []string{"types: bpf: operation not permitted", "steal: nft (no tcx: bpf: operation not permitted; no cls: bpf: operation not permitted) <nil>", "passes: false <nil> <nil>"}
	if feature.Off(feature.BPF) || feature.Off(feature.TCX) || feature.Off(feature.ClsBPF) || feature.Off(feature.NFTNetdev) {
		want = []string{"types: ", "steal: n"}
	}
	for _, w := range want {
		if !strings.Contains(string(out), w) {
			t.Errorf("doesn't say %q: %s", w, out)
		}
	}
}

// leftOver says what is attached to the device's ingress.
func leftOver(t *testing.T, dev netlink.Link) string {
	t.Helper()
	var left []string
	qdiscs, err := netlink.QdiscList(dev)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range qdiscs {
		if q.Type() == "clsact" || q.Type() == "ingress" {
			left = append(left, q.Type())
		}
	}
	if !feature.Off(feature.TCX) {
		if q, err := link.QueryPrograms(link.QueryOptions{Target: dev.Attrs().Index, Attach: ebpf.AttachTCXIngress}); err == nil && len(q.Programs) > 0 {
			left = append(left, fmt.Sprint(q.Programs))
		}
	}
	if path, err := exec.LookPath("nft"); err == nil {
		if out := run(t, path, "list", "ruleset"); strings.Contains(out, "umacvlan") {
			left = append(left, out)
		}
	}
	if entries, _ := filepath.Glob("/sys/fs/bpf/umacvlan*"); len(entries) > 0 {
		left = append(left, entries...)
	}
	return strings.Join(left, ", ")
}
