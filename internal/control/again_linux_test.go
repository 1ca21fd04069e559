package control_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control"
)

// counting counts the messages that begin so.
type counting struct {
	slog.Handler
	begin string
	n     *atomic.Int64
}

func (counting) Enabled(context.Context, slog.Level) bool { return true }

func (c counting) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, c.begin) {
		c.n.Add(1)
	}
	return nil
}

// Somebody deletes a device that is being made, which has not its name yet; the
// request is served nevertheless.
func TestMadeAgain(t *testing.T) {
	var again atomic.Int64
	was := slog.Default()
	slog.SetDefault(slog.New(counting{slog.DiscardHandler, "vmac was made at the second try", &again}))
	b := newBed(t)
	slog.SetDefault(was)
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
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && again.Load() < 2; {
		armed.Store(true)
		_, r := b.ask(b.Parent.NS, control.LinkRequest{Op: "add", Name: "y", Parent: b.Parent.Name, Kind: "macvlan"})
		// When it has its name it is deleted as anybody may.
		if r != nil && strings.Contains(r.Error(), "create tap") {
			t.Fatal(r)
		}
		armed.Store(false)
		b.ask(b.Parent.NS, control.LinkRequest{Op: "delete", Name: "y"})
	}
	if again.Load() == 0 {
		t.Error("no device was deleted in time; this shows nothing")
	}
}
