// Command umacvlan emulates macvlan devices in user space: "umacvlan link add"
// is to be used like "ip link add", and "umacvlan daemon" is what does the work.
package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func main() {
	a := &app{
		stdin:    os.Stdin,
		stdout:   os.Stdout,
		stderr:   os.Stderr,
		terminal: isTerminal(os.Stdout),
		getenv:   os.Getenv,
		become:   func(file string, args []string) error { return unix.Exec(file, args, os.Environ()) },
	}
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "ip" { // a link in front of the other ip
		args = append([]string{"ip"}, args...)
	}
	os.Exit(a.run(args))
}
