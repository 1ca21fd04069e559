// Command umacvlan emulates macvlan devices in user space: "umacvlan link add"
// is to be used like "ip link add", and "umacvlan daemon" is what does the work.
package main

import "os"

func main() {
	a := &app{
		stdin:    os.Stdin,
		stdout:   os.Stdout,
		stderr:   os.Stderr,
		terminal: isTerminal(os.Stdout),
		getenv:   os.Getenv,
	}
	os.Exit(a.run(os.Args[1:]))
}
