package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control"
)

// serve runs a server for the bed's engine until the test ends.
func (b *bed) serve(socket string) {
	b.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- control.Serve(ctx, b.em.Engine, control.ServerOptions{Socket: socket, Version: "test", Ready: func(s string) { ready <- s }})
	}()
	b.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
		if _, err := os.Lstat(socket); err == nil {
			b.t.Error("the socket is left")
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- err
		b.t.Fatal(err)
	}
}

func dial(t *testing.T, socket string) *control.Client {
	t.Helper()
	c, err := control.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestServerIsBusy: a socket is not taken from a daemon that is too busy to
// accept anybody.
func TestServerIsBusy(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	busy, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(busy)
	if err := errors.Join(unix.Bind(busy, &unix.SockaddrUnix{Name: socket}), unix.Listen(busy, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.Dial("unix", socket)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	before, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	err = control.Serve(ctx, control.NewEngine(control.EngineOptions{}), control.ServerOptions{Socket: socket, Ready: func(string) { stop() }})
	if err == nil || !strings.Contains(err.Error(), "somebody listens there") {
		t.Errorf("served: %v", err)
	}
	stop()
	if now, err := os.Stat(socket); err != nil || !os.SameFile(before, now) {
		t.Errorf("the socket was replaced: %v", err)
	}
}

func TestServer(t *testing.T) {
	b := newBed(t)
	socket := filepath.Join(t.TempDir(), "dir", "umacvlan.sock")
	// What a dead daemon has left is replaced.
	b.must(os.MkdirAll(filepath.Dir(socket), 0o755))
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	b.must(err)
	old.SetUnlinkOnClose(false)
	old.Close()
	told := listenNotify(t)
	b.serve(socket)
	if got := <-told; got != "READY=1" {
		t.Errorf("the service manager was told %q", got)
	}

	info, err := os.Stat(socket)
	b.must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
	c := dial(t, socket)
	st, err := c.Status(t.Context())
	b.must(err)
	_, refusal, err := c.Link(t.Context(), control.LinkRequest{Op: "add", Name: "x\xff", Kind: "macvlan", Parent: "va"})
	if err != nil || !errors.Is(refusal, unix.EINVAL) || !strings.Contains(refusal.Hint, "UTF-8") {
		t.Errorf("a name that JSON can't carry: %v, %v", refusal, err)
	}
	if st.Version != "test" || st.Socket != socket || st.PID != os.Getpid() {
		t.Errorf("status is %+v", st)
	}

	// Names resolve in the caller's namespace, where there is no va; or at a path.
	r := control.LinkRequest{Op: "add", Name: "x", Parent: "va", Kind: "macvlan"}
	_, refusal, err = c.Link(t.Context(), r)
	b.must(err)
	if refusal == nil || refusal.Device != "va" || !errors.Is(refusal, unix.ENODEV) {
		t.Errorf("refusal is %v", refusal)
	}
	r.NetnsPath = b.Parent.NS.Path()
	answer, refusal, err := c.Link(t.Context(), r)
	b.must(err)
	if refusal != nil || answer.Link.IfName != "x" || len(answer.Warnings) == 0 {
		t.Fatalf("answer is %+v, refusal %v", answer, refusal)
	}
	links, err := c.Links(t.Context(), b.Parent.NS.Path())
	b.must(err)
	if len(links) != 1 || links[0].IfIndex != answer.Link.IfIndex {
		t.Errorf("links are %+v", links)
	}
	if links, err := c.Links(t.Context(), b.Parent.NS.Path(), "nope"); err != nil || len(links) != 0 {
		t.Errorf("links are %+v, %v", links, err)
	}
	if links, err := c.Links(t.Context(), ""); err != nil || len(links) != 0 {
		t.Errorf("links of our own namespace are %+v, %v", links, err)
	}
	ledgers, err := c.Ledgers(t.Context())
	b.must(err)
	if len(ledgers) != 1 || ledgers[0].Parent != "va" || len(ledgers[0].Equations) == 0 {
		t.Errorf("ledgers are %+v", ledgers)
	}
}

func listenNotify(t *testing.T) <-chan string {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	told := make(chan string, 4)
	go func() {
		buf := make([]byte, 64)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			told <- string(buf[:n])
		}
	}()
	return told
}

func TestSecondDaemonRefused(t *testing.T) {
	b := newBed(t)
	socket := filepath.Join(t.TempDir(), "s")
	b.serve(socket)
	err := control.Serve(t.Context(), b.em.Engine, control.ServerOptions{Socket: socket})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("already running, pid %d", os.Getpid())) {
		t.Errorf("a second daemon says %v", err)
	}
	dial(t, socket)

	file := filepath.Join(t.TempDir(), "file")
	b.must(os.WriteFile(file, nil, 0o600))
	if err := control.Serve(t.Context(), b.em.Engine, control.ServerOptions{Socket: file}); err == nil {
		t.Error("a file was replaced by a socket")
	}
}

func TestNoDaemon(t *testing.T) {
	_, err := control.Dial(filepath.Join(t.TempDir(), "s"))
	var none *control.NoDaemonError
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "umacvlan daemon") || !errors.Is(err, unix.ENOENT) {
		t.Errorf("error is %v", err)
	}
}

