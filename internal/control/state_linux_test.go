package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// logbook may be read while others write.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// TestStateThatCannotBeRead: nothing is thrown away.
func TestStateThatCannotBeRead(t *testing.T) {
	for name, text := range map[string]string{
		"empty":    "",
		"no JSON":  "{\"version\": 1, \"parents\": [",
		"half":     "{\"version\": 1, \"parents\": [{\"name\": \"eth0\", \"vmacs\": [{\"name\"",
		"unknown":  "{\"version\": 1, \"parents\": [], \"what\": 1}",
		"no mode":  "{\"version\": 1, \"parents\": [{\"name\": \"eth0\", \"vmacs\": [{\"name\": \"a\"}]}]}",
		"behind":   "{\"version\": 1, \"parents\": []}\n{}",
		"version":  "{\"version\": 0, \"parents\": []}",
		"bad mode": "{\"version\": 1, \"parents\": [{\"name\": \"eth0\", \"vmacs\": [{\"name\": \"a\", \"mode\": \"x\"}]}]}",
	} {
		file := filepath.Join(t.TempDir(), "dir", "state.json")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var log logbook
		s, err := control.OpenState(file, log.logger())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		aside, _ := filepath.Glob(file + ".broken-*")
		if len(aside) != 1 || log.count("level=ERROR") != 1 || log.count(aside[0]) != 1 {
			t.Errorf("%s: moved to %q, log %s", name, aside, log.b.String())
		} else if kept, _ := os.ReadFile(aside[0]); string(kept) != text {
			t.Errorf("%s: kept %q", name, kept)
		}
		if _, err := control.OpenState(file, nil); err == nil || !strings.Contains(err.Error(), "in use by another daemon") {
			t.Errorf("%s: opened twice: %v", name, err)
		}
		s.Close()
	}
	file := filepath.Join(t.TempDir(), "state.json")
	newer := `{"version": 2, "parents": {"in": "another form"}}`
	if err := os.WriteFile(file, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.OpenState(file, nil); err == nil || !strings.Contains(err.Error(), "newer umacvlan (version 2, this one reads 1)") {
		t.Errorf("of a newer version: %v", err)
	}
	if kept, _ := os.ReadFile(file); string(kept) != newer {
		t.Errorf("kept %q", kept)
	}
}

// stateEngine is an engine that keeps a state file, until end.
type stateEngine struct {
	*control.Engine
	end func()
	log logbook
}

func newStateEngine(t *testing.T, file string, withConfig bool) *stateEngine {
	t.Helper()
	se := &stateEngine{}
	s, err := control.OpenState(file, se.log.logger())
	if err != nil {
		t.Fatal(err)
	}
	se.Engine = control.NewEngine(control.EngineOptions{State: s, Logger: se.log.logger()})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- se.Run(ctx) }()
	var once sync.Once
	se.end = func() {
		once.Do(func() {
			stop()
			if err := errors.Join(<-done, s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(se.end)
	if err := se.Restore(ctx, withConfig); err != nil {
		t.Fatal(err)
	}
	return se
}

func (se *stateEngine) link(t *testing.T, ns *lab.NS, r control.LinkRequest) *control.Link {
	t.Helper()
	h, err := control.OpenNamespace(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, refusal := se.Link(context.Background(), r, h)
	if refusal != nil {
		t.Fatalf("%s %s: %v", r.Op, r.Name, refusal)
	}
	return a.Link
}

// TestStateOnAFullDisk: one message, the service goes on, status says so, and
// when there is room the document is there in full.
func TestStateOnAFullDisk(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=16k"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("a tmpfs can't be mounted here: ", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	namedNS(t, b.Parent.NS) // else nobody would find the vmacs again
	file, filler := filepath.Join(dir, "state.json"), filepath.Join(dir, "filler")
	se := newStateEngine(t, file, false)
	defer se.end()
	saved := func() bool { return !se.Status().State.Saved.IsZero() && se.Status().State.Error == "" }
	b.soonLong("saved", saved)
	whole, err := os.ReadFile(file)
	b.must(err)

	f, err := os.Create(filler)
	b.must(err)
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
	f.Close()
	for _, name := range []string{"a", "b", "c"} {
		se.link(t, b.Parent.NS, control.LinkRequest{Op: "add", Name: name, Parent: "va", Kind: "macvlan"})
		b.soonLong("the disk is full", func() bool { return strings.Contains(se.Status().State.Error, "no space left") })
	}
	if n := se.log.count("state can't be written"); n != 1 {
		t.Errorf("said %d times", n)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, whole) {
		t.Errorf("the document of before is now %q, %v", now, err)
	}
	if attrs(b.Parent.NS, "c") == nil {
		t.Error("the service didn't go on")
	}
	b.must(os.Remove(filler))
	se.link(t, b.Parent.NS, control.LinkRequest{Op: "delete", Name: "a"})
	b.soonLong("saved again", saved)
	if now, err := os.ReadFile(file); err != nil || !bytes.Contains(now, []byte(`"name": "c"`)) {
		t.Errorf("%s %v", now, err)
	}
	if n := se.log.count("state is written again"); n != 1 {
		t.Errorf("said %d times that all is well", n)
	}
}

// TestStateRestored: what was there is there again, but for what a file made if
// that file is about to be applied.
func TestStateRestored(t *testing.T) {
	b := newBed(t)
	lab.Need(t, lab.NeedNS)
	file := filepath.Join(t.TempDir(), "state.json")
	ns := b.Parent.NS
	home := namedNS(t, ns)
	inside := namedNS(t, b.ns())
	config := func(se *stateEngine) {
		t.Helper()
		r, err := se.ApplyText(context.Background(), "f", "parents: [{name: va, netns: "+home+", vmacs: [{name: managed, addresses: [10.1.3.1/24]}, {name: named, mac: \"02:00:00:00:01:07\"}]}]\n", false)
		if err != nil || r.Failed() {
			t.Fatalf("%v %+v", err, r)
		}
	}
	first := newStateEngine(t, file, true)
	config(first)
	mode, flags, lim, qlen, set := uint32(16), uint16(2), int32(5), uint32(77), uint32(3)
	path := "/run/netns/" + inside
	hand := first.link(t, ns, control.LinkRequest{
		Op: "add", Name: "hand", Parent: "va", Kind: "macvlan", ToNetns: &path, MTU: ptr(uint32(1400)), TxQLen: &qlen, Up: ptr(true),
		Allmulti: ptr(true), Alias: ptr("mine"), Owner: map[string]string{"a": "b"},
		Data: &control.MacvlanData{Mode: &mode, Flags: &flags, BCLim: &lim, BCQueueLen: &qlen, MacaddrMode: &set, MacaddrData: []string{"02:00:00:00:0e:01"}},
	})
	managed := attrs(ns, "managed").HardwareAddr.String()
	first.end()
	if attrs(ns, "managed") != nil {
		t.Fatal("the engine ended and left a vmac")
	}

	second := newStateEngine(t, file, true)
	if attrs(ns, "managed") != nil {
		t.Error("what a file made was made again before the file was applied")
	}
	h, err := control.OpenNamespace(path)
	b.must(err)
	defer h.Close()
	links, err := second.Links(h)
	if err != nil || len(links) != 1 {
		t.Fatalf("%v %v\n%s", links, err, second.log.b.String())
	}
	l := links[0]
	if l.Address != hand.Address || l.MTU != 1400 || l.TxQLen != 77 || l.Alias != "mine" || l.OperState != "UP" || l.Allmulti != 1 ||
		l.LinkInfo.Data.Mode != "source" || !l.LinkInfo.Data.NoDst || *l.LinkInfo.Data.BCLim != 5 || l.LinkInfo.Data.BCQueueLen != 77 ||
		len(l.LinkInfo.Data.MacaddrData) != 1 || l.Umacvlan.Owner["a"] != "b" || l.Umacvlan.Managed {
		t.Errorf("made again as %+v", l)
	}
	second.end()
	second = newStateEngine(t, file, true) // a daemon that ended before it had applied the file
	config(second)
	if got := attrs(ns, "managed").HardwareAddr.String(); got != managed {
		t.Errorf("managed has %s, had %s", got, managed)
	}
	second.end()

	third := newStateEngine(t, file, false)
	if a := attrs(ns, "managed"); a == nil || a.HardwareAddr.String() != managed {
		t.Errorf("without a file managed is %+v", a)
	}
	x, err := third.Export(context.Background())
	if err != nil || !strings.Contains(x.Text, "10.1.3.1/24") || !strings.Contains(x.Text, "02:00:00:00:01:07") {
		t.Errorf("%v\n%s", err, x.Text)
	}
	if r, err := third.ApplyText(context.Background(), "x", x.Text, true); err != nil || len(r.Steps) != 0 {
		t.Errorf("what was exported is not what runs: %v %+v\n%s", err, r, x.Text)
	}
}

// TestWaitedForAndHalfMade: a vmac that was waited for and can't be given its
// address is there, is no longer waited for, and stands once in the document.
func TestWaitedForAndHalfMade(t *testing.T) {
	b := newBed(t)
	file := filepath.Join(t.TempDir(), "state.json")
	home := namedNS(t, b.Parent.NS)
	se := newStateEngine(t, file, true)
	defer se.end()
	r, err := se.ApplyText(context.Background(), "f", "parents: [{name: late, netns: "+home+", vmacs: [{name: w0, addresses: [\"fd00::1/64\"]}]}]\n", false)
	if err != nil || r.Failed() || len(r.Waiting) != 1 {
		t.Fatalf("%v %+v", err, r)
	}
	for _, key := range []string{"all", "default"} {
		if err := lab.Sysctl(b.Parent.NS, "ipv6/conf/"+key+"/disable_ipv6", "1"); err != nil {
			t.Skip("a kernel without IPv6: ", err)
		}
	}
	b.must(b.Parent.NS.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "late"}, PeerName: "peer"})
	}))
	b.soonLong("it is no longer waited for", func() bool { return len(se.Status().Waiting) == 0 })
	if attrs(b.Parent.NS, "w0") == nil || se.log.count("lacks something") != 1 {
		t.Errorf("w0 is not there, or nothing was said:\n%s", se.log.b.String())
	}
	se.end()
	text, err := os.ReadFile(file)
	b.must(err)
	if n := bytes.Count(text, []byte(`"name": "w0"`)); n != 1 {
		t.Errorf("w0 stands in the document %d times:\n%s", n, text)
	}
	again := newStateEngine(t, file, false)
	defer again.end()
	if attrs(b.Parent.NS, "w0") == nil || again.log.count("level=ERROR") != 0 {
		t.Errorf("w0 is not there again, or there was a complaint:\n%s", again.log.b.String())
	}
}

