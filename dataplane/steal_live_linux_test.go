package dataplane_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/dataplane/wiretest"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// stealBed is a parent (wire0) with a far end, and what the parent's stack sees
// of frames of the ethertype 0x88b5.
type stealBed struct {
	t          *testing.T
	near, far  netlink.Link
	send       int
	stack, tap int
	seq        uint32
}

func newStealBed(t *testing.T) *stealBed {
	wiretest.Namespace(t)
	return stealBedHere(t)
}

func stealBedHere(t *testing.T) *stealBed {
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wire0"}, PeerName: "far0"}); err != nil {
		t.Fatal(err)
	}
	b := &stealBed{t: t}
	for name, l := range map[string]*netlink.Link{"wire0": &b.near, "far0": &b.far} {
		var err error
		if *l, err = netlink.LinkByName(name); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(*l); err != nil {
			t.Fatal(err)
		}
	}
	if err := netlink.SetPromiscOn(b.near); err != nil {
		t.Fatal(err)
	}
	b.send = packetSocket(t, b.far.Attrs().Index, 0)
	b.stack = packetSocket(t, b.near.Attrs().Index, 0x88b5)
	b.tap = packetSocket(t, b.near.Attrs().Index, unix.ETH_P_ALL)
	// The far end's queue is opened by link-watch, some time after its carrier is
	// on.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b.seq++
		if unix.Write(b.send, b.mark()); b.arrived(b.stack, 10) {
			return b
		}
		if time.Now().After(end) {
			t.Fatal("nothing comes through the veth")
		}
	}
}

func packetSocket(t *testing.T, index int, protocol uint16) int {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	var be [2]byte
	binary.BigEndian.PutUint16(be[:], protocol)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: binary.NativeEndian.Uint16(be[:])}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// passes sends a frame from the far end and says whether the parent's stack got
// it. veth delivers before or soon after send returns, so the parent's tap,
// which sees all that comes in, says when to look.
func (b *stealBed) passes(frame []byte) bool { return b.passesAt(frame, 14) }

// passesTagged does the same for one with a VLAN tag.
func (b *stealBed) passesTagged(frame []byte) bool { return b.passesAt(frame, 18) }

func (b *stealBed) passesAt(frame []byte, payload int) bool {
	b.t.Helper()
	b.seq++
	binary.BigEndian.PutUint32(frame[payload:], b.seq)
	if _, err := unix.Write(b.send, frame); err != nil {
		b.t.Fatal(err)
	}
	b.until(b.tap)
	// A frame that nothing takes is behind it.
	want := b.seq
	b.seq++
	if _, err := unix.Write(b.send, b.mark()); err != nil {
		b.t.Fatal(err)
	}
	for _, seq := range b.until(b.stack) {
		if seq == want {
			return true
		}
	}
	return false
}

// mark makes a frame that nothing takes.
func (b *stealBed) mark() []byte {
	f := make([]byte, 60)
	copy(f, []byte{1, 0, 0x5e, 9, 9, 9, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0x88, 0xb5})
	binary.BigEndian.PutUint32(f[14:], b.seq)
	return f
}

// arrived says whether anything does within a time.
func (b *stealBed) arrived(fd, millis int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := unix.Poll(p, millis)
	return n == 1
}

// until reads up to the frame sent last and returns the numbers of all.
func (b *stealBed) until(fd int) (seen []uint32) {
	b.t.Helper()
	buf := make([]byte, 2048)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			b.arrived(fd, 100)
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if n < 18 || buf[12] != 0x88 || buf[13] != 0xb5 {
			continue
		}
		seq := binary.BigEndian.Uint32(buf[14:])
		seen = append(seen, seq)
		if seq == b.seq {
			return seen
		}
	}
	b.t.Fatal("a frame that nothing takes didn't arrive")
	return nil
}

var stealRungs = []struct {
	name     string
	features []feature.Name
}{
	{dataplane.StealTCX, []feature.Name{feature.BPF, feature.TCX}},
	{dataplane.StealCls, []feature.Name{feature.BPF, feature.ClsBPF}},
	{dataplane.StealNFT, []feature.Name{feature.NFTNetdev}},
}

// onEachRung runs f on those that this kernel offers.
func onEachRung(t *testing.T, f func(t *testing.T, rung string)) {
	for _, r := range stealRungs {
		t.Run(r.name, func(t *testing.T) {
			for _, n := range r.features {
				if feature.Off(n) {
					t.Skipf("%s is switched off", n)
				}
			}
			f(t, r.name)
		})
	}
}

