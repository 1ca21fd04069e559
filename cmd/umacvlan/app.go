package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/umacvlan/umacvlan/internal/control"
)

// app is one run of the command: where it reads and writes, and the options in
// front of the verb.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stdout is one
	getenv         func(string) string
	// become replaces this process by another program; nil: run it as a child.
	become func(file string, args []string) error
	opts   options
}

// run executes a command line and returns the exit code.
func (a *app) run(args []string) int {
	err := a.dispatch(args)
	if err == nil {
		return 0
	}
	return a.report(err)
}

// report prints an error in the words of ip, or in ours, and returns its exit
// code.
func (a *app) report(err error) int {
	var (
		f       *failure
		refusal *control.Refusal
		none    *control.NoDaemonError
	)
	switch {
	case errors.As(err, &f):
		for _, line := range f.lines {
			fmt.Fprintln(a.stderr, line)
		}
		return f.code
	case errors.As(err, &refusal):
		return a.reportRefusal(refusal)
	case errors.As(err, &none) && errors.Is(err, os.ErrPermission):
		a.complain("the daemon's socket %s is not open to you (%v); try again as root", none.Socket, none.Cause)
	case errors.As(err, &none):
		a.complain("no daemon answers at %s; start one with: %s", none.Socket, startCommand(none.Socket))
	default:
		a.complain("%v", err)
	}
	return exitUsage
}

func (a *app) complain(format string, args ...any) {
	fmt.Fprintf(a.stderr, "umacvlan: "+format+"\n", args...)
}

// startCommand is the command that starts a daemon which answers at socket.
func startCommand(socket string) string {
	if socket == control.SocketPath() {
		return "umacvlan daemon"
	}
	return "umacvlan daemon --socket " + socket
}

// reportRefusal prints what ip prints when the kernel says no, and below it why.
func (a *app) reportRefusal(r *control.Refusal) int {
	code := exitRefused
	switch {
	case r.Device != "":
		// ip finds that out by itself, before it asks.
		fmt.Fprintf(a.stderr, "Cannot find device \"%s\"\n", r.Device)
		code = exitUsage
	case r.Text != "":
		fmt.Fprintf(a.stderr, "Error: %s.\n", r.Text)
	default:
		fmt.Fprintf(a.stderr, "RTNETLINK answers: %s\n", strerror(r.Errno))
	}
	if r.Hint != "" {
		a.complain("%s", r.Hint)
	}
	return code
}
