package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/umacvlan/umacvlan/internal/control"
)

// fakeDaemon answers the API at a socket of its own, from what a test puts in.
type fakeDaemon struct {
	socket  string
	links   []control.Link
	ledgers []control.Ledger
	status  control.Status
	answer  control.LinkAnswer
	// refuse, if it returns something, is the answer to a request.
	refuse func(control.LinkRequest) *control.Refusal

	mu       sync.Mutex
	requests []control.LinkRequest
	queries  []string
}

func newFakeDaemon(t *testing.T) *fakeDaemon {
	t.Helper()
	d := &fakeDaemon{socket: filepath.Join(t.TempDir(), "s")}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/link", d.link)
	mux.HandleFunc("GET /v1/links", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.queries = append(d.queries, r.URL.Query().Get("netns"))
		var out []control.Link
		for _, l := range d.links {
			if names := r.URL.Query()["name"]; len(names) == 0 || names[0] == l.IfName {
				out = append(out, l)
			}
		}
		json.NewEncoder(w).Encode(out)
	})
	mux.HandleFunc("GET /v1/ledger", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(d.ledgers) })
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(d.status) })
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return d
}

func (d *fakeDaemon) link(w http.ResponseWriter, r *http.Request) {
	var req control.LinkRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests = append(d.requests, req)
	if d.refuse != nil {
		if refusal := d.refuse(req); refusal != nil {
			w.WriteHeader(http.StatusConflict)
			json.NewEncoder(w).Encode(refusal)
			return
		}
	}
	json.NewEncoder(w).Encode(d.answer)
}

// do runs a command line, whose words stand between blanks, against a daemon.
func (d *fakeDaemon) do(t *testing.T, line string) (stdout, stderr string, code int) {
	t.Helper()
	return runLine(t, "", "--socket "+d.socket+" "+line)
}

func runLine(t *testing.T, stdin, line string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	a := &app{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs,
		getenv: func(string) string { return "" },
	}
	code = a.run(fields(line))
	return out.String(), errs.String(), code
}

// expect is what a command line has to say.
type expect struct {
	line           string
	code           int
	stdout, stderr string
}

func (d *fakeDaemon) expect(t *testing.T, list ...expect) {
	t.Helper()
	for _, e := range list {
		stdout, stderr, code := d.do(t, e.line)
		if code != e.code || stdout != e.stdout || stderr != e.stderr {
			t.Errorf("umacvlan %s:\n%d %q %q, want\n%d %q %q", e.line, code, stdout, stderr, e.code, e.stdout, e.stderr)
		}
	}
}

func TestLinkAsksTheDaemon(t *testing.T) {
	d := newFakeDaemon(t)
	d.answer.Warnings = []string{"arp_ignore is 0 on vmac0"}
	d.expect(t,
		expect{line: "link add link lo name vmac0 type macvlan mode bridge"},
		expect{line: "link set lo up", stderr: "umacvlan: warning: arp_ignore is 0 on vmac0\n"},
		expect{line: "link set lo down"},
	)
	st, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if len(d.requests) != 3 {
		t.Fatalf("%d requests", len(d.requests))
	}
	r := d.requests[0]
	if r.Op != "add" || r.Name != "vmac0" || r.Parent != "lo" || *r.Data.Mode != 4 || r.NetnsPath != "" {
		t.Errorf("%+v", r)
	}
	if r.NetnsInode != st.Sys().(*syscall.Stat_t).Ino {
		t.Errorf("inode %d is not that of our namespace", r.NetnsInode)
	}
}

// TestNamespaceByPathAndPID: -n needs rights that only root has.
func TestNamespaceByPathAndPID(t *testing.T) {
	if os.Getuid() != 0 {
		skipOrFail(t, "root is needed to enter a namespace")
	}
	d := newFakeDaemon(t)
	want := fmt.Sprintf("/proc/%d/ns/net", os.Getpid()) // in the daemon's eyes
	for _, n := range []string{"/proc/self/ns/net", fmt.Sprintf("%#x", os.Getpid())} {
		d.requests = nil
		if _, stderr, code := d.do(t, "-n "+n+" link set lo up netns "+n); code != 0 {
			t.Errorf("-n %s: %d %s", n, code, stderr)
			continue
		}
		if r := d.requests[0]; r.NetnsPath != want || *r.ToNetns != want {
			t.Errorf("-n %s became %s, netns %s", n, r.NetnsPath, *r.ToNetns)
		}
	}
}

