// Package control is a vmac's life: what the netdev operations and notifier
// events of the kernel driver do, driven by requests over a socket and by what
// rtnetlink reports.
package control

import (
	"syscall"
	"time"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/config"
)

// The API is HTTP with JSON bodies over a unix socket.
//
//	POST /v1/link    LinkRequest  → LinkAnswer, or Refusal with a 4xx status
//	GET  /v1/links   ?netns=…     → []Link (also ?name=, repeated)
//	POST /v1/fdb     FdbRequest → {}, or Refusal
//	GET  /v1/fdb     ?netns=…     → []FdbEntry (also ?name=, repeated)
//	POST /v1/explain ExplainRequest → classify.Explanation, or Refusal
//	GET  /v1/ledger               → []Ledger, one per parent
//	GET  /v1/status               → Status
//	POST /v1/apply   ApplyRequest → ApplyReport, or Refusal
//	GET  /v1/export               → Export
//
// Each request carries the caller's network namespace: names resolve there.

// LinkRequest asks for what one "ip link" command would: rtnetlink's
// RTM_NEWLINK or RTM_DELLINK. A nil pointer means "not given".
type LinkRequest struct {
	// Op is "add" (NLM_F_CREATE|NLM_F_EXCL), "replace" (NLM_F_CREATE|NLM_F_REPLACE),
	// "set" (neither; also what "change" does) or "delete".
	Op string `json:"op"`

	// NetnsInode identifies the caller's network namespace: the inode of its
	// /proc/self/ns/net. The daemon takes the namespace from the peer's
	// credentials and refuses if the inode is another. NetnsPath, if given, is
	// used in place of the caller's (what "ip -n" does).
	NetnsInode uint64 `json:"netns_inode,omitempty"`
	NetnsPath  string `json:"netns_path,omitempty"`

	Name   string `json:"name,omitempty"`   // of the device; empty on add: macvlan%d
	Parent string `json:"parent,omitempty"` // "link DEV"
	Kind   string `json:"kind,omitempty"`   // "macvlan"; required on add

	Address  *string `json:"address,omitempty"`
	MTU      *uint32 `json:"mtu,omitempty"`
	TxQLen   *uint32 `json:"txqlen,omitempty"`
	Up       *bool   `json:"up,omitempty"`
	NewName  *string `json:"new_name,omitempty"`
	Promisc  *bool   `json:"promisc,omitempty"`
	Allmulti *bool   `json:"allmulticast,omitempty"`
	Alias    *string `json:"alias,omitempty"`

	// ToNetns moves the device ("netns NS"), as a path to a namespace file that
	// the daemon can open (the client turns names and pids into paths).
	ToNetns *string `json:"to_netns,omitempty"`

	// Data is IFLA_INFO_DATA, nil if the request has none.
	Data *MacvlanData `json:"data,omitempty"`

	// Owner are opaque labels; add is idempotent by them.
	Owner map[string]string `json:"owner,omitempty"`

	// What only the daemon asks for: that the vmac is a file's, and which address
	// to use in place of one drawn at random.
	managed bool
	random  classify.MAC
}

// MacvlanData is the macvlan part of a request, with netlink's numbers.
type MacvlanData struct {
	Mode        *uint32  `json:"mode,omitempty"`
	Flags       *uint16  `json:"flags,omitempty"`
	BCQueueLen  *uint32  `json:"bcqueuelen,omitempty"`
	BCLim       *int32   `json:"bclim,omitempty"`
	MacaddrMode *uint32  `json:"macaddr_mode,omitempty"` // 0 add, 1 del, 2 flush, 3 set
	Macaddr     *string  `json:"macaddr,omitempty"`
	MacaddrData []string `json:"macaddr_data,omitempty"`
}

// FdbRequest asks for what one "bridge fdb" command about a device's own addresses
// would: RTM_NEWNEIGH or RTM_DELNEIGH.
type FdbRequest struct {
	// Op is "add" (NLM_F_CREATE|NLM_F_EXCL), "append" (NLM_F_CREATE|NLM_F_APPEND),
	// "replace" (NLM_F_CREATE|NLM_F_REPLACE) or "delete".
	Op string `json:"op"`

	NetnsInode uint64 `json:"netns_inode,omitempty"` // as in LinkRequest
	NetnsPath  string `json:"netns_path,omitempty"`

	Dev    string  `json:"dev"`
	MAC    string  `json:"mac"`
	Vlan   *uint16 `json:"vlan,omitempty"`
	Master bool    `json:"master,omitempty"` // NTF_MASTER without NTF_SELF
}

// FdbEntry is one further address of a vmac, in the shape of "bridge -j fdb show".
type FdbEntry struct {
	MAC   string   `json:"mac"`
	Dev   string   `json:"ifname"`
	Flags []string `json:"flags"`
	State string   `json:"state"`
}

// LinkAnswer is what a successful request returns. Link is nil after a delete.
type LinkAnswer struct {
	Link     *Link    `json:"link,omitempty"`
	Warnings []string `json:"warnings,omitempty"` // arp_ignore, rp_filter and the like
}

