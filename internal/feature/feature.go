// Package feature is the one list of what umacvlan uses of a kernel where that
// kernel has it. Each entry sits behind a probe at the place that uses it; here
// stands its name, the kernel that brought it, what it is for and what is done
// without it. Any of them can be forced off, for tests and for finding out which
// one is to blame.
package feature

import (
	"errors"
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
	ListenAll      Name = "listen-all"
	ClsBPF         Name = "cls-bpf"
	VnetHdr        Name = "vnet-hdr"
	BPF            Name = "bpf"
	NSType         Name = "ns-type"
	ExtAck         Name = "ext-ack"
	NewNetns       Name = "new-netns"
	MaxMTU         Name = "max-mtu"
	IgnoreOutgoing Name = "ignore-outgoing"
	SetCarrier     Name = "set-carrier"
	DevNetns       Name = "dev-netns"
	NFTNetdev      Name = "nft-netdev"
	AllmultiCount  Name = "allmulti-count"
	USO            Name = "uso"
	TCX            Name = "tcx"
	GroupEvents    Name = "group-events"
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
	{ListenAll, "4.2", "one netlink socket hears of every namespace", "devices are looked at every 100 ms"},
	{ClsBPF, "4.5", "takes from the host's stack what macvlan consumes, where tcx is missing", "nft-netdev"},
	{VnetHdr, "4.6", "frames of up to 64 KiB and unfinished checksums cross untouched", "checksums and segments are made in software"},
	{BPF, "4.9", "programs that take frames from the host's stack and correct packet types", "nft-netdev; packet types are the TAP's"},
	{NSType, "4.11", "tells network namespaces from others", "they are entered to see"},
	{ExtAck, "4.12", "a refusal in the kernel's own words", "its error number alone"},
	{NewNetns, "4.16", "tells where a parent has been moved to", "a parent that is moved counts as deleted"},
	{MaxMTU, "4.19", "a vmac's MTU is bounded by what the parent could have", "it is bounded by 65535"},
	{IgnoreOutgoing, "4.20", "the reader doesn't see what the host sends", "the socket's filter drops it"},
	{SetCarrier, "5.0", "a vmac's carrier follows the parent's", "the carrier of vmacs stays on"},
	{DevNetns, "5.2", "finds a vmac in whichever namespace it was moved to", "namespaces are searched for its name, address and counters"},
	{NFTNetdev, "5.12", "takes from the host's stack what macvlan consumes, where BPF can't", "the host's stack keeps its copy"},
	{AllmultiCount, "6.0", "sees that packet sockets want all groups of a device", "only what ip link sets is seen"},
	{USO, "6.2", "UDP segmentation offload on vmacs", "UDP is segmented by its sender"},
	{TCX, "6.6", "attaches programs beside anybody else's", "cls-bpf"},
	{GroupEvents, "6.14", "hears of joined groups at once", "the groups are read every 0.8 s"},
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

// ErrOff is why a feature that is forced off isn't used.
var ErrOff = errors.New("forced off by " + Variable)

// ErrOld is why a feature isn't used that the kernel doesn't know.
var ErrOld = errors.New("the kernel doesn't have it")

var noted struct {
	sync.Mutex
	why map[Name]error
}

// Note remembers what a use or a probe of a feature found: nil that it is there,
// else why it isn't. The last one counts. Any goroutine may call it.
func Note(n Name, err error) {
	noted.Lock()
	defer noted.Unlock()
	if noted.why == nil {
		noted.why = map[Name]error{}
	}
	noted.why[n] = err
}

// Why returns what is known of a feature: nil if it is in use, ErrOff if it is
// forced off, else what Note was told. It is not known before there was a use.
func Why(n Name) (err error, known bool) {
	if Off(n) {
		return ErrOff, true
	}
	noted.Lock()
	defer noted.Unlock()
	err, known = noted.why[n]
	return err, known
}

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
