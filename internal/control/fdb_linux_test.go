package control_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

func (b *bed) fdb(op, dev, mac string) *control.Refusal {
	b.t.Helper()
	h, err := control.OpenNamespace(b.Parent.NS.Path())
	b.must(err)
	defer h.Close()
	return b.em.Engine.Fdb(context.Background(), control.FdbRequest{Op: op, Dev: dev, MAC: mac}, h)
}

func (b *bed) fdbEntries(names ...string) (list []string) {
	b.t.Helper()
	h, err := control.OpenNamespace(b.Parent.NS.Path())
	b.must(err)
	defer h.Close()
	entries, err := b.em.Engine.FdbEntries(h, names...)
	b.must(err)
	for _, e := range entries {
		list = append(list, e.MAC+" dev "+e.Dev)
	}
	return list
}

// Which of the two a parent does is told from its promiscuity even where a
// passthru vmac has asked for that before.
func TestFdbOnPassthru(t *testing.T) {
	b := newBed(t)
	b.vmac(lab.Vmac{Name: "pt", Mode: classify.Passthru})
	on := true
	b.done(b.Parent.NS, control.LinkRequest{Op: "set", Name: "pt", Up: &on})
	if r := b.fdb("add", "pt", "02:00:00:00:01:99"); r != nil {
		t.Fatal(r)
	}
	if l := b.links(b.Parent.NS, "pt"); !strings.HasPrefix(l[0].Umacvlan.Filtering, "promiscuous: the driver") {
		t.Errorf("filtering is %q", l[0].Umacvlan.Filtering)
	}
	if got := attrs(b.Parent.NS, "va").Promisc; got != 2 {
		t.Errorf("promiscuity of the parent is %d", got)
	}
	// What has no address of its own below is no longer in the parent's list
	// when the vmac has gone.
	b.done(b.Parent.NS, control.LinkRequest{Op: "delete", Name: "pt"})
	b.soon("the parent lets go", func() bool { return attrs(b.Parent.NS, "va").Promisc == 0 })
}

// bridge(8) and the engine see the same groups, whoever brought them.
func TestFdbIsTheDevices(t *testing.T) {
	bridge, err := exec.LookPath("bridge")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip("needs bridge(8)")
	}
	b := newBed(t)
	b.must(err)
	d := b.vmac(lab.Vmac{Name: "b1"})
	b.must(d.Up())
	group := func(n int) string { return fmt.Sprintf("01:00:5e:01:02:%02x", n) }
	for _, n := range []int{5, 3} {
		if r := b.fdb("add", "b1", group(n)); r != nil {
			t.Fatal(r)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		var out []byte
		b.must(b.Parent.NS.Do(func() (err error) { out, err = exec.Command(bridge, args...).CombinedOutput(); return err }))
		return string(out)
	}
	run("fdb", "add", group(4), "dev", "b1")
	if r := b.fdb("add", "b1", group(4)); r == nil || r.Errno != int(unix.EEXIST) {
		t.Errorf("a group that bridge added: %v", r)
	}
	theirs := slices.DeleteFunc(strings.Split(strings.TrimSpace(run("fdb", "show")), "\n"), func(l string) bool { return !strings.Contains(l, "dev b1") })
	for i := range theirs {
		theirs[i] = strings.TrimSuffix(strings.TrimSpace(theirs[i]), " self permanent")
	}
	if got := b.fdbEntries(); !slices.Equal(got, theirs) {
		t.Errorf("the engine lists %q, bridge %q", got, theirs)
	}
	if got := b.fdbEntries("nope"); got != nil {
		t.Errorf("nope has %q", got)
	}
	if !b.hears(d, []byte{1, 0, 0x5e, 1, 2, 5}, 3e9) {
		t.Error("b1 doesn't hear its group")
	}
	for dev, errno := range map[string]unix.Errno{"va": unix.EOPNOTSUPP, "nope": unix.ENODEV} {
		if r := b.fdb("add", dev, group(1)); r == nil || r.Errno != int(errno) {
			t.Errorf("add on %s: %v", dev, r)
		}
	}
	if r := b.fdb("flush", "b1", group(1)); r == nil || r.Errno != int(unix.EINVAL) {
		t.Errorf("flush: %v", r)
	}
}
