package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// EndpointArgs are the arguments with which this program, run again, must call
// Endpoint with those that follow: the ends of a TCP stream are processes of
// their own, so that they don't share a scheduler with the emulator.
var EndpointArgs = []string{"demo", "endpoint"}

// Stream is one TCP stream as its receiver saw it.
type Stream struct {
	Bytes   uint64        `json:"bytes"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// BitsPerSecond is the stream's rate.
func (s Stream) BitsPerSecond() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Bytes) * 8 / s.Elapsed.Seconds()
}

// TCP sends one stream for about d from one namespace to an address in another.
func TCP(ctx context.Context, from, to *NS, addr netip.Addr, d time.Duration) (s Stream, err error) {
	ctx, cancel := context.WithTimeout(ctx, d+10*time.Second)
	defer cancel()
	sink, err := startEndpoint(ctx, to, "sink", addr.String())
	if err != nil {
		return s, err
	}
	defer sink.end()
	port, err := sink.line()
	if err != nil {
		return s, fmt.Errorf("TCP receiver: %w", err)
	}
	source, err := startEndpoint(ctx, from, "source", addr.String()+":"+port, d.String())
	if err != nil {
		return s, err
	}
	defer source.end()
	if _, err := source.line(); err != nil {
		return s, fmt.Errorf("TCP sender: %w", err)
	}
	answer, err := sink.line()
	if err != nil {
		return s, fmt.Errorf("TCP receiver: %w", err)
	}
	return s, json.Unmarshal([]byte(answer), &s)
}

// endpoint is one end of a stream.
type endpoint struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	unlock chan struct{}
	ended  chan error
}

// startEndpoint starts one in a namespace. Its starter thread waits for it,
// because the death signal comes when that thread ends.
func startEndpoint(ctx context.Context, ns *NS, args ...string) (*endpoint, error) {
	e := &endpoint{ended: make(chan error, 1)}
	e.cmd = exec.CommandContext(ctx, "/proc/self/exe", append(append([]string(nil), EndpointArgs...), args...)...)
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	e.cmd.Stderr = os.Stderr
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	e.out = bufio.NewReader(out)
	started := make(chan error, 1)
	e.unlock = make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := ns.Do(e.cmd.Start)
		started <- err
		if err != nil {
			return
		}
		<-e.unlock // the pipe must be read to its end before Wait
		e.ended <- e.cmd.Wait()
	}()
	return e, <-started
}

func (e *endpoint) line() (string, error) {
	s, err := e.out.ReadString('\n')
	return strings.TrimSpace(s), err
}

// end kills the process, if it hasn't ended, and waits for it.
func (e *endpoint) end() {
	_ = e.cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, e.out)
	close(e.unlock)
	<-e.ended
}

// Endpoint is the process at one end of a stream. "sink ADDRESS" listens, says
// on which port, and reports as JSON what it got; "source ADDRESS:PORT
// DURATION" sends. Blocking sockets and big buffers: nothing but the way
// between the two shall limit it.
func Endpoint(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "sink":
		return sink(args[1])
	case len(args) == 3 && args[0] == "source":
		return source(args[1], args[2])
	}
	return errors.New("endpoint: sink ADDRESS, or source ADDRESS:PORT DURATION")
}

const streamBuffer = 256 << 10

func sink(address string) error {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.As4()}); err != nil {
		return fmt.Errorf("bind %s: %w", addr, err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		return err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	fmt.Println(local.(*unix.SockaddrInet4).Port)
	conn, _, err := unix.Accept(fd)
	if err != nil {
		return err
	}
	defer unix.Close(conn)
	buf := make([]byte, streamBuffer)
	var s Stream
	var first, last time.Time
	for {
		n, err := unix.Read(conn, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		last = time.Now()
		if first.IsZero() {
			first = last
			continue // its bytes were sent before the clock started
		}
		s.Bytes += uint64(n)
	}
	s.Elapsed = last.Sub(first)
	return json.NewEncoder(os.Stdout).Encode(s)
}

func source(address, duration string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return fmt.Errorf("connect to %s: %w", to, err)
	}
	buf := make([]byte, streamBuffer)
	var sent uint64
	for end := time.Now().Add(d); time.Now().Before(end); {
		n, err := unix.Write(fd, buf)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("send to %s: %w", to, err)
		}
		sent += uint64(max(n, 0))
	}
	fmt.Println(strconv.FormatUint(sent, 10))
	return unix.Shutdown(fd, unix.SHUT_WR)
}
