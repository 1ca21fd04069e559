package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// roleVariable tells a process that it is a child, and which.
const roleVariable = "UMACVLAN_BENCH_ROLE"

// roles are what a child can be. Each reads its orders from in and reports to
// out, one JSON value each.
var roles = map[string]func(in *json.Decoder, out *json.Encoder) error{
	"tcp-sink":   tcpSink,
	"tcp-source": tcpSource,
	"frames":     frameSource,
	"inspect":    inspect,
	"echo":       echo,
	"ask":        ask,
	"emulator":   emulatorRole,
	"naive":      naiveRole,
}

// RunChild does nothing in an ordinary process. In one that was started as part
// of a benchmark it plays its role and exits.
func RunChild() {
	role := os.Getenv(roleVariable)
	if role == "" {
		return
	}
	play, ok := roles[role]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: no role %q\n", roleVariable, role)
		os.Exit(1)
	}
	if role != "emulator" && role != "naive" {
		// Traffic programs enter the kernel behind the scheduler's back
		// (RawSyscall), and a collection would wait for them. What listens to
		// its orders needs a processor beside the one that they hold.
		debug.SetGCPercent(-1)
		runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
	}
	if err := play(json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process is a child.
type process struct {
	role   string
	cmd    *exec.Cmd
	in     *os.File // our ends
	out    *os.File
	orders *json.Encoder
	answer *json.Decoder
	stderr bytes.Buffer
	ended  bool

	abandoned atomic.Bool
	forget    func() bool // ends what until began, if it has
}

// patience bounds how long a child may take beyond its orders.
const patience = 15 * time.Second

// start starts a child in a namespace (nil: the caller's) and gives it its first
// order. The kernel ends it with the thread that started it, at the latest.
func start(ns *lab.NS, role string, order any) (*process, error) {
	return startFrom("/proc/self/exe", ns, role, order)
}

// startFrom is start with another program than the running one, and with more
// in its environment.
func startFrom(exe string, ns *lab.NS, role string, order any, env ...string) (*process, error) {
	p := &process{role: role, cmd: exec.Command(exe)}
	theirIn, ourIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ourOut, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), ourIn.Close())
	}
	p.in, p.out = ourIn, ourOut
	p.cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	if os.Getenv("GORACE") == "" { // which else sleeps a second at every exit
		p.cmd.Env = append(p.cmd.Env, "GORACE=atexit_sleep_ms=0")
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirIn, theirOut, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.orders, p.answer = json.NewEncoder(ourIn), json.NewDecoder(ourOut)

	if ns == nil {
		err = p.cmd.Start()
	} else {
		err = ns.Do(p.cmd.Start)
	}
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		ourIn.Close()
		ourOut.Close()
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	if err := p.tell(order); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// until lets nobody wait for the child once ctx is done.
func (p *process) until(ctx context.Context) {
	p.forget = context.AfterFunc(ctx, func() {
		p.abandoned.Store(true)
		_ = p.out.SetReadDeadline(time.Unix(1, 0))
	})
}

// tell sends an order.
func (p *process) tell(order any) error {
	if err := p.orders.Encode(order); err != nil {
		return fmt.Errorf("%s: %w", p.role, err)
	}
	return nil
}

// hear waits for the next report.
func (p *process) hear(within time.Duration, report any) error {
	_ = p.out.SetReadDeadline(time.Now().Add(within))
	if p.abandoned.Load() {
		_ = p.out.SetReadDeadline(time.Unix(1, 0))
	}
	err := p.answer.Decode(report)
	if errors.Is(err, os.ErrDeadlineExceeded) && !p.abandoned.Load() {
		return fmt.Errorf("%s: no report within %v", p.role, within)
	}
	if err != nil {
		return fmt.Errorf("%s: no report: %w", p.role, err)
	}
	return nil
}

// stop ends the child, which takes the end of its input as the order to leave,
// and returns what it complained about.
func (p *process) stop() error {
	if p.ended {
		return nil
	}
	p.ended = true
	if p.forget != nil {
		p.forget()
	}
	p.in.Close()
	p.out.Close()
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	err := p.cmd.Wait()
	kill.Stop()
	if err != nil {
		return fmt.Errorf("%s: %w %s", p.role, err, bytes.TrimSpace(p.stderr.Bytes()))
	}
	return nil
}

// ready is the report of a child that waits for the starting shot, and the shot.
type ready struct{}

// await reports ready, waits for the shot, and from then on ends the process
// when the parent lets go of it.
func await(in *json.Decoder, out *json.Encoder) error {
	if err := out.Encode(ready{}); err != nil {
		return err
	}
	if err := in.Decode(&ready{}); err != nil {
		return err
	}
	go func() {
		_ = in.Decode(&ready{})
		abandoned()
	}()
	return nil
}

// abandoned ends a child that nobody listens to any more.
func abandoned() { os.Exit(0) }