// TestStateOfARefusedAddress: the document says which address the parent has taken,
// not which it has refused, or the next daemon would not give it its own back.
func TestStateOfARefusedAddress(t *testing.T) {
	b := newBed(t)
	lab.Need(t, lab.NeedMacvlan)
	file := filepath.Join(t.TempDir(), "state.json")
	namedNS(t, b.Parent.NS)
	// A macvlan of the kernel refuses the address of one beside it.
	b.must(b.Parent.NS.Do(func() error {
		for name, mac := range map[string]string{"low": "02:00:00:00:0a:01", "beside": "02:00:00:00:0a:02"} {
			l := &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: b.Parent.Index, HardwareAddr: hw(mac)}, Mode: netlink.MACVLAN_MODE_BRIDGE}
			if err := errors.Join(netlink.LinkAdd(l), netlink.LinkSetUp(l)); err != nil {
				return err
			}
		}
		return nil
	}))
	se := newStateEngine(t, file, false)
	defer se.end()
	mode := uint32(classify.Passthru)
	se.link(t, b.Parent.NS, control.LinkRequest{Op: "add", Name: "pt", Parent: "low", Kind: "macvlan", Data: &control.MacvlanData{Mode: &mode}, Up: ptr(true)})
	se.link(t, b.Parent.NS, control.LinkRequest{Op: "set", Name: "pt", Address: ptr("02:00:00:00:0b:01")})
	h, err := control.OpenNamespace(b.Parent.NS.Path())
	b.must(err)
	defer h.Close()
	if _, r := se.Link(context.Background(), control.LinkRequest{Op: "set", Name: "pt", Address: ptr("02:00:00:00:0a:02")}, h); !errors.Is(r, unix.EADDRINUSE) {
		t.Fatalf("refused with %v", r)
	}
	b.soonLong("the document says what the parent has", func() bool {
		text, err := os.ReadFile(file)
		return err == nil && bytes.Contains(text, []byte(`"taken_mac": "02:00:00:00:0b:01"`)) && bytes.Contains(text, []byte(`"original_mac": "02:00:00:00:0a:01"`))
	})
}

// namedNS gives a namespace a name under /run/netns.
func namedNS(t *testing.T, ns *lab.NS) string {
	t.Helper()
	name := fmt.Sprintf("ucfg%d-%d", os.Getpid(), ns.FD())
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("/run/netns", name)
	if f, err := os.Create(file); err != nil {
		t.Fatal(err)
	} else {
		f.Close()
	}
	t.Cleanup(func() { unix.Unmount(file, unix.MNT_DETACH); os.Remove(file) })
	if err := unix.Mount(ns.Path(), file, "none", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	return name
}
