package control_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control"
)

// Somebody deletes a device that is being made, which has not its name yet; the
// request is served nevertheless.
func TestMadeAgain(t *testing.T) {
	b := newBed(t)
	var armed atomic.Bool
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		var h *netlink.Handle
		err := b.Parent.NS.Do(func() (err error) { h, err = netlink.NewHandle(unix.NETLINK_ROUTE); return err })
		if err != nil {
			t.Error(err)
			return
		}
		defer h.Close()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if !armed.Load() {
				time.Sleep(time.Millisecond)
				continue
			}
			l, err := h.LinkByName("umac-new0")
			// As long as water has it, it loses a descriptor with it.
			if err == nil && l.Attrs().Alias != "" && h.LinkDel(l) == nil {
				armed.Store(false)
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	hits := 0
	for range 300 {
		armed.Store(true)
		_, r := b.ask(b.Parent.NS, control.LinkRequest{Op: "add", Name: "y", Parent: b.Parent.Name, Kind: "macvlan"})
		late := r != nil && r.Hint == "the device was deleted meanwhile" // when it was complete
		if r != nil && !late {
			t.Fatal(r)
		}
		if !armed.Load() && !late {
			hits++
		}
		armed.Store(false)
		b.ask(b.Parent.NS, control.LinkRequest{Op: "delete", Name: "y"})
		if hits == 2 {
			return
		}
	}
	t.Errorf("deleted %d devices in the making; this shows nothing", hits)
}
