package control

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// Who does again and again what is taken back fills no log.
func TestDeniedOnce(t *testing.T) {
	var log bytes.Buffer
	e := NewEngine(EngineOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	d := &device{name: "vmac0"}
	for range 100 {
		e.denied(d, rules.Answer{Errno: unix.EINVAL, Hint: "mtu 9000 is too much"})
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "vmac=vmac0") {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	e.denied(d, rules.Answer{Errno: unix.EADDRINUSE, Hint: "the address is the parent's"})
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("something else makes it %d lines", n)
	}
}
