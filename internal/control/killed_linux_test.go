package control_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

const daemonSocket = "UMACVLAN_TEST_DAEMON"

// TestDaemonProcess is a daemon that TestKilled starts, and kills.
func TestDaemonProcess(t *testing.T) {
	socket := os.Getenv(daemonSocket)
	if socket == "" {
		return
	}
	e := control.NewEngine(control.EngineOptions{})
	go e.Run(context.Background())
	t.Fatal(control.Serve(context.Background(), e, control.ServerOptions{Socket: socket, Version: "test"}))
}

// daemon starts one, which cleanup kills at the latest.
func daemon(t *testing.T, socket string) (*exec.Cmd, *control.Client) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestDaemonProcess$")
	cmd.Env = append(os.Environ(), daemonSocket+"="+socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err := control.Dial(socket); err == nil {
			return cmd, c
		}
	}
	t.Fatal("the daemon doesn't answer")
	return nil, nil
}

// A daemon that is killed amid traffic and changes leaves its parents as they were,
// and no device; the next one serves again.
func TestKilled(t *testing.T) {
	b := newBed(t)
	socket := filepath.Join(t.TempDir(), "sock")
	spaces := []*lab.NS{b.Parent.NS, b.ns()}
	ask := func(c *control.Client, ns *lab.NS, r control.LinkRequest) {
		t.Helper()
		r.NetnsPath = ns.Path()
		_, refusal, err := c.Link(t.Context(), r)
		if err == nil && refusal != nil {
			err = refusal
		}
		b.must(err)
	}
	for round := range times(3, 30) {
		cmd, c := daemon(t, socket)
		tr := newTraffic(t, b.Wire)
		members := map[int]*lab.Device{}
		for i := range 4 {
			r := control.LinkRequest{
				Op: "add", Name: fmt.Sprintf("vmac%d", i), Kind: "macvlan", Parent: "va", Address: ptr(numbered(i).String()),
				Up: ptr(true), Allmulti: ptr(i%2 == 0), Data: data(classify.Bridge),
			}
			at := spaces[i%2]
			if at != b.Parent.NS {
				r.ToNetns = ptr(at.Path())
			}
			ask(c, b.Parent.NS, r)
			d, err := lab.Find(at, r.Name)
			b.must(err)
			members[i] = d
			tr.add(i, d)
		}
		for i, d := range members {
			b.soon(fmt.Sprintf("vmac %d hears", i), func() bool { return b.hears(d, numbered(i), 10*time.Millisecond) })
		}
		if p := attrs(b.Parent.NS, "va").Promisc; p != 1 {
			t.Errorf("the parent's promiscuity is %d", p)
		}
		// In the middle of what it does.
		for i := range 1 + round%4 {
			b.must(members[i%4].Down())
			b.must(b.Parent.Down())
			b.must(b.Parent.Up())
			b.must(members[i%4].Up())
		}
		c.Close()
		b.must(cmd.Process.Kill())
		cmd.Wait()
		for i := range members {
			tr.remove(i)
			b.soon("the vmac is gone", func() bool { return attrs(members[i].NS, members[i].Name) == nil })
		}
		tr.end()
		b.soon("the parent has no address left", func() bool { return len(secondary(t, b.Parent)) == 0 })
		if a := attrs(b.Parent.NS, "va"); a.Promisc != 0 || a.Allmulti != 0 {
			t.Errorf("the parent is left with promiscuity %d, allmulti %d", a.Promisc, a.Allmulti)
		}
	}
}
