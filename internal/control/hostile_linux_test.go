package control_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control"
)

const getStatus = "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// Ten thousand requests at once, and hundreds of clients that send half of one:
// each gets an answer or a clear refusal, and the daemon's descriptors,
// goroutines and memory stay bounded.
func TestFlood(t *testing.T) {
	if socket := os.Getenv("CONTROL_TEST_FLOOD"); socket != "" {
		flood(t, socket)
		return
	}
	b := newBed(t)
	socket := filepath.Join(t.TempDir(), "s")
	b.serve(socket)
	runtime.GC()
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)
	fds, goroutines := countFDs(t), runtime.NumGoroutine()

	ended := make(chan error, 1)
	var out []byte
	go func() {
		var err error
		out, err = runSelf(t, b.Wire.NS, "TestFlood", "CONTROL_TEST_FLOOD="+socket)
		ended <- err
	}()
	var mostFDs, mostGoroutines int
	var mostHeap uint64
	for done := false; !done; {
		select {
		case err := <-ended:
			done = true
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		case <-time.After(20 * time.Millisecond):
		}
		runtime.ReadMemStats(&during)
		mostFDs, mostGoroutines = max(mostFDs, countFDs(t)-fds), max(mostGoroutines, runtime.NumGoroutine()-goroutines)
		mostHeap = max(mostHeap, during.HeapInuse-min(during.HeapInuse, before.HeapInuse))
	}
	t.Logf("at most %d descriptors, %d goroutines and %d KiB of heap more", mostFDs, mostGoroutines, mostHeap>>10)
	if mostFDs > control.MaxClients+100 || mostGoroutines > 3*control.MaxClients || mostHeap > 64<<20 {
		t.Error("that is more than the limits allow")
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "answered") {
			t.Log(strings.TrimSpace(line))
		}
	}
	dial(t, socket)
}

// flood is the child.
func flood(t *testing.T, socket string) {
	const need = 12_000 // descriptors
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: need, Max: max(need, limit.Max)}); err != nil {
		t.Fatalf("needs %d descriptors: %v", need, err)
	}
	for range 300 {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, getStatus[:10])
	}
	var answered, refused, waiting atomic.Int32
	var wg sync.WaitGroup
	for range 10_000 {
		wg.Go(func() {
			c, err := net.Dial("unix", socket)
			if errors.Is(err, unix.EAGAIN) {
				waiting.Add(1) // the backlog is full
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Minute))
			if _, err := io.WriteString(c, getStatus); err != nil {
				t.Error(err)
				return
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			switch {
			case resp.StatusCode == http.StatusOK:
				answered.Add(1)
			case resp.StatusCode == http.StatusServiceUnavailable && bytes.Contains(body, []byte("try again")):
				refused.Add(1)
			default:
				t.Errorf("%s: %s", resp.Status, body)
			}
		})
	}
	wg.Wait()
	t.Logf("%d answered, %d refused, %d turned away by the kernel", answered.Load(), refused.Load(), waiting.Load())
	if answered.Load() == 0 {
		t.Error("nobody was answered")
	}
}

func countFDs(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A client that sends half a request, or doesn't take its answer, loses its
// connection.
func TestStalledClients(t *testing.T) {
	defer control.SetRequestTime(300 * time.Millisecond)()
	b := newBed(t)
	socket := filepath.Join(t.TempDir(), "s")
	b.serve(socket)
	for _, half := range []string{"", "GET /v1/st", "POST /v1/link HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"op\":"} {
		c, err := net.Dial("unix", socket)
		b.must(err)
		_, err = io.WriteString(c, half)
		b.must(err)
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		rest, err := io.ReadAll(c)
		if err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%q: %v, %q", half, err, rest)
		}
		c.Close()
	}
	// Answers that nobody reads, until the socket's buffer is full.
	c, err := net.Dial("unix", socket)
	b.must(err)
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(30 * time.Second))
	keep := strings.Replace(getStatus, "Connection: close\r\n", "", 1)
	for err == nil {
		_, err = io.WriteString(c, keep)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a client that reads nothing is never cut off")
	}
	dial(t, socket)
}