func TestRefusalsInTheWordsOfIP(t *testing.T) {
	d := newFakeDaemon(t)
	refusals := map[string]*control.Refusal{
		"einval":   {Errno: int(syscall.EINVAL)},
		"ebusy":    {Errno: int(syscall.EBUSY)},
		"einuse":   {Errno: int(syscall.EADDRINUSE), Hint: "vmac0 has this address already"},
		"enoaddr":  {Errno: int(syscall.EADDRNOTAVAIL)},
		"eexist":   {Errno: int(syscall.EEXIST)},
		"enodev":   {Errno: int(syscall.ENODEV)},
		"enotsup":  {Errno: int(syscall.EOPNOTSUPP)},
		"eperm":    {Errno: int(syscall.EPERM)},
		"extack":   {Errno: int(syscall.EINVAL), Text: "mtu less than device minimum"},
		"nodevice": {Errno: int(syscall.ENODEV), Device: "eth9"},
	}
	d.refuse = func(r control.LinkRequest) *control.Refusal { return refusals[r.Name] }
	add := func(name string) string { return "link add link lo name " + name + " type macvlan" }
	d.expect(t,
		expect{line: add("einval"), code: 2, stderr: "RTNETLINK answers: Invalid argument\n"},
		expect{line: add("ebusy"), code: 2, stderr: "RTNETLINK answers: Device or resource busy\n"},
		expect{line: add("einuse"), code: 2, stderr: "RTNETLINK answers: Address already in use\numacvlan: vmac0 has this address already\n"},
		expect{line: add("enoaddr"), code: 2, stderr: "RTNETLINK answers: Cannot assign requested address\n"},
		expect{line: add("eexist"), code: 2, stderr: "RTNETLINK answers: File exists\n"},
		expect{line: add("enodev"), code: 2, stderr: "RTNETLINK answers: No such device\n"},
		expect{line: add("enotsup"), code: 2, stderr: "RTNETLINK answers: Operation not supported\n"},
		expect{line: add("eperm"), code: 2, stderr: "RTNETLINK answers: Operation not permitted\n"},
		expect{line: add("extack"), code: 2, stderr: "Error: mtu less than device minimum.\n"},
		expect{line: add("nodevice"), code: 1, stderr: "Cannot find device \"eth9\"\n"},
	)
}

// TestWithoutDaemon: what can be said without one is said without one; the rest
// names the command that starts it.
func TestWithoutDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	d := &fakeDaemon{socket: socket}
	none := "umacvlan: no daemon answers at " + socket + "; start one with: umacvlan daemon --socket " + socket + "\n"
	d.expect(t,
		expect{line: "link show", code: 1, stderr: none},
		expect{line: "link set lo up", code: 1, stderr: none},
		expect{line: "ledger", code: 1, stderr: none},
		expect{line: "status", code: 1, stderr: none},
		expect{line: "link set nosuchdevice up", code: 1, stderr: "Cannot find device \"nosuchdevice\"\n"},
		expect{line: "link add link lo name x type macvtap mode bridge", code: 2, stderr: "Error: Unknown device type.\n" +
			"umacvlan: macvtap is not emulated; every umacvlan device is a TAP, so make one of type macvlan and move frames through that\n"},
		expect{line: "link add name x type vlan id 5", code: 2, stderr: "Error: Unknown device type.\n" +
			"umacvlan: only type macvlan is emulated; for vlan use: ip link\n"},
		expect{line: "link set lo type ipvlan", code: 1, stderr: none}, // without options the kernel doesn't look at the kind
		expect{line: "link del lo type vlan", code: 1, stderr: none},
	)
	t.Setenv("UMACVLAN_SOCKET", socket)
	if _, stderr, code := runLine(t, "", "link"); code != 1 ||
		stderr != "umacvlan: no daemon answers at "+socket+"; start one with: umacvlan daemon\n" {
		t.Errorf("%d %q", code, stderr)
	}
}

