package dataplane_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
)

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