// More requests than are answered at a time are refused, as long as that lasts.
func TestTooManyRequests(t *testing.T) {
	b := newBed(t)
	socket := filepath.Join(t.TempDir(), "s")
	b.serve(socket)
	refused := make(chan string, control.MaxRequests+10)
	var halves []net.Conn
	var wg sync.WaitGroup
	for range cap(refused) {
		c, err := net.Dial("unix", socket)
		b.must(err)
		halves = append(halves, c)
		io.WriteString(c, "POST /v1/link HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
		wg.Go(func() {
			if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				body, _ := io.ReadAll(resp.Body)
				refused <- resp.Status + string(body)
			}
		})
	}
	if text := <-refused; !strings.Contains(text, "503") || !strings.Contains(text, "try again") {
		t.Error(text)
	}
	for _, c := range halves {
		c.Close()
	}
	wg.Wait()
	b.soon("others are answered again", func() bool {
		c, err := control.Dial(socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// Another user is turned away by the socket's mode, and should somebody have
// widened that, by the daemon.
func TestOtherUser(t *testing.T) {
	if socket := os.Getenv("CONTROL_TEST_USER"); socket != "" {
		_, err := control.Dial(socket)
		fmt.Println(err)
		return
	}
	b := newBed(t)
	dir, err := os.MkdirTemp("", "umacvlan")
	b.must(err)
	defer os.RemoveAll(dir)
	b.must(os.Chmod(dir, 0o755))
	socket := filepath.Join(dir, "s")
	b.serve(socket)
	for _, c := range []struct {
		mode os.FileMode
		want string
	}{{0o600, "another user's: permission denied"}, {0o666, "user 65534 may not"}} {
		b.must(os.Chmod(socket, c.mode))
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestOtherUser$")
		cmd.Env = append(os.Environ(), "CONTROL_TEST_USER="+socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("mode %v: %v, %s", c.mode, err, out)
		}
	}
}

// Whatever a request says, it is answered as the kernel would, and what is
// refused leaves nothing.
func TestHostileRequests(t *testing.T) {
	b := newBed(t)
	add := func(change func(*control.LinkRequest)) control.LinkRequest {
		r := control.LinkRequest{Op: "add", Name: "x", Parent: "va", Kind: "macvlan", Data: &control.MacvlanData{}}
		change(&r)
		return r
	}
	for _, c := range []struct {
		what string
		want error
		r    control.LinkRequest
	}{
		{"no operation", unix.EINVAL, add(func(r *control.LinkRequest) { r.Op = "" })},
		{"an unknown operation", unix.EINVAL, add(func(r *control.LinkRequest) { r.Op = "frob" })},
		{"no parent", unix.EINVAL, add(func(r *control.LinkRequest) { r.Parent = "" })},
		{"a parent that isn't there", unix.ENODEV, add(func(r *control.LinkRequest) { r.Parent = "nope" })},
		{"a parent with a long name", unix.ERANGE, add(func(r *control.LinkRequest) { r.Parent = strings.Repeat("p", 5000) })},
		{"an unknown kind", unix.EOPNOTSUPP, add(func(r *control.LinkRequest) { r.Kind = "frob" })},
		{"a name of 16 characters", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = strings.Repeat("n", 16) })},
		{"a name of 60,000", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = strings.Repeat("n", 60_000) })},
		{"a slash", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = "a/b" })},
		{"a dot", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = "." })},
		{"two dots", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = ".." })},
		{"a colon", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = "a:b" })},
		{"a space", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = "a b" })},
		{"a line end", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = "a\nb" })},
		{"a zero byte", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = "a\x00b" })},
		{"two numbers", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = "a%d%d" })},
		{"a format", unix.EINVAL, add(func(r *control.LinkRequest) { r.Name = "a%s" })},
		{"mode 0", unix.EINVAL, add(func(r *control.LinkRequest) { r.Data.Mode = ptr(uint32(0)) })},
		{"two modes", unix.EINVAL, add(func(r *control.LinkRequest) { r.Data.Mode = ptr(uint32(3)) })},
		{"every mode", unix.EINVAL, add(func(r *control.LinkRequest) { r.Data.Mode = ptr(^uint32(0)) })},
		{"an unknown flag", unix.EINVAL, add(func(r *control.LinkRequest) { r.Data.Flags = ptr(uint16(4)) })},
		{"every flag", unix.EINVAL, add(func(r *control.LinkRequest) { r.Data.Flags = ptr(^uint16(0)) })},
		{"an address that is none", unix.EINVAL, add(func(r *control.LinkRequest) { r.Address = ptr("frob") })},
		{"five bytes", unix.EINVAL, add(func(r *control.LinkRequest) { r.Address = ptr("02:00:00:00:00") })},
		{"seven bytes", unix.EINVAL, add(func(r *control.LinkRequest) { r.Address = ptr("02:00:00:00:00:01:02") })},
		{"no address", unix.EADDRNOTAVAIL, add(func(r *control.LinkRequest) { r.Address = ptr("00:00:00:00:00:00") })},
		{"a group", unix.EADDRNOTAVAIL, add(func(r *control.LinkRequest) { r.Address = ptr("01:00:5e:00:00:01") })},
		{"broadcast", unix.EADDRNOTAVAIL, add(func(r *control.LinkRequest) { r.Address = ptr("ff:ff:ff:ff:ff:ff") })},
		{"an mtu of 67", unix.EINVAL, add(func(r *control.LinkRequest) { r.MTU = ptr(uint32(67)) })},
		{"an mtu of nothing", unix.EINVAL, add(func(r *control.LinkRequest) { r.MTU = ptr(uint32(1)) })},
		{"an mtu above the parent's", unix.EINVAL, add(func(r *control.LinkRequest) { r.MTU = ptr(uint32(1501)) })},
		{"a huge mtu", unix.EINVAL, add(func(r *control.LinkRequest) { r.MTU = ptr(^uint32(0)) })},
		{"macaddr mode 9", unix.EINVAL, add(func(r *control.LinkRequest) {
			r.Data.Mode, r.Data.MacaddrMode = ptr(uint32(16)), ptr(uint32(9))
		})},
		{"a source that is none", unix.EINVAL, add(func(r *control.LinkRequest) {
			r.Data.Mode, r.Data.MacaddrMode, r.Data.MacaddrData = ptr(uint32(16)), ptr(uint32(3)), []string{"frob"}
		})},
		{"a namespace that isn't there", unix.ENOENT, add(func(r *control.LinkRequest) { r.ToNetns = ptr("/nope") })},
		{"a namespace that is none", unix.EINVAL, add(func(r *control.LinkRequest) { r.ToNetns = ptr("/dev/null") })},
		{"a namespace of another kind", unix.EINVAL, add(func(r *control.LinkRequest) { r.ToNetns = ptr("/proc/self/ns/pid") })},
		{"a device that isn't there", unix.ENODEV, control.LinkRequest{Op: "set", Name: "nope", Up: ptr(true)}},
		{"a device that isn't ours", unix.EOPNOTSUPP, control.LinkRequest{Op: "delete", Name: "va"}},
	} {
		_, refusal := b.ask(b.Parent.NS, c.r)
		if refusal == nil || !errors.Is(refusal, c.want) {
			t.Errorf("%s: %v, want %v", c.what, refusal, c.want)
		} else if len(refusal.Error()) > 70_000 {
			t.Errorf("%s: the refusal has %d bytes", c.what, len(refusal.Error()))
		}
		if st := b.em.Engine.Status(); st.Vmacs != 0 {
			t.Fatalf("%s: a vmac is there", c.what)
		}
	}
	// What the kernel takes is taken.
	for i, r := range []control.LinkRequest{
		add(func(r *control.LinkRequest) { r.Name = strings.Repeat("n", 15) }),
		add(func(r *control.LinkRequest) { r.Name = "a\x01ü" }),
		add(func(r *control.LinkRequest) { r.Name = "" }),
		add(func(r *control.LinkRequest) { r.Name = "a%d" }),
	} {
		if _, refusal := b.ask(b.Parent.NS, r); refusal != nil {
			t.Errorf("%d: %v", i, refusal)
		}
	}
}