// Refusal is how the (emulated) kernel says no.
type Refusal struct {
	Errno int    `json:"errno"`          // positive, as in errno(3)
	Text  string `json:"text,omitempty"` // extended ack, without "Error: " and the final full stop
	Hint  string `json:"hint,omitempty"` // one line: why, and what to do

	// Device is the name that the request used and no device has, if that is
	// why: ip says 'Cannot find device "NAME"' before it asks the kernel.
	Device string `json:"device,omitempty"`
}

// Error is Text, or the name of Errno, with the hint behind it.
func (r *Refusal) Error() string {
	s := r.Text
	if s == "" {
		s = syscall.Errno(r.Errno).Error()
	}
	if r.Hint != "" {
		s += " (" + r.Hint + ")"
	}
	return s
}

// Unwrap returns the error number.
func (r *Refusal) Unwrap() error { return syscall.Errno(r.Errno) }

// Link is one vmac in the shape of "ip -d -s -j link show".
type Link struct {
	IfIndex     int      `json:"ifindex"`
	Parent      string   `json:"link,omitempty"`       // parent's name, if it lives in the same namespace
	LinkIndex   int      `json:"link_index,omitempty"` // parent's ifindex, if it doesn't
	LinkNetnsID *int     `json:"link_netnsid,omitempty"`
	LinkNetns   string   `json:"link_netns,omitempty"` // its name under /run/netns, if it has one
	IfName      string   `json:"ifname"`
	Flags       []string `json:"flags"`
	MTU         int      `json:"mtu"`
	Qdisc       string   `json:"qdisc"`
	OperState   string   `json:"operstate"`
	LinkMode    string   `json:"linkmode"`
	Group       string   `json:"group"`
	TxQLen      int      `json:"txqlen"`
	LinkType    string   `json:"link_type"`
	Address     string   `json:"address"`
	Broadcast   string   `json:"broadcast"`
	Promiscuity int      `json:"promiscuity"`
	Allmulti    int      `json:"allmulti"`
	MinMTU      int      `json:"min_mtu"`
	MaxMTU      int      `json:"max_mtu"`
	LinkInfo    LinkInfo `json:"linkinfo"`
	AddrGenMode string   `json:"inet6_addr_gen_mode"`
	NumTxQueues int      `json:"num_tx_queues"`
	NumRxQueues int      `json:"num_rx_queues"`
	GSOMaxSize  int      `json:"gso_max_size"`
	GSOMaxSegs  int      `json:"gso_max_segs"`
	Alias       string   `json:"ifalias,omitempty"`
	Stats64     Stats64  `json:"stats64"`
	Umacvlan    Extra    `json:"umacvlan"`
}

// LinkInfo is what the kernel's IFLA_LINKINFO becomes.
type LinkInfo struct {
	Kind string   `json:"info_kind"` // "macvlan"
	Data InfoData `json:"info_data"`
}

// InfoData holds the macvlan attributes; the optional ones as ip prints them.
type InfoData struct {
	Mode           string   `json:"mode"`
	NoPromisc      bool     `json:"nopromisc,omitempty"`
	NoDst          bool     `json:"nodst,omitempty"`
	BCQueueLen     uint32   `json:"bcqueuelen"`
	UsedBCQueueLen uint32   `json:"usedbcqueuelen"`
	BCLim          *int32   `json:"bclim,omitempty"`         // absent when 1
	MacaddrCount   *int     `json:"macaddr_count,omitempty"` // source mode only
	MacaddrData    []string `json:"macaddr_data,omitempty"`
}

// Stats64 are the counters with the kernel driver's accounting.
type Stats64 struct {
	Rx RxStats `json:"rx"`
	Tx TxStats `json:"tx"`
}

// RxStats is one direction of Stats64.
type RxStats struct {
	Bytes      uint64 `json:"bytes"`
	Packets    uint64 `json:"packets"`
	Errors     uint64 `json:"errors"`
	Dropped    uint64 `json:"dropped"`
	OverErrors uint64 `json:"over_errors"`
	Multicast  uint64 `json:"multicast"`
}

// TxStats is the other.
type TxStats struct {
	Bytes         uint64 `json:"bytes"`
	Packets       uint64 `json:"packets"`
	Errors        uint64 `json:"errors"`
	Dropped       uint64 `json:"dropped"`
	CarrierErrors uint64 `json:"carrier_errors"`
	Collisions    uint64 `json:"collisions"`
}

// Extra is what macvlan doesn't have, under the key "umacvlan".
type Extra struct {
	Child     string            `json:"child"` // "tap"
	Netns     string            `json:"netns"` // name under /run/netns, else net:[inode]
	ParentIn  string            `json:"parent_netns"`
	Wire      string            `json:"wire"`     // "ring" or "mmsg", and why
	Offloads  []string          `json:"offloads"` // in force on the device
	Waking    string            `json:"waking"`   // "yield" or "sleep"
	WireGSO   bool              `json:"wire_offload"`
	Filtering string            `json:"filtering"` // "unicast filter" or "promiscuous", and why
	Reasons   map[string]uint64 `json:"reasons"`   // copies by reason
	Warnings  []string          `json:"warnings,omitempty"`
	Owner     map[string]string `json:"owner,omitempty"`

	Managed bool `json:"managed,omitempty"` // a configuration file made it

	Steal string `json:"steal"`           // what takes the vmacs' frames from the host's stack, and why no better
	Types string `json:"types,omitempty"` // who corrects packet types, in modes passthru and source
}

