//go:build linux

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/internal/lab"
)

func TestMain(m *testing.M) {
	RunChild()
	os.Exit(m.Run())
}

// tiny is long enough to see that everything works.
func tiny(t *testing.T, contenders ...string) Options {
	o := Options{Repetitions: 1, Warmup: 20 * time.Millisecond, Last: 40 * time.Millisecond}
	for _, spec := range contenders {
		c, err := ParseContender(spec)
		if err != nil {
			t.Fatal(err)
		}
		if why := c.Missing(); why != nil {
			t.Log(why)
			continue
		}
		o.Contenders = append(o.Contenders, c)
	}
	return o
}

func cases(t *testing.T, patterns ...string) []Case {
	list, err := Select(true, patterns)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// run plays cases and looks for what is left.
func run(t *testing.T, o Options, list []Case) []Result {
	t.Helper()
	before := lab.Measure()
	results, err := Run(t.Context(), o, list)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		for _, s := range r.Series {
			if len(s.Samples) != o.Repetitions {
				t.Errorf("%s, %s: %d samples", r.Case.Key, s.Contender, len(s.Samples))
			}
			// On a busy machine no frame may arrive between two looks at a counter.
			if v := s.Spread(); v.Min <= 0 && r.Case.Kind != Idle && r.Case.Kind != Frames {
				t.Errorf("%s, %s: %s %s", r.Case.Key, s.Contender, v, r.Case.Unit)
			}
			if offered := s.Metrics()["offered k/s"]; r.Case.Kind == Frames && offered.Min <= 0 {
				t.Errorf("%s, %s: nothing was offered", r.Case.Key, s.Contender)
			}
		}
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
	return results
}

// The baseline against itself: the ruler must measure about 1, and leave
// nothing behind.
func TestKernelAgainstItself(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedMacvlan)
	for _, r := range run(t, tiny(t, "kernel", "kernel"), cases(t, "tcp-in", "tcp-in-200m")) {
		if q := r.Ratio(1); q.Median < 0.02 || q.Median > 50 { // other programs run too
			t.Errorf("%s: %.2f", r.Case.Title, q)
		}
		if limit := float64(r.Case.Shaped) / 1e9; limit > 0 {
			// The bucket holds 128 KiB, which is a lot of 40 ms.
			if rate := r.Series[0].Spread().Median; rate > 3*limit {
				t.Errorf("%s: %.2f Gbit/s through a link of %.2f", r.Case.Title, rate, limit)
			}
		}
	}
}

// A case of every kind over this project and the kernel; with UMACVLAN_FULL=1
// all of them but those that make thousands of vmacs, which takes minutes.
func TestEveryKindOfCase(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN, lab.NeedMacvlan)
	list := cases(t, "tcp-in-8", "frames-in", "broadcast-64", "tcp-host", "request-flood", "idle-64",
		"frames-sibling-64K", "tcp-in-churn", "tcp-out-passthru", "frames-in-source", "checked-out")
	if os.Getenv("UMACVLAN_FULL") != "" {
		list = slices.DeleteFunc(Cases(), func(c Case) bool { return c.Scene.Crowd > 1000 })
	}
	for _, r := range run(t, tiny(t, "kernel", "umacvlan"), list) {
		ours := r.Series[len(r.Series)-1]
		if !strings.HasPrefix(ours.Path, "ring") && !strings.HasPrefix(ours.Path, "mmsg") {
			t.Errorf("%s: the path is %q", r.Case.Key, ours.Path)
		}
		m := ours.Metrics()
		for _, g := range r.Case.Goals {
			if _, ok := m[g.Metric]; g.Metric != "" && !ok {
				t.Errorf("%s: there is no %s", r.Case.Key, g.Metric)
			}
		}
		if r.Case.Kind == Checked {
			for _, k := range []string{"reordered", "duplicated", "corrupt"} {
				if m[k].Max != 0 {
					t.Errorf("%s: %s %v", r.Case.Key, k, m[k])
				}
			}
		}
	}
}

// The other switches that are installed, and the options of this one.
func TestEveryContender(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	o := tiny(t, "umacvlan", "umacvlan:wire=mmsg", "umacvlan:offload=off", "umacvlan:without=vnet-hdr", "umacvlan:waking=sleep:steal=none", "naive", "ovs", "vde")
	for _, r := range run(t, o, cases(t, "tcp-in")) {
		for _, s := range r.Series {
			want, ok := map[string]string{
				"umacvlan wire=mmsg": "mmsg → tap", "umacvlan offload=off": "ring → tap, without offloads",
				"umacvlan without=vnet-hdr": "ring → tap, without offloads",
			}[s.Contender]
			if ok && !strings.HasPrefix(s.Path, want) {
				t.Errorf("%s: the path is %q", s.Contender, s.Path)
			}
		}
	}
}

