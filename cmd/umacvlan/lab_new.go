package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// labTemplate is an experiment to begin with.
const labTemplate = `# An experiment with macvlan. Run it with: umacvlan lab run FILE
title   Does a vepa vmac hear its bridge-mode sibling's broadcast?

# The vmacs of one parent, with ip's words: mode, flag, list (source mode), address, mtu, bcqueuelen,
# bclim; also: join GROUP, promisc, allmulti, down, netns NAME.
vmac    b1 mode bridge
vmac    b2 mode bridge
vmac    v1 mode vepa

# A frame, FROM: SOURCE > DESTINATION. FROM is a vmac, wire (the other end of the parent's cable) or
# host (the parent itself). Addresses are octets or names: a vmac's, parent, wire, ext, unknown,
# broadcast. Behind it may stand: vlan 5, len 1000, type 0x88b5, arp request 10.0.0.1, ...
send    b1: b1 > broadcast

# The same frame, sent back by a switch with hairpin.
send    wire: b1 > broadcast

# Between frames things may change: set b1 mode private, set v1 down, delete b2, add ..., show v1.

# Below a send may stand who gets the frame, which makes this a test; umacvlan lab record FILE writes
# what the kernel does. For example:
#   v1 b2 get broadcast
#   wire gets broadcast
#   nobody
`

// labNewCommand writes a scenario to begin with.
func labNewCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "new [FILE]",
		Short:   "Write a scenario to begin with, with comments",
		Long:    "new writes an experiment with comments into a file that must not exist yet, or else prints it.",
		Example: "  umacvlan lab new first.scenario\n  umacvlan lab run first.scenario",
		Args:    atMostOne,
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				_, err := fmt.Fprint(cmd.OutOrStdout(), labTemplate)
				return err
			}
			f, err := os.OpenFile(files[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
			if errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s exists already; name another file", files[0])
			}
			if err != nil {
				return err
			}
			_, err = f.WriteString(labTemplate)
			return errors.Join(err, f.Close())
		},
	}
}
