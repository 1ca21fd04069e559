package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control"
)

// idleUse is what the daemon takes while nothing happens, and what the kernel
// holds then, in KiB.
type idleUse struct {
	cpu, over    time.Duration
	cpuAt        time.Duration // what it had used in the end
	kernel, user int
	threads, fds int
	goroutines   int
}

func (u idleUse) String() string {
	return fmt.Sprintf("%.2f %% of one core over %v, %d threads, %d descriptors, %d goroutines, %d MiB of user memory",
		100*float64(u.cpu)/float64(u.over), u.over, u.threads, u.fds, u.goroutines, u.user>>10)
}

func (s *scale) daemonCPU() time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.daemon.cmd.Process.Pid))
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	utime, _ := strconv.Atoi(fields[11])
	stime, _ := strconv.Atoi(fields[12])
	return time.Duration(utime+stime) * 10 * time.Millisecond
}

func (s *scale) idle(d time.Duration) (u idleUse) {
	before := s.daemonCPU()
	time.Sleep(d)
	u.cpuAt, u.over = s.daemonCPU(), d
	u.cpu = u.cpuAt - before
	dir := fmt.Sprintf("/proc/%d/", s.daemon.cmd.Process.Pid)
	status := numbers(dir + "status")
	u.user, u.threads = status["RssAnon"], status["Threads"]
	fds, _ := os.ReadDir(dir + "fd")
	u.fds = len(fds)
	u.goroutines, _ = strconv.Atoi(s.daemon.ask("goroutines"))
	// All that the kernel can't give back, and says what it is; whoever else makes
	// devices and processes at the same time is in it too.
	m := numbers("/proc/meminfo")
	u.kernel = m["SUnreclaim"] + m["Percpu"] + m["KernelStack"] + m["PageTables"] + m["VmallocUsed"]
	return u
}

// numbers reads the lines "Name: number" of a file.
func numbers(path string) map[string]int {
	m := map[string]int{}
	text, _ := os.ReadFile(path)
	for l := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(l, ":")
		if f := strings.Fields(value); len(f) > 0 {
			if n, err := strconv.Atoi(f[0]); err == nil {
				m[name] = n
			}
		}
	}
	return m
}

// scaleProcess is a daemon in a process of its own, so that its CPU and memory
// are its own.
type scaleProcess struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	dir    string
	socket string
	unlock chan struct{}
	ended  chan error
}

func startScaleDaemon(ns *NS) (_ *scaleProcess, err error) {
	p := &scaleProcess{unlock: make(chan struct{}), ended: make(chan error, 1)}
	if p.dir, err = os.MkdirTemp("", "umacvlan-scale"); err != nil {
		return nil, err
	}
	p.socket = filepath.Join(p.dir, scaleSocket)
	p.cmd = exec.Command("/proc/self/exe", "scale-daemon", p.socket)
	// The names of its namespaces are in a mount namespace of its own.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Unshareflags: unix.CLONE_NEWNS}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	started := make(chan error, 1)
	go func() { // the death signal comes when the thread ends that has started it
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := ns.Do(p.cmd.Start)
		started <- err
		if err == nil {
			<-p.unlock
			p.ended <- p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	if ready := p.ask(""); ready != "ready" {
		_, err := p.stop()
		return nil, errors.Join(fmt.Errorf("the daemon says %q", ready), err)
	}
	return p, nil
}

// ask sends a line and returns the next.
func (p *scaleProcess) ask(what string) string {
	if what != "" {
		fmt.Fprintln(p.in, what)
	}
	s, _ := p.out.ReadString('\n')
	return strings.TrimSpace(s)
}

func (p *scaleProcess) stop() (time.Duration, error) {
	start := time.Now()
	p.in.Close()
	_, _ = io.Copy(io.Discard, p.out)
	close(p.unlock)
	return time.Since(start), errors.Join(<-p.ended, os.RemoveAll(p.dir))
}

const namesDir = "/run/netns"

// scaleDaemon is what runs in that process.
func scaleDaemon(socket string) int {
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("run", "/run", "tmpfs", 0, ""),
		os.Mkdir(namesDir, 0o755)); err != nil {
		fmt.Fprintln(os.Stderr, "daemon: hide names:", err)
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	control.RaiseFileLimit()
	e := control.NewEngine(control.EngineOptions{AbandonedEvery: 2 * time.Second})
	ended := make(chan error, 2)
	go func() { ended <- e.Run(ctx) }()
	go func() {
		ended <- control.Serve(ctx, e, control.ServerOptions{Socket: socket, Ready: func(string) { fmt.Println("ready") }})
	}()
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			switch f := strings.Fields(in.Text()); f[0] {
			case "goroutines":
				fmt.Println(runtime.NumGoroutine())
			case "name":
				file := filepath.Join(namesDir, f[1])
				fmt.Println(errors.Join(os.WriteFile(file, nil, 0o600), unix.Mount(f[2], file, "", unix.MS_BIND, "")))
			case "unname":
				file := filepath.Join(namesDir, f[1])
				fmt.Println(errors.Join(unix.Unmount(file, unix.MNT_DETACH), os.Remove(file)))
			}
		}
		stop()
	}()
	code := 0
	for range 2 {
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "daemon:", err)
			code = 1
		}
	}
	return code
}
