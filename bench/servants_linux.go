package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// servants are other people's programs at work, in a directory of their own,
// all of which goes with Close.
type servants struct {
	dir  string
	env  []string
	list []*servant
}

type servant struct {
	cmd   *exec.Cmd
	stdin io.Closer // some leave when it ends
	said  bytes.Buffer
}

func (s *servants) inDir(name string) (err error) {
	s.dir, err = os.MkdirTemp("", "umacvlan-bench-"+name)
	return err
}

// serve starts a program in a namespace. The kernel ends it with this one.
func (s *servants) serve(ns *lab.NS, program string, args ...string) error {
	p := &servant{cmd: exec.Command(program, args...)}
	p.cmd.Env = append(os.Environ(), s.env...)
	p.cmd.Dir = s.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	p.stdin = in
	if err := ns.Do(p.cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	s.list = append(s.list, p)
	return nil
}

// call runs a program to its end and returns what it printed.
func (s *servants) call(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), s.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}

// Close ends the programs, the last one first.
func (s *servants) Close() error {
	for len(s.list) > 0 {
		last := len(s.list) - 1
		p := s.list[last]
		s.list = s.list[:last]
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
		p.stdin.Close()
		_ = p.cmd.Wait() // by the signal, mostly
		kill.Stop()
	}
	return os.RemoveAll(s.dir)
}

// appears waits for a file.
func appears(path string) error {
	_, err := eventually(func() (os.FileInfo, error) { return os.Stat(path) })
	return err
}

// eventually asks until there is an answer.
func eventually[T any](ask func() (T, error)) (T, error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		v, err := ask()
		if err == nil || time.Now().After(end) {
			return v, errors.Join(err)
		}
	}
}
