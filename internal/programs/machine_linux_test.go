package programs

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// machine is a namespace in which programs run.
type machine struct {
	*lab.NS
	bed  *bed
	name string

	reference bool // the kernel's macvlan is here on purpose, to be compared with
}

// command is a program in no namespace yet; begin starts it in this one.
func (m *machine) command(args ...string) *exec.Cmd {
	path := bin + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin"
	name := args[0]
	if name == "umacvlan" {
		name = filepath.Join(bin, name)
	}
	cmd := exec.Command(name, args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+path, "UMACVLAN_SOCKET="+m.bed.socket, "LC_ALL=C")
	// A group of its own, to be killed with all that it started, and with us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	return cmd
}

func (m *machine) begin(cmd *exec.Cmd) error { return m.Do(cmd.Start) }

// try runs a program to its end.
func (m *machine) try(args ...string) (stdout, stderr string, err error) {
	cmd := m.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := m.begin(cmd); err != nil {
		return "", "", err
	}
	late := time.AfterFunc(2*patience, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer late.Stop()
	err = cmd.Wait()
	return out.String(), errs.String(), err
}

// run fails the test if the program does.
func (m *machine) run(args ...string) string {
	m.bed.Helper()
	out, errs, err := m.try(args...)
	if err != nil {
		m.bed.Fatalf("%s# %s: %v\n%s%s", m.name, strings.Join(args, " "), err, out, errs)
	}
	return out
}

// sh runs lines as a shell there would, to the first that fails.
func (m *machine) sh(lines string) string {
	m.bed.Helper()
	return m.run("sh", "-ec", lines)
}

func (m *machine) json(into any, args ...string) {
	m.bed.Helper()
	out, errs, err := m.try(args...)
	if err == nil {
		err = json.Unmarshal([]byte(out), into)
	}
	if err != nil {
		m.bed.Errorf("%s# %s: %v\n%s%s", m.name, strings.Join(args, " "), err, out, errs)
	}
}

func (m *machine) sysctl(key, value string) {
	m.bed.Helper()
	if err := lab.Sysctl(m.NS, key, value); err != nil {
		m.bed.Fatal(err)
	}
}

// pings waits until an address answers.
func (m *machine) pings(address string) {
	m.bed.Helper()
	m.bed.within(m.name+" hears "+address, func() bool {
		_, _, err := m.try("ping", "-n", "-c", "1", "-W", "2", address)
		return err == nil
	})
}

// process is a program that runs until it is stopped.
type process struct {
	bed  *bed
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

// start runs a program until the test ends. Both its outputs are kept.
func (m *machine) start(args ...string) *process {
	m.bed.Helper()
	p := &process{bed: m.bed, cmd: m.command(args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := m.begin(p.cmd); err != nil {
		m.bed.Fatal(err)
	}
	go func() { defer close(p.done); p.cmd.Wait() }()
	m.bed.Cleanup(func() {
		p.stop(syscall.SIGTERM)
		if m.bed.Failed() && args[0] != "umacvlan" {
			m.bed.Logf("%s# %s said:\n%s", m.name, strings.Join(args, " "), tail(p.text()))
		}
	})
	return p
}

// tcpdump captures on a device, with a ring for bursts: the snapshot length
// decides how many frames it holds. A change of user would save it from dying
// with us.
func (m *machine) tcpdump(device string, more ...string) *process {
	m.bed.Helper()
	p := m.start(append([]string{"tcpdump", "-i", device, "-e", "-n", "-t", "-l", "--immediate-mode", "-s", "2048", "-B", "4096", "-Z", "root"}, more...)...)
	p.waitFor("listening on")
	return p
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// text is what the program has said so far.
func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// waitFor waits until the program has said this.
func (p *process) waitFor(text string) {
	p.bed.Helper()
	p.bed.within(p.cmd.Args[0]+" says "+text, func() bool {
		select {
		case <-p.done:
			if !strings.Contains(p.text(), text) {
				p.bed.Fatalf("%v ended: %s", p.cmd.Args, p.text())
			}
		default:
		}
		return strings.Contains(p.text(), text)
	})
}

// stop sends the signal and waits for the end. What the program may have left
// of its group is killed. Of one that has ended: nothing.
func (p *process) stop(sig syscall.Signal) {
	p.bed.Helper()
	select {
	case <-p.done:
		return
	default:
	}
	group := -p.cmd.Process.Pid
	p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.bed.Errorf("%v is there %v after %v", p.cmd.Args, patience, sig)
		syscall.Kill(group, syscall.SIGKILL)
		<-p.done
	}
	if err := syscall.Kill(group, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.bed.Errorf("kill the rest of %v: %v", p.cmd.Args, err)
	}
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

func unmarshal(text string, into any) error { return json.Unmarshal([]byte(text), into) }