// Somebody else's switch that doesn't work loses its row, and nobody else theirs.
func TestOthersMayFail(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedMacvlan)
	dir := t.TempDir()
	for _, name := range []string{"ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-appctl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho no use >&2\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	o := tiny(t, "kernel", "ovs")
	o.Repetitions = 2
	list := cases(t, "tcp-in")
	before := lab.Measure()
	results, err := Run(t.Context(), o, list)
	if err != nil || len(results) != 1 {
		t.Fatal(results, err)
	}
	kernel, ovs := results[0].Series[0], results[0].Series[1]
	if len(kernel.Samples) != 2 || kernel.Failed != "" || len(ovs.Samples) != 0 || !strings.Contains(ovs.Failed, "ovs") {
		t.Errorf("%+v\n%+v", kernel, ovs)
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
	// The baseline may not.
	o.Contenders = o.Contenders[1:]
	if _, err := Run(t.Context(), o, list); err == nil || !strings.Contains(err.Error(), "TCP wire→vmac, Open vSwitch netdev: ") {
		t.Error(err)
	}
}

// It may fail later, too: what it did before is no figure, and its devices go.
func TestOthersMayFailLater(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedMacvlan)
	before := lab.Measure()
	c := cases(t, "tcp-in")[0]
	ovs, err := ParseContender("ovs")
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBed(lab.Kernel(), c.Scene, nil) // in its place
	if err != nil {
		t.Fatal(err)
	}
	o := tiny(t, "kernel")
	o.Repetitions = 3
	key, turns := bedKey{ovs.Spec, c.Scene}, 0
	r := &runner{Options: &o, ctx: t.Context(), beds: map[bedKey]*bed{key: b}, all: 6}
	o.Step = func(what string, _ float64) {
		if turns++; turns == 4 { // its second
			last := b.vmacs[len(b.vmacs)-1]
			err := last.NS.Do(func() error {
				return netlink.LinkDel(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: last.Name}})
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	result, err := r.play(c, []side{{"kernel macvlan", o.Contenders[0], c.Scene}, {"Open vSwitch netdev", ovs, c.Scene}})
	if err != nil {
		t.Fatal(err)
	}
	if s := result.Series[1]; len(result.Series[0].Samples) != 3 || s.Failed == "" || len(s.Samples) != 0 || s.Path != "" || turns != 6 {
		t.Errorf("%d turns, %+v", turns, result.Series)
	}
	if r.beds[key] != nil {
		t.Error("its devices are kept")
	}
	if err := errors.Join(r.close(), before.Leaked()); err != nil {
		t.Error(err)
	}
}

// A child that says nothing is named, with the time that it had.
func TestNoReport(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer in.Close()
	p := &process{role: "sink", out: out, answer: json.NewDecoder(out)}
	if err := p.hear(10*time.Millisecond, &ready{}); err == nil || err.Error() != "sink: no report within 10ms" {
		t.Error(err)
	}
}

// On a parent of the caller's; the other end of its cable comes back.
func TestOwnParent(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN, lab.NeedMacvlan)
	ns, err := lab.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	p, w := &lab.Device{Name: "bp0", MAC: lab.ParentMAC, NS: ns}, &lab.Device{Name: "bw0", MAC: lab.WireMAC, NS: ns}
	if err := lab.Veth(p, w, 1500); err != nil {
		t.Fatal(err)
	}
	o := tiny(t, "kernel", "umacvlan")
	o.Parent, o.Wire = "bp0", "bw0"
	list := cases(t, "tcp-in", "frames-out", "tcp-sibling")
	err = ns.Do(func() error {
		results, err := Run(t.Context(), o, list)
		if err == nil && len(results) != 3 {
			t.Errorf("%d results", len(results))
		}
		if _, e := netlink.LinkByName("bw0"); e != nil {
			t.Errorf("the wire has not come back: %v", e)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Wire = ""
	if got := o.Suitable(Cases()); len(got) < 8 || got[0].Key != "tcp-sibling" {
		t.Errorf("without the wire: %d cases", len(got))
	}
	if _, err := Run(t.Context(), o, cases(t, "tcp-in")); err == nil || !strings.Contains(err.Error(), "case tcp-in needs the other end of the parent's cable: --wire") {
		t.Error(err)
	}
	if _, err := Run(t.Context(), Options{Parent: "nobody0"}, nil); err == nil {
		t.Error("a parent that doesn't exist was taken")
	}
}

func TestInterrupted(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedMacvlan)
	before := lab.Measure()
	ctx, stop := context.WithCancel(t.Context())
	o := tiny(t, "kernel")
	o.Repetitions = 1000
	o.Step = func(what string, done float64) {
		if what != "TCP wire→vmac, kernel macvlan" || done < 0 || done > 1 {
			t.Errorf("%q, %v", what, done)
		}
		if done > 0 {
			stop()
		}
	}
	if _, err := Run(ctx, o, cases(t, "tcp-in")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
}