// A client that sends half a request keeps nobody waiting; one that lies about
// where it is, sends nonsense or too much, is refused.
func TestBadClients(t *testing.T) {
	b := newBed(t)
	socket := filepath.Join(t.TempDir(), "s")
	b.serve(socket)
	half, err := net.Dial("unix", socket)
	b.must(err)
	defer half.Close()
	fmt.Fprintf(half, "POST /v1/link HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"op\":")
	idle, err := net.Dial("unix", socket)
	b.must(err)
	defer idle.Close()

	start := time.Now()
	dial(t, socket)
	if d := time.Since(start); d > time.Second {
		t.Errorf("a client waited %v", d)
	}
	for _, c := range []struct{ body, want string }{
		{`{"op":"add","netns_inode":1}`, "network namespace 1"},
		{`{"op":`, "request:"},
		{`{"op":"add","frob":1}`, "frob"},
		{`{"op":"add","netns_path":"relative"}`, "absolute"},
		{`{"op":"add","netns_path":"/etc/passwd"}`, "not a network namespace"},
		{`{"op":"` + strings.Repeat("x", 5<<20) + `"}`, "too large"},
	} {
		conn, err := net.Dial("unix", socket)
		b.must(err)
		go fmt.Fprintf(conn, "POST /v1/link HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(c.body), c.body)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		b.must(err)
		buf := make([]byte, 4096)
		n, _ := resp.Body.Read(buf)
		if resp.StatusCode < 400 || !strings.Contains(string(buf[:n]), c.want) || !strings.Contains(string(buf[:n]), `"errno"`) {
			t.Errorf("%.40s: %s: %s", c.body, resp.Status, buf[:n])
		}
		conn.Close()
	}
}

// The daemon looks at the caller's own namespace, not at its own.
func TestCallersNamespace(t *testing.T) {
	if os.Getenv("CONTROL_TEST_CLIENT") != "" {
		c := dial(t, os.Getenv("CONTROL_TEST_CLIENT"))
		a, r, err := c.Link(t.Context(), control.LinkRequest{Op: "add", Name: "x", Parent: "va", Kind: "macvlan"})
		if err != nil || r != nil {
			t.Fatal(err, r)
		}
		if a.Link.IfName != "x" {
			t.Fatalf("%+v", a)
		}
		return
	}
	b := newBed(t)
	socket := filepath.Join(t.TempDir(), "s")
	b.serve(socket)
	out, err := runSelf(t, b.Parent.NS, "TestCallersNamespace", "CONTROL_TEST_CLIENT="+socket)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if attrs(b.Parent.NS, "x") == nil {
		t.Error("the device was not made where the client is")
	}
}
