package control

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/dataplane"
)

// notify is sd_notify.
func notify(state string, log *slog.Logger) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.Dial("unixgram", path) // a leading @ is an abstract address
	if err == nil {
		_, err = c.Write([]byte(state))
		c.Close()
	}
	if err != nil {
		log.Warn("tell the service manager", "err", err)
	}
}

// Reload applies the daemon's file again, and tells the service manager so.
func Reload(ctx context.Context, e *Engine, file string, log *slog.Logger) (ApplyReport, error) {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000), log)
	defer notify("READY=1", log)
	return e.ApplyFile(ctx, file, false)
}

// Activated returns the socket that the service manager has opened for this
// process (LISTEN_FDS), nil if none.
func Activated() (net.Listener, error) {
	pid, n := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	if pid != strconv.Itoa(os.Getpid()) || n == "" || n == "0" {
		return nil, nil
	}
	os.Unsetenv("LISTEN_PID")
	os.Unsetenv("LISTEN_FDS")
	if n != "1" {
		return nil, fmt.Errorf("the service manager passes %s sockets; one is expected", n)
	}
	f := os.NewFile(3, "activated")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the service manager's socket: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("the service manager's socket is %s; a unix stream socket is expected", l.Addr().Network())
	}
	u.SetUnlinkOnClose(false) // it stays the service manager's
	return u, nil
}

// watchdog tells the service manager that the daemon works, for as long as every
// data thread either waits for work or gets on with it. Without $WATCHDOG_USEC it
// does nothing.
func (e *Engine) watchdog(ctx context.Context) {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || usec <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return
	}
	tick := time.NewTicker(time.Duration(usec) * time.Microsecond / 3)
	defer tick.Stop()
	var before pulse
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := e.pulse()
		stuck := now.stuck(before)
		before = now
		if stuck != "" {
			e.log.Error("data thread is stuck; the service manager is not told that all is well", "thread", stuck)
			continue
		}
		notify("WATCHDOG=1", e.log)
	}
}

// pulse is what the data threads of every port have done so far.
type pulse map[*port][3]dataplane.Turn

// stuck names a data thread that hasn't moved since before though it has work,
// if there is one.
func (now pulse) stuck(before pulse) string {
	for p, turns := range now {
		old, known := before[p]
		for i, t := range turns {
			if known && !t.Parked && !old[i].Parked && t.Count == old[i].Count {
				return p.name + " " + [...]string{"receive", "transmit", "broadcast"}[i]
			}
		}
	}
	return ""
}

// pulse looks at every data thread. It takes the engine's lock: if that is never
// given back the daemon is as good as dead.
func (e *Engine) pulse() pulse {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := pulse{}
	for _, p := range e.ports {
		now[p] = p.sw.Turns()
	}
	return now
}