// Ledger is one parent's accounts. Each equation is 0 on a quiet switch.
type Ledger struct {
	Parent    string            `json:"parent"`
	Equations []Equation        `json:"equations"`
	Frames    map[string]uint64 `json:"frames"` // received, by reason
	Sent      map[string]uint64 `json:"sent"`   // read from vmacs, by reason
	Copies    map[string]uint64 `json:"copies"` // planned copies, by reason
}

// Equation is one line of a Ledger: Left - Right = Difference.
type Equation struct {
	Name       string `json:"name"` // "ring", "frame", "copy", "tx"
	Text       string `json:"text"` // "packets 12 = received 12 + drops 0"
	Left       uint64 `json:"left"`
	Right      uint64 `json:"right"`
	Difference int64  `json:"difference"`
}

// ExplainRequest asks what becomes of a frame, and why.
type ExplainRequest struct {
	NetnsInode uint64 `json:"netns_inode,omitempty"` // as in LinkRequest
	NetnsPath  string `json:"netns_path,omitempty"`

	Frame string `json:"frame"` // octets in hexadecimal, from the destination on
	// From is FromWire, FromHost or the name of a vmac.
	From string `json:"from"`
	// Parent says which one is meant by FromWire and FromHost. It may be left
	// out if only one has vmacs.
	Parent string `json:"parent,omitempty"`
}

// Places that a frame comes from and that are no vmac.
const (
	FromWire = "wire" // received on the parent
	FromHost = "host" // sent by the parent's own stack
)

// Status describes the daemon.
type Status struct {
	Version string   `json:"version"`
	PID     int      `json:"pid"`
	Socket  string   `json:"socket"`
	Parents []string `json:"parents"`
	Steal   []string `json:"steal"` // for each parent, as in Extra
	Vmacs   int      `json:"vmacs"`
	Ending  int      `json:"ending,omitempty"` // parents without a vmac that are not let go of yet
	Kernel  string   `json:"kernel"`

	// Features are the optional kernel features, as the daemon has found them
	// so far.
	Features []FeatureState `json:"features"`

	Config  string       `json:"config,omitempty"`  // the file that was given with --config
	Waiting []string     `json:"waiting,omitempty"` // vmacs whose parent or namespace isn't there yet
	State   *StateStatus `json:"state,omitempty"`   // nil: no --state
}

// StateStatus says how the state document is doing.
type StateStatus struct {
	File  string    `json:"file"`
	Saved time.Time `json:"saved,omitzero"`
	Error string    `json:"error,omitempty"` // of the last attempt
}

// ApplyRequest asks that what runs becomes what a file says.
type ApplyRequest struct {
	// File and Text are a file's name, for messages, and what is in it. Without
	// Text the daemon reads the file that it was started with.
	File   string `json:"file,omitempty"`
	Text   string `json:"text,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// ApplyReport says what was done, or would be.
type ApplyReport struct {
	File     string          `json:"file"`
	DryRun   bool            `json:"dry_run,omitempty"`
	Steps    []ApplyStep     `json:"steps"`
	Waiting  []string        `json:"waiting,omitempty"`
	Notes    []string        `json:"notes,omitempty"`    // what is left alone, or taken over
	Problems config.Problems `json:"problems,omitempty"` // of the file; if one is no warning nothing was done
}

// ApplyStep is one change.
type ApplyStep struct {
	Op    string `json:"op"` // add, set, delete; conflict: nothing could be done
	Name  string `json:"name"`
	Text  string `json:"text"`            // a line of a diff
	Error string `json:"error,omitempty"` // why it failed
}

// Failed reports whether anything of the file is not as it says.
func (r *ApplyReport) Failed() bool {
	if r.Problems.Failed() {
		return true
	}
	for _, s := range r.Steps {
		if s.Error != "" {
			return true
		}
	}
	return false
}

// Export is what runs, as a file.
type Export struct {
	Text  string   `json:"text"`
	Notes []string `json:"notes,omitempty"` // what the file can't say
}

// FeatureState is an optional kernel feature as it is on this machine.
type FeatureState struct {
	Name  string `json:"name"`
	Since string `json:"since"` // the first kernel that has it
	For   string `json:"for"`

	// State is "in use", "not in use", "not needed" where something better is, or
	// "unknown" as long as nothing has asked for it. Why is why it isn't in use,
	// and Instead what is done then.
	State   string `json:"state"`
	Why     string `json:"why,omitempty"`
	Instead string `json:"instead,omitempty"`
}

// DefaultSocket is where the daemon listens unless told otherwise
// (--socket, or $UMACVLAN_SOCKET).
const DefaultSocket = "/run/umacvlan/umacvlan.sock"
