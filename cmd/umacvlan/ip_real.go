package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// findIP finds the ip that would be run if this program weren't there: the first
// in $PATH that is neither this file nor a script that calls it.
func findIP(path string) string {
	self, err := os.Executable()
	if err != nil {
		self = "/proc/self/exe"
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, "ip")
		if found, err := exec.LookPath(candidate); err != nil || found != candidate || sameFile(candidate, self) || callsUs(candidate) {
			continue
		}
		return candidate
	}
	return ""
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// callsUs says that a file is a script with our name in it, such as
// exec umacvlan ip "$@", which would go round in circles.
func callsUs(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, _ := io.ReadFull(f, head)
	return bytes.HasPrefix(head, []byte("#!")) && bytes.Contains(head[:n], []byte("umacvlan"))
}

// pass gives a command to the other ip.
func (w *wrapper) pass(args []string) error {
	if w.batched {
		return w.other(nil, w.stdout, w.stderr, args)
	}
	return w.hand(w.app, slices.Concat(w.options, args))
}

// hand becomes the other ip, if nothing more is to be done here.
func (w *wrapper) hand(a *app, line []string) error {
	if w.real == "" {
		return noOtherIP(line)
	}
	if a.become == nil {
		return runIP(w.real, a.stdin, a.stdout, a.stderr, line)
	}
	return a.become(w.real, append([]string{"ip"}, line...))
}

// other runs the other ip with the options of this run. A *failure has its exit
// code and no line: it has spoken for itself.
func (w *wrapper) other(stdin io.Reader, stdout, stderr io.Writer, args []string) error {
	if w.real == "" {
		return noOtherIP(args)
	}
	if strings.HasPrefix(at(args, 0), "-") { // in a batch it would be an object
		args = append([]string{"--"}, args...)
	}
	return runIP(w.real, stdin, stdout, stderr, slices.Concat(w.options, args))
}

func runIP(ip string, stdin io.Reader, stdout, stderr io.Writer, line []string) error {
	cmd := exec.Command(ip, line...)
	cmd.Args[0] = "ip" // which it calls itself by
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code := exit.ExitCode()
		if code < 0 {
			code = exitMalformed // a signal ended it
		}
		return &failure{code: code}
	}
	return err
}

func noOtherIP(line []string) error {
	return usageError("umacvlan: no other ip in $PATH to hand this to: ip %s; install iproute2", strings.Join(line, " "))
}