func openSteal(t *testing.T, rung string) dataplane.Taker {
	t.Helper()
	k, _, err := dataplane.OpenSteal("wire0", rung)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// TestStealLive holds what the parent's stack sees against the decision, on each
// rung, and that nothing is taken before the first Take and after Close.
func TestStealLive(t *testing.T) {
	onEachRung(t, func(t *testing.T, rung string) {
		b := newStealBed(t)
		k := openSteal(t, rung)
		r := rand.New(rand.NewPCG(3, 1))
		taken := 0
		if !b.passes(stealFrame(r, 4)) {
			t.Error("taken before anything was to be taken")
		}
		for round := range 25 {
			most := []int{1, 6, 6, 300}[r.IntN(4)]
			table, err := classify.NewTable(stealSpec(r, most))
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Take(table.Taken()); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				frame := stealFrame(r, most)
				_, v := table.Ingress(frame, classify.Meta{Type: classify.TypeOther}, nil)
				if got := b.passes(frame); got != v.Host {
					t.Fatalf("round %d: the stack gets it: %v, but the decision is %+v: frame %x", round, got, v, frame)
				}
				if !v.Host {
					taken++
				}
			}
		}
		if taken == 0 {
			t.Error("nothing was taken")
		}
		if err := k.Take(classify.Taken{Unicast: true}); err != nil {
			t.Fatal(err)
		}
		frame := stealFrame(r, 4)
		frame[0] &^= 1
		if b.passes(frame) {
			t.Error("a passthru port's unicast passes")
		}
		// The tag is no longer in the frame when it comes by.
		tagged := func(id byte) []byte {
			return append(append(append([]byte(nil), frame[:12]...), 0x81, 0, 0x20, id), append([]byte{0x88, 0xb5}, make([]byte, 46)...)...)
		}
		if b.passesTagged(tagged(10)) {
			t.Error("a VLAN without a device is not taken")
		}
		if err := k.Keep([]uint16{10, 4000}); err != nil {
			t.Fatal(err)
		}
		if !b.passesTagged(tagged(10)) || b.passesTagged(tagged(11)) || b.passes(frame) {
			t.Error("not just the VLAN that has a device passes")
		}
		var all []uint16
		for id := range uint16(4094) {
			all = append(all, id+1)
		}
		if err := k.Keep(all); err != nil {
			t.Fatal(err)
		}
		if !b.passesTagged(tagged(10)) || !b.passesTagged(tagged(11)) || b.passes(frame) {
			t.Error("every VLAN has a device, and not just they pass")
		}
		if err := k.Keep(nil); err != nil {
			t.Fatal(err)
		}
		if b.passesTagged(tagged(10)) {
			t.Error("a VLAN whose device is gone is not taken")
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		if !b.passes(frame) {
			t.Error("taken after Close")
		}
	})
}

// TestStealLadder: each rung says why it isn't the one above.
func TestStealLadder(t *testing.T) {
	newStealBed(t)
	k, why, err := dataplane.OpenSteal("wire0", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(why)
	if k == nil && !strings.Contains(why, "no nft: ") {
		t.Errorf("no rung, and no reason: %q", why)
	}
	for _, f := range []struct {
		feature feature.Name
		word    string
	}{{feature.TCX, "no tcx: switched off"}, {feature.ClsBPF, "no cls: switched off"}, {feature.BPF, "no cls: switched off"}} {
		if feature.Off(f.feature) && (strings.HasPrefix(why, dataplane.StealNFT) || strings.HasPrefix(why, dataplane.StealNone)) && !strings.Contains(why, f.word) {
			t.Errorf("%q doesn't say %q", why, f.word)
		}
	}
	if k != nil {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	if k, why, err := dataplane.OpenSteal("wire0", dataplane.StealNone); err != nil || k != nil || why == "" {
		t.Errorf("none: %v, %q, %v", k, why, err)
	}
	if _, _, err := dataplane.OpenSteal("wire0", "rope"); err == nil {
		t.Error("opened a rung that doesn't exist")
	}
	if _, _, err := dataplane.OpenSteal("nothere0", ""); err == nil {
		t.Error("opened a device that doesn't exist")
	}
}

// TestStealRenamed: a parent that is renamed is still taken from, and a device
// that is given its old name is not.
func TestStealRenamed(t *testing.T) {
	onEachRung(t, func(t *testing.T, rung string) {
		b := newStealBed(t)
		k := openSteal(t, rung)
		if err := k.Take(classify.Taken{Unicast: true}); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetName(b.near, "renamed0"); errors.Is(err, unix.EBUSY) {
			t.Skip("the kernel renames no device that is up (before 6.2)")
		} else if err != nil {
			t.Fatal(err)
		}
		if err := k.Rename("renamed0"); err != nil {
			t.Fatal(err)
		}
		frame := stealFrame(rand.New(rand.NewPCG(1, 1)), 4)
		frame[0] &^= 1
		if b.passes(frame) {
			t.Error("no longer taken")
		}
		if err := netlink.LinkSetName(b.far, "far1"); err != nil {
			t.Fatal(err)
		}
		if other := stealBedHere(t); !other.passes(frame) {
			t.Error("taken from a device that has the old name")
		}
		if b.passes(frame) {
			t.Error("no longer taken")
		}
	})
}

// TestStealBesideOthers: what others have attached works on, before, while and
// after.
func TestStealBesideOthers(t *testing.T) {
	onEachRung(t, func(t *testing.T, rung string) {
		b := newStealBed(t)
		others := attachOthers(t, b.near, rung)
		frame := stealFrame(rand.New(rand.NewPCG(1, 1)), 4)
		frame[0] &^= 1
		blocked := stealFrame(rand.New(rand.NewPCG(1, 1)), 4)
		copy(blocked, []byte{0x02, 0xba, 0xd0, 0, 0, 0})
		check := func(when string, passes bool) {
			t.Helper()
			if b.passes(blocked) {
				t.Errorf("%s: the other's program no longer drops", when)
			}
			if b.passes(frame) != passes {
				t.Errorf("%s: a frame passes: %v", when, !passes)
			}
			if err := others(); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		check("before", true)
		k := openSteal(t, rung)
		check("with nothing to take", true)
		if err := k.Take(classify.Taken{Unicast: true}); err != nil {
			t.Fatal(err)
		}
		check("taking", false)
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		check("after", true)
	})
}

// attachOthers attaches what drops frames for 02:ba:d0:00:00:00, in the way of
// the rung, and returns how to see that it is still there.
func attachOthers(t *testing.T, dev netlink.Link, rung string) func() error {
	t.Helper()
	if _, err := exec.LookPath("nft"); rung == dataplane.StealNFT && err != nil {
		// Another table of ours, which no more knows of the first.
		k := openSteal(t, rung)
		if err := k.Take(classify.Taken{To: []classify.MAC{classify.MACFrom([]byte{0x02, 0xba, 0xd0, 0, 0, 0})}}); err != nil {
			t.Fatal(err)
		}
		return func() error { return nil }
	}
	if rung == dataplane.StealNFT {
		nft(t, `table netdev other { chain ingress { type filter hook ingress device wire0 priority 0; ether daddr 02:ba:d0:00:00:00 drop; }; }`)
		return func() error {
			if out := run(t, "nft", "list", "tables"); !strings.Contains(out, "table netdev other") {
				return fmt.Errorf("tables: %s", out)
			}
			return nil
		}
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "none", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadAbs(1, asm.Half),
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.Mov.Imm(asm.R0, -1),
		asm.JNE.Imm(asm.R1, 0xbad0, "pass"),
		asm.Mov.Imm(asm.R0, 2),
		asm.Return().WithSymbol("pass"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if rung == dataplane.StealTCX {
		l, err := link.AttachTCX(link.TCXOptions{Interface: dev.Attrs().Index, Program: p, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return func() error {
			q, err := link.QueryPrograms(link.QueryOptions{Target: dev.Attrs().Index, Attach: ebpf.AttachTCXIngress})
			if err != nil {
				return err
			}
			info, err := p.Info()
			if err != nil {
				return err
			}
			if id, _ := info.ID(); len(q.Programs) == 0 || q.Programs[0].ID != id {
				return fmt.Errorf("attached are %v, not %d first", q.Programs, id)
			}
			return nil
		}
	}
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: dev.Attrs().Index, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0)}}
	if err := netlink.QdiscAdd(qdisc); err != nil {
		t.Fatal(err)
	}
	f := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: dev.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 0xffff},
		Fd:          p.FD(), Name: "other", DirectAction: true,
	}
	if err := netlink.FilterAdd(f); err != nil {
		t.Fatal(err)
	}
	return func() error {
		list, err := netlink.FilterList(dev, netlink.HANDLE_MIN_INGRESS)
		if err != nil {
			return err
		}
		for _, l := range list {
			if b, ok := l.(*netlink.BpfFilter); ok && b.Name == "other" {
				return nil
			}
		}
		return fmt.Errorf("filters: %v", list)
	}
}

func nft(t *testing.T, rules string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
}

func run(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", words, err, out)
	}
	return string(out)
}

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
