package lab

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// The ends of TCP streams are this test binary, run again.
func TestMain(m *testing.M) {
	if n := len(EndpointArgs); len(os.Args) > n && slices.Equal(os.Args[1:n+1], EndpointArgs) {
		if err := Endpoint(os.Args[n+1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "reexec-child" {
		os.Exit(reexecChild(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "play-child" {
		os.Exit(playChild(os.Args[2]))
	}
	if len(os.Args) > 2 && os.Args[1] == "scale-daemon" {
		os.Exit(scaleDaemon(os.Args[2]))
	}
	os.Exit(m.Run())
}
