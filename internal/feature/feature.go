// Package feature is the one list of what umacvlan uses of a kernel where that
// kernel has it. Each entry sits behind a probe at the place that uses it; here
// stands its name, the kernel that brought it, what it is for and what is done
// without it. Any of them can be forced off, for tests and for finding out which
// one is to blame.
package feature

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// Variable is the environment variable that forces features off: their names,
// separated by commas, or "all".
const Variable = "UMACVLAN_WITHOUT"

// Name is a feature's name, as Variable, `version -d` and logs say it.
type Name string

const (
	IgnoreOutgoing Name = "ignore-outgoing"
	VnetHdr        Name = "vnet-hdr"
	USO            Name = "uso"
	SetCarrier     Name = "set-carrier"
	DevNetns       Name = "dev-netns"
	ListenAll      Name = "listen-all"
	GroupEvents    Name = "group-events"
	BPF            Name = "bpf"
	TCX            Name = "tcx"
	ClsBPF         Name = "cls-bpf"
	NFTNetdev      Name = "nft-netdev"
)

// Feature is one entry of the list.
type Feature struct {
	Name    Name
	Since   string // the first kernel that has it
	For     string // what it is used for
	Without string // what is done where it is missing
}

// List is every feature, the oldest kernel first.
var List = []Feature{
	{ListenAll, "4.2", "one netlink socket hears of every namespace", "a netlink socket in each namespace that holds a vmac"},
	{NFTNetdev, "4.2", "takes from the host's stack what macvlan consumes, where BPF can't", "the host's stack keeps its copy"},
	{ClsBPF, "4.5", "takes from the host's stack what macvlan consumes, where tcx is missing", "nft-netdev"},
	{VnetHdr, "4.6", "frames of up to 64 KiB and unfinished checksums cross untouched", "checksums and segments are made in software"},
	{BPF, "4.9", "programs that take frames from the host's stack and correct packet types", "nft-netdev; packet types are the TAP's"},
	{IgnoreOutgoing, "4.20", "the reader doesn't see what the host sends", "the socket's filter drops it"},
	{SetCarrier, "5.0", "a vmac's carrier follows the parent's", "the carrier of vmacs stays on"},
	{DevNetns, "5.7", "finds a vmac in whichever namespace it was moved to", "processes' namespaces are searched"},
	{USO, "6.2", "UDP segmentation offload on vmacs", "UDP is segmented by its sender"},
	{TCX, "6.6", "attaches programs beside anybody else's", "cls-bpf"},
	{GroupEvents, "6.14", "hears of joined groups at once", "the groups are read every half second"},
}

var off = sync.OnceValue(func() []Name {
	list, err := parse(os.Getenv(Variable))
	if err != nil {
		fmt.Fprintf(os.Stderr, "umacvlan: %s: %v\n", Variable, err)
		os.Exit(1)
	}
	return list
})

// Off says that a feature is forced off. Any goroutine may call it.
func Off(n Name) bool { return slices.Contains(off(), n) }

func parse(text string) (list []Name, err error) {
	for word := range strings.SplitSeq(text, ",") {
		switch word = strings.TrimSpace(word); {
		case word == "":
		case word == "all":
			for _, f := range List {
				list = append(list, f.Name)
			}
		case slices.ContainsFunc(List, func(f Feature) bool { return string(f.Name) == word }):
			list = append(list, Name(word))
		default:
			var names []string
			for _, f := range List {
				names = append(names, string(f.Name))
			}
			return nil, fmt.Errorf("there is no feature %q; there are %s, and all", word, strings.Join(names, ", "))
		}
	}
	return list, nil
}