// Out of descriptors, at whatever point that happens, a request is refused with
// EMFILE and nothing is left of it; what is there goes on.
func TestOutOfDescriptors(t *testing.T) {
	b := newBed(t)
	ns, err := control.OpenNamespace(b.Parent.NS.Path())
	b.must(err)
	defer ns.Close()
	away, err := control.OpenNamespace(b.Wire.NS.Path())
	b.must(err)
	defer away.Close()
	to := b.Wire.NS.Path()
	if _, err := b.em.Engine.Links(ns); err != nil { // waits for the engine to run
		t.Fatal(err)
	}

	var limit unix.Rlimit
	b.must(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	refused := 0
	for _, name := range []string{"first", "second", "third"} {
		made := false
		for more := uint64(0); !made && more < 200; more++ {
			// The lowest numbers are taken first, with holes.
			unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(countFDs(t)) + more, Max: limit.Max})
			r := control.LinkRequest{Op: "add", Name: name, Parent: "va", Kind: "macvlan", Up: ptr(true)}
			if name == "third" {
				r.ToNetns = &to
			}
			_, refusal := b.em.Engine.Link(context.Background(), r, ns)
			vmacs := b.em.Engine.Status().Vmacs
			unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
			switch {
			case refusal == nil:
				made = true
			case !errors.Is(refusal, unix.EMFILE):
				t.Fatalf("%s, with %d descriptors: %v", name, more, refusal)
			default:
				refused++
				if attrs(b.Parent.NS, name) != nil || attrs(b.Wire.NS, name) != nil {
					t.Fatalf("%s, with %d descriptors, is left behind", name, more)
				}
				if want := map[string]int{"first": 0, "second": 1, "third": 2}[name]; vmacs != want {
					t.Fatalf("%s, with %d descriptors: %d vmacs, want %d", name, more, vmacs, want)
				}
			}
		}
		if !made {
			t.Fatalf("%s is never made", name)
		}
	}
	t.Logf("refused %d times", refused)
	if refused < 6 {
		t.Errorf("refused only %d times", refused)
	}
	b.soon("everything there is seen", func() bool {
		links, err := b.em.Engine.Links(ns)
		return err == nil && len(links) == 2 && links[0].OperState == "UP"
	})
}