func TestShow(t *testing.T) {
	d := newFakeDaemon(t)
	down := sample()
	down.IfIndex, down.IfName, down.OperState, down.Flags = 4, "mv1", "DOWN", []string{"BROADCAST", "MULTICAST"}
	down.Umacvlan.Warnings = []string{"rp_filter is 1 on mv1"}
	d.links = []control.Link{sample(), down}
	up := "mv0@va           UP             02:00:00:00:01:01 <BROADCAST,MULTICAST,UP,LOWER_UP> \n"
	both := up + "mv1@va           DOWN           02:00:00:00:01:01 <BROADCAST,MULTICAST> \n"
	d.expect(t,
		expect{line: "-br link", stdout: both},
		expect{line: "-brief l sh", stdout: both},
		expect{line: "--brief link list up", stdout: up},
		expect{line: "-br link lst down", stdout: strings.TrimPrefix(both, up)},
		expect{line: "-br link show type macvlan", stdout: both},
		expect{line: "-br link show type vlan"},
		expect{line: "-j link show type vlan", stdout: "[]\n"},
		expect{line: "-j -p link show type vlan", stdout: "[ ]\n"},
		expect{line: "link show nosuchdevice", code: 1, stderr: "Device \"nosuchdevice\" does not exist.\n"},
		expect{line: "link show dev lo", code: 1, stderr: "Device \"lo\" does not exist.\n" +
			"umacvlan: lo exists, but it is not one of this daemon's; try: ip link show dev lo\n"},
	)
	stdout, stderr, code := d.do(t, "-d link show")
	if code != 0 || !strings.HasPrefix(stdout, bridgeDetails) || stderr != "umacvlan: warning: rp_filter is 1 on mv1\n" {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
}

func TestBatch(t *testing.T) {
	d := newFakeDaemon(t)
	d.refuse = func(r control.LinkRequest) *control.Refusal {
		if r.Name == "bad" {
			return &control.Refusal{Errno: int(syscall.EINVAL), Hint: "because"}
		}
		return nil
	}
	const good = "# comment\n\nlink add link lo name a type macvlan # more\nlink add link lo \\\n name b alias 'x y' type macvlan"
	const bad = "link add link lo name bad type macvlan\nlink add name 'a/b' type macvlan\nroute show\nlink add link lo name c type macvlan\n"
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(good+"\n"+bad), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "--socket " + d.socket + " "
	check := func(stdin, line string, code, requests int, stderr string) {
		t.Helper()
		d.requests = nil
		out, errs, c := runLine(t, stdin, at+line)
		if out != "" || errs != stderr || c != code || len(d.requests) != requests {
			t.Errorf("%s: %d %q %q %d requests, want %d %q %d", line, c, out, errs, len(d.requests), code, stderr, requests)
		}
	}
	check(good, "-b -", 0, 2, "")
	if *d.requests[1].Alias != "x y" || d.requests[1].Name != "b" {
		t.Errorf("%+v", d.requests[1])
	}
	refused := "RTNETLINK answers: Invalid argument\numacvlan: because\nCommand failed " + file + ":6\n"
	check("", "-batch "+file, 1, 3, refused)
	check("", "-force -b "+file, 1, 4, refused+
		"Error: argument \"a/b\" is wrong: \"name\" not a valid ifname\nCommand failed "+file+":7\n"+
		"Object \"route\" is unknown, try \"umacvlan help\".\nCommand failed "+file+":8\n")
	check("link add name a/b type macvlan\n", "-b -", 255, 0,
		"Error: argument \"a/b\" is wrong: \"name\" not a valid ifname\nCommand failed -:1\n")
	check("link 'a", "-b -", 1, 0, "Unterminated quoted string\n")
	check("link \\", "-b -", 1, 0, "Missing continuation line\n")
	check("", "-b /nonexistent", 1, 0, "Cannot open file \"/nonexistent\" for reading: No such file or directory\n")
}

func TestLedgerAndStatus(t *testing.T) {
	d := newFakeDaemon(t)
	d.expect(t, expect{line: "ledger", stdout: "no parent has a vmac\n"}, expect{line: "ledger --json", stdout: "[ ]\n"})
	d.ledgers = []control.Ledger{{
		Parent: "eth0",
		Equations: []control.Equation{
			{Name: "ring", Text: "packets 12 = received 12 + drops 0", Left: 12, Right: 12},
			{Name: "frame", Text: "received 12 = dispositions 11", Left: 12, Right: 11, Difference: 1},
		},
		Frames: map[string]uint64{"direct": 7, "flood": 0},
	}}
	d.status = control.Status{Version: "v1", PID: 42, Socket: "/s", Parents: []string{"eth0", "eth1"}, Vmacs: 3, Kernel: "6.18"}
	d.expect(t,
		expect{line: "ledger", stdout: "eth0:\n" +
			"  ring             packets 12 = received 12 + drops 0  difference 0\n" +
			"  frame            received 12 = dispositions 11       difference 1  <- off\n" +
			"  frames received  direct                              7\n"},
		expect{line: "status", stdout: "version  v1\nprocess  42\nsocket   /s\nkernel   6.18\nparents  eth0 eth1\nvmacs    3\n"},
	)
	for _, line := range []string{"ledger --json", "-j ledger", "status --json", "-json status"} {
		stdout, stderr, code := d.do(t, line)
		if code != 0 || stderr != "" || !json.Valid([]byte(stdout)) {
			t.Errorf("%s: %d %q %q", line, code, stdout, stderr)
		}
	}
	// Behind the verb the socket works as well.
	if _, stderr, code := runLine(t, "", "status --socket "+d.socket); code != 0 {
		t.Errorf("%d %s", code, stderr)
	}
}
