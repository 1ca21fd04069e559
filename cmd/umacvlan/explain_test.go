package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

const explainScenario = `title One of each mode that may share a port
name SUB 01:00:5e:11:22:33
vmac b1 mode bridge join SUB
vmac b2 mode bridge
vmac v1 mode vepa
vmac s1 mode source list listed flag nodst
vmac b3 mode bridge down
set b1 down
delete b2
`

func explainFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "port.scenario")
	if err := os.WriteFile(path, []byte(explainScenario), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExplainText(t *testing.T) {
	file := explainFile(t)
	for words, want := range map[string]string{
		"ffffffffffff020000000e01 0806 0001080006040001 020000000e010a010102 0000000000000a010109 from wire": `ARP who has 10.1.1.9, tell 10.1.1.2
from wire: 02:00:00:00:0e:01 > ff:ff:ff:ff:ff:ff, ethertype 0x0806, 42 octets, type broadcast
  macvlan_handle_frame: ff:ff:ff:ff:ff:ff is a group
    macvlan_forward_source: no source list names 02:00:00:00:0e:01
    macvlan_hash_lookup: no up vmac owns the sender 02:00:00:00:0e:01: heard by private, vepa, bridge, passthru
    macvlan_broadcast_enqueue: bit 158 is in the port's bc_filter: through the broadcast queue
      macvlan_broadcast: s1: its mode does not hear groups from this sender
      macvlan_broadcast: v1: a copy, as type broadcast
      macvlan_broadcast: b2: a copy, as type broadcast
      macvlan_broadcast: b1: a copy, as type broadcast
    macvlan_handle_frame: RX_HANDLER_PASS: the parent's stack gets the frame too
verdict flooded: a group, flooded to the vmacs that hear it
  parent's stack yes, wire no, broadcast queue yes
b1  02:00:00:00:01:01  bridge    up    flood, as type broadcast
b2  02:00:00:00:01:02  bridge    up    flood, as type broadcast
v1  02:00:00:00:01:03  vepa      up    flood, as type broadcast
s1  02:00:00:00:01:04  source    up    nothing (mode_mask): its mode does not hear groups from this sender
b3  02:00:00:00:01:05  bridge    down  nothing (not_up): it is down
`,
		// Separators and their absence don't matter.
		"2:0:0:0:1:2 0x020000000e02 88-b5 00 0X0 0000 from wire": `ethertype 0x88b5, 4 octets of payload
from wire: 02:00:00:00:0e:02 > 02:00:00:00:01:02, ethertype 0x88b5, 18 octets, type other
  macvlan_handle_frame: 02:00:00:00:01:02 is a unicast address
    macvlan_forward_source: s1 lists 02:00:00:00:0e:02: a copy, as type other
    macvlan_forward_source: a list that names 02:00:00:00:0e:02 has nodst: nobody else gets the frame, the parent's stack neither
verdict source_only: a source list with nodst names the sender: source copies only, not to the parent's stack
  parent's stack no, wire no, broadcast queue no
b1  02:00:00:00:01:01  bridge    up    nothing (withheld): a source list with nodst took the frame
b2  02:00:00:00:01:02  bridge    up    nothing (withheld): a source list with nodst took the frame
v1  02:00:00:00:01:03  vepa      up    nothing (withheld): a source list with nodst took the frame
s1  02:00:00:00:01:04  source    up    source_copy, as type other
b3  02:00:00:00:01:05  bridge    down  nothing (not_up): it is down
`,
		"02:00:00:00:01:02:02:00:00:00:01:01:08:00 from b1": `an Ethernet header and no more
from b1: 02:00:00:00:01:01 > 02:00:00:00:01:02, ethertype 0x0800, 14 octets, type other
  macvlan_queue_xmit: b2 owns 02:00:00:00:01:02 and is in mode bridge: dev_forward_skb to the parent
    macvlan_forward_source: no source list names 02:00:00:00:01:01
    macvlan_hash_lookup: b2 owns 02:00:00:00:01:02: RX_HANDLER_ANOTHER, as type host
verdict to_local: to a bridge sibling, through the parent's receive path; not onto the wire
  parent's stack no, wire no, broadcast queue no
b1  02:00:00:00:01:01  bridge    up    nothing (sender): it sent the frame
b2  02:00:00:00:01:02  bridge    up    direct, as type host
v1  02:00:00:00:01:03  vepa      up    nothing (not_destination): it does not own the destination, and its source list does not name the sender
s1  02:00:00:00:01:04  source    up    nothing (not_destination): it does not own the destination, and its source list does not name the sender
b3  02:00:00:00:01:05  bridge    down  nothing (not_up): it is down
`,
		"020000000101 02000000000a 88b5 from host": `an Ethernet header and no more
from host: 02:00:00:00:00:0a > 02:00:00:00:01:01, ethertype 0x88b5, 14 octets, type outgoing
  __netif_receive_skb_core: packet type outgoing: sent or looped back by the host itself: vmacs don't hear the parent
verdict own_frame: sent or looped back by the host itself: vmacs don't hear the parent
  parent's stack no, wire yes, broadcast queue no
b1  02:00:00:00:01:01  bridge    up    nothing (own_frame): sent or looped back by the host itself: vmacs don't hear the parent
b2  02:00:00:00:01:02  bridge    up    nothing (own_frame): sent or looped back by the host itself: vmacs don't hear the parent
v1  02:00:00:00:01:03  vepa      up    nothing (own_frame): sent or looped back by the host itself: vmacs don't hear the parent
s1  02:00:00:00:01:04  source    up    nothing (own_frame): sent or looped back by the host itself: vmacs don't hear the parent
b3  02:00:00:00:01:05  bridge    down  nothing (own_frame): sent or looped back by the host itself: vmacs don't hear the parent
`,
	} {
		stdout, stderr, code := runLine(t, "", "explain --config "+file+" "+words)
		if code != 0 || stderr != "" || stdout != want {
			t.Errorf("explain %s: %d %q\n%s\nwant\n%s", words, code, stderr, stdout, want)
		}
	}
}

func TestExplainJSON(t *testing.T) {
	stdout, stderr, code := runLine(t, "", "-j explain --config "+explainFile(t)+" ffffffffffff 020000000101 0800 from b1")
	var got struct {
		Frame string
		classify.Explanation
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || stderr != "" {
		t.Fatalf("%v %d %q\n%s", err, code, stderr, stdout)
	}
	if got.Frame != "an Ethernet header and no more" || got.From != "b1" || got.Verdict.Reason != classify.ToBoth || len(got.Vmacs) != 5 ||
		got.Vmacs[1].Reason != classify.Delivered || got.Vmacs[2].Reason != classify.ModeMask || len(got.Steps) == 0 {
		t.Errorf("%s", stdout)
	}
	if !strings.HasPrefix(stdout, "{\n  \"frame\": ") || strings.Contains(stdout, "capture") {
		t.Errorf("%s", stdout)
	}
}

func TestExplainErrors(t *testing.T) {
	file := explainFile(t)
	const usage = "umacvlan: explain needs a frame and where it comes from; try: umacvlan explain ffffffffffff 020000000e01 88b5 from wire\n"
	for _, e := range []expect{
		{line: "explain", code: 1, stderr: usage},
		{line: "explain ff", code: 1, stderr: usage},
		{line: "explain ff from", code: 1, stderr: usage},
		{line: "explain from wire", code: 1, stderr: usage},
		{line: "explain ff form wire", code: 1, stderr: usage},
		{line: "explain fff from wire", code: 255, stderr: "Error: argument \"fff\" is wrong: fff has an odd number of digits\n"},
		{line: "explain ff fgf from wire", code: 255, stderr: "Error: argument \"ff fgf\" is wrong: fgf is not in hexadecimal\n"},
		{line: "explain 0x from wire", code: 255, stderr: "Error: argument \"0x\" is wrong: no octets\n"},
		{line: "explain nosuch.pcap from wire", code: 255, stderr: "Error: argument \"nosuch.pcap\" is wrong: neither octets in hexadecimal nor a capture file\n"},
		{line: "explain nosuch.pcap:3 from wire", code: 255, stderr: "Error: argument \"nosuch.pcap:3\" is wrong: neither octets in hexadecimal nor a capture file\n"},
		{line: "explain nosuch.pcap:0 from wire", code: 255, stderr: "Error: argument \"nosuch.pcap:0\" is wrong: records of a capture are counted from 1\n"},
		{line: "explain " + file + " from wire", code: 1, stderr: "umacvlan: " + file + ": neither octets in hexadecimal nor a pcap or pcapng file\n"},
		{line: "explain --config " + file + " ff from b9", code: 1, stderr: "Cannot find device \"b9\"\n"},
		{line: "explain --config " + file + " ffffffffffff 020000000105 0800 from b3", code: 2, stderr: "umacvlan: a socket on b3 can't send this frame: ENETDOWN\n"},
		{line: "explain --config " + file + " ff from wire", code: 2, stderr: "umacvlan: a socket on wire can't send this frame: EINVAL\n"},
		{line: "explain --config " + file + " " + strings.Repeat("ff", 1515) + " from b1", code: 2, stderr: "umacvlan: a socket on b1 can't send this frame: EMSGSIZE\n"},
		{line: "explain --config nosuch ff from wire", code: 1, stderr: "umacvlan: open nosuch: no such file or directory\n"},
		{line: "explain --config x --socket y ff from wire", code: 1, stderr: "umacvlan: explain goes by a scenario (--config) or by a daemon (--socket), not by both\n"},
		{line: "--socket y explain --config x ff from wire", code: 1, stderr: "umacvlan: explain goes by a scenario (--config) or by a daemon (--socket), not by both\n"},
		{line: "explain --config x --parent y ff from wire", code: 1, stderr: "umacvlan: --parent goes with a daemon; a scenario has one parent\n"},
		{line: "explain --parent y ff from b1", code: 1, stderr: "umacvlan: --parent goes with from wire and from host; b1 has only one\n"},
		{line: "explain --socket /nosuch ff from wire", code: 1, stderr: "umacvlan: no daemon answers at /nosuch; start one with: umacvlan daemon --socket /nosuch\n"},
	} {
		stdout, stderr, code := runLine(t, "", e.line)
		if code != e.code || stdout != "" || stderr != e.stderr {
			t.Errorf("umacvlan %.80s: %d %q %q, want %d %q", e.line, code, stdout, stderr, e.code, e.stderr)
		}
	}
}

// A syntax error names file and line.
func TestExplainBrokenScenario(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(file, []byte("title Broken\nvmac b1 mode bride\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := runLine(t, "", "explain --config "+file+" ff from wire")
	if code != 1 || !strings.HasPrefix(stderr, "umacvlan: "+file+":2: expected a mode") || !strings.Contains(stderr, `"bride"`) {
		t.Errorf("%d %q", code, stderr)
	}
}

// writeCapture writes frames as pcap or pcapng; of each at most snap octets.
func writeCapture(t *testing.T, name string, link layers.LinkType, snap int, frames ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var write func(gopacket.CaptureInfo, []byte) error
	end := func() error { return nil }
	if strings.HasSuffix(name, "ng") {
		w, err := pcapgo.NewNgWriter(f, link)
		if err != nil {
			t.Fatal(err)
		}
		write, end = w.WritePacket, w.Flush
	} else {
		w := pcapgo.NewWriter(f)
		if err := w.WriteFileHeader(65536, link); err != nil {
			t.Fatal(err)
		}
		write = w.WritePacket
	}
	for _, b := range frames {
		n := min(len(b), snap)
		if err := write(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: n, Length: len(b)}, b[:n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExplainCapture(t *testing.T) {
	config := explainFile(t)
	frame := func(to byte, octets int) []byte {
		b := make([]byte, octets)
		copy(b, []byte{2, 0, 0, 0, 1, to, 2, 0, 0, 0, 0x0e, 1, 0x88, 0xb5})
		return b
	}
	for _, name := range []string{"x.pcap", "x.pcapng", "12.pcap"} {
		file := writeCapture(t, name, layers.LinkTypeEthernet, 100, frame(1, 60), frame(2, 60), frame(3, 1000))
		for which, want := range map[string]string{
			"":   "ethertype 0x88b5, 46 octets of payload (record 1 of " + file + ")\nfrom wire: 02:00:00:00:0e:01 > 02:00:00:00:01:01, ethertype 0x88b5, 60 octets,",
			":1": "ethertype 0x88b5, 46 octets of payload (record 1 of " + file + ")\nfrom wire: 02:00:00:00:0e:01 > 02:00:00:00:01:01, ethertype 0x88b5, 60 octets,",
			":2": "ethertype 0x88b5, 46 octets of payload (record 2 of " + file + ")\nfrom wire: 02:00:00:00:0e:01 > 02:00:00:00:01:02, ",
			":3": "ethertype 0x88b5, 986 octets of payload (record 3 of " + file + "; the file has 100 of 1000 octets, the others are taken for 0)\nfrom wire: 02:00:00:00:0e:01 > 02:00:00:00:01:03, ethertype 0x88b5, 1000 octets,",
		} {
			stdout, stderr, code := runLine(t, "", "explain --config "+config+" "+file+which+" from wire")
			if code != 0 || !strings.HasPrefix(stdout, want) {
				t.Errorf("%s%s: %d %q\n%s\nwant %s", name, which, code, stderr, stdout, want)
			}
		}
		stdout, _, _ := runLine(t, "", "explain --json --config "+config+" "+file+":2 from wire")
		if !strings.Contains(stdout, `"capture": "record 2 of `+file+`"`) {
			t.Errorf("%s", stdout)
		}
		_, stderr, code := runLine(t, "", "explain --config "+config+" "+file+":4 from wire")
		if code != 1 || stderr != "umacvlan: "+file+": no record 4: the file has 3\n" {
			t.Errorf("%d %q", code, stderr)
		}
	}
	// A name that looks like one with a number is a name if it exists.
	file := writeCapture(t, "odd:2", layers.LinkTypeEthernet, 100, frame(1, 60))
	if stdout, _, _ := runLine(t, "", "explain --config "+config+" "+file+" from wire"); !strings.Contains(stdout, "(record 1 of "+file+")") {
		t.Errorf("%s", stdout)
	}
	for _, name := range []string{"sll.pcap", "sll.pcapng"} {
		file := writeCapture(t, name, layers.LinkTypeLinuxSLL, 100, frame(1, 60))
		_, stderr, code := runLine(t, "", "explain --config "+config+" "+file+" from wire")
		if code != 1 || stderr != "umacvlan: "+file+": record 1 has link type Linux SLL, not Ethernet\n" {
			t.Errorf("%s: %d %q", name, code, stderr)
		}
	}
	cut := writeCapture(t, "cut.pcap", layers.LinkTypeEthernet, 100, frame(1, 60))
	if err := os.Truncate(cut, 24+16+30); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := runLine(t, "", "explain --config "+config+" "+cut+" from wire"); code != 1 || !strings.Contains(stderr, ": record 1: ") {
		t.Errorf("cut short: %d %q", code, stderr)
	}
	huge := writeCapture(t, "huge.pcap", layers.LinkTypeEthernet, 14, make([]byte, maxFrame+1))
	if _, stderr, code := runLine(t, "", "explain --config "+config+" "+huge+" from wire"); code != 1 || !strings.Contains(stderr, "which is no frame") {
		t.Errorf("huge: %d %q", code, stderr)
	}
}

// What people are told of real frames.
func TestDescribeFrame(t *testing.T) {
	for send, want := range map[string]string{
		"arp request 10.0.0.2 from 10.0.0.1": "ARP who has 10.0.0.2, tell 10.0.0.1",
		"arp reply 10.0.0.1 to 10.0.0.2":     "ARP 10.0.0.1 is at 02:00:00:00:0e:01",
		"udp 10.0.0.1:1000 10.0.0.2:2000":    "IPv4 10.0.0.1 > 10.0.0.2, UDP 1000 > 2000",
		"tcp 10.0.0.1:1000 10.0.0.2:2000":    "IPv4 10.0.0.1 > 10.0.0.2, TCP 1000 > 2000 SYN",
		"udp [fe80::1]:1000 [fe80::2]:2000":  "IPv6 fe80::1 > fe80::2, UDP 1000 > 2000",
		"icmp echo 10.0.0.1 10.0.0.2":        "IPv4 10.0.0.1 > 10.0.0.2, ICMP EchoRequest",
		"frag 10.0.0.1 10.0.0.2 1 8 last":    "IPv4 10.0.0.1 > 10.0.0.2 fragment of UDP at 8",
		"frag 10.0.0.1 10.0.0.2 1 0 more":    "IPv4 10.0.0.1 > 10.0.0.2 fragment of UDP at 0",
		"nd ns fe80::2":                      "ICMPv6 NeighborSolicitation",
		"dhcp discover":                      "UDP 68 > 67, DHCP Discover",
		"lldp":                               "LinkLayerDiscovery",
		"vrrp 7":                             "VRRP router 7",
		"igmp join 239.1.1.1":                "IGMP",
		"stp":                                "STP",
		"vlan 10 pcp 3 arp request 10.0.0.2 from 10.0.0.1": "VLAN 10, ARP who has 10.0.0.2, tell 10.0.0.1",
		"svlan 20 vlan 10 len 64":                          "VLAN 20, VLAN 10, ethertype 0x88b5, 42 octets of payload",
		"type 0x1234 len 60":                               "ethertype 0x1234, 46 octets of payload",
	} {
		s, err := scenario.Parse("x", []byte("title X\nsend wire: ext > broadcast "+send+"\n"))
		if err != nil {
			t.Errorf("%s: %v", send, err)
			continue
		}
		frame, err := s.Frame(0)
		if err != nil {
			t.Errorf("%s: %v", send, err)
			continue
		}
		if got := describeFrame(frame); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q in it", send, got, want)
		}
	}
	for _, n := range []int{0, 1, 5, 12, 13} {
		if got := describeFrame(make([]byte, n)); !strings.HasPrefix(got, "malformed: ") && got != "an Ethernet header and no more" {
			t.Errorf("%d octets: %q", n, got)
		}
	}
	truncated := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6}, 0, 1, 8)
	if got := describeFrame(truncated); !strings.HasPrefix(got, "malformed: ") {
		t.Errorf("half an ARP: %q", got)
	}
}

func FuzzDescribeFrame(f *testing.F) {
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 1, 8, 0})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if s := describeFrame(frame); s == "" || strings.Contains(s, "\n") {
			t.Errorf("%q", s)
		}
	})
}

// TestExplainSession: about a running daemon, in the caller's namespace.
func TestExplainSession(t *testing.T) {
	ns := newIPNamespace(t)
	socket := filepath.Join(t.TempDir(), "s")
	d := ns.start(t, "msg=ready", "daemon", "--socket", socket)
	do := func(line string) (string, string, int) {
		return ns.do(t, append([]string{"--socket", socket}, strings.Fields(line)...)...)
	}
	must := func(line string) string {
		t.Helper()
		stdout, stderr, code := do(line)
		if code != 0 {
			t.Fatalf("%s: %d %s", line, code, stderr)
		}
		return stdout
	}
	refused := func(line string, code int, want string) {
		t.Helper()
		if stdout, stderr, got := do(line); got != code || stdout != "" || !strings.HasPrefix(stderr, want) {
			t.Errorf("%s: %d %q %q, want %d %q", line, got, stdout, stderr, code, want)
		}
	}
	refused("explain ffffffffffff 020000000e01 88b5 from wire", 2, "Error: No parent has a vmac.\n")
	for _, dev := range []string{"va", "vb"} {
		mustRun(t, "ip", "-n", string(ns), "link", "set", dev, "up")
	}
	must("link add link vb name b1 address 02:00:00:00:01:01 up type macvlan mode bridge")
	must("link add link vb name b2 address 02:00:00:00:01:02 type macvlan mode bridge")
	must("link add link vb name s1 address 02:00:00:00:01:03 up type macvlan mode source macaddr set 02:00:00:00:0e:02")

	page := must("explain 020000000102 020000000e02 88b5 from wire")
	for _, want := range []string{
		"an Ethernet header and no more\nfrom wire: 02:00:00:00:0e:02 > 02:00:00:00:01:02, ethertype 0x88b5, 14 octets, type other\n",
		"\n    macvlan_forward_source: s1 lists 02:00:00:00:0e:02: a copy, as type other\n",
		"\nb2  02:00:00:00:01:02  bridge    down  nothing (not_up): it is down\n",
		"\ns1  02:00:00:00:01:03  source    up    source_copy, as type other\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	// The next question is about what is then.
	mustRun(t, "ip", "-n", string(ns), "link", "set", "b2", "up")
	if page := must("explain 020000000102 020000000e01 88b5 from wire"); !strings.Contains(page, "\nb2  02:00:00:00:01:02  bridge    up    direct, as type host\n") {
		t.Errorf("%s", page)
	}
	if page := must("explain 020000000102 020000000101 88b5 from b1"); !strings.Contains(page, "\nverdict to_local: ") {
		t.Errorf("%s", page)
	}
	if page := must("explain ffffffffffff 020000000101 88b5 from host"); !strings.HasPrefix(page, "an Ethernet header and no more\nfrom host: ") ||
		!strings.Contains(page, "verdict own_frame: ") || !strings.Contains(page, "parent's stack no, wire yes,") {
		t.Errorf("%s", page)
	}
	var x classify.Explanation
	if err := json.Unmarshal([]byte(must("explain --json ffffffffffff 020000000e01 88b5 from wire")), &x); err != nil || x.Verdict.Reason != classify.Flooded || len(x.Vmacs) != 3 {
		t.Errorf("%v %+v", err, x)
	}
	refused("explain ffffffffffff 020000000e01 88b5 from nosuch", 1, "Cannot find device \"nosuch\"\n")
	refused("explain ffffffffffff 020000000e01 88b5 from va", 2, "RTNETLINK answers: Operation not supported\numacvlan: va is no vmac of this daemon")
	refused("explain ffffffffffff 020000000e01 88b5 --parent nosuch from wire", 1, "Cannot find device \"nosuch\"\n")
	refused("explain ffffffffffff 020000000e01 88b5 --parent va from wire", 2, fmt.Sprintf("Error: va has no vmac of this daemon.\numacvlan: vb (in %s)\n", ns))

	must("link add link va name p1 address 02:00:00:00:02:01 type macvlan mode private")
	refused("explain ffffffffffff 020000000e01 88b5 from p1", 2, "Error: p1 is down and sends nothing.\n")
	for _, from := range []string{"wire", "host"} {
		refused("explain ffffffffffff 020000000e01 88b5 from "+from, 2,
			fmt.Sprintf("Error: Several parents have vmacs.\numacvlan: say which with --parent DEV: vb (in %s), va (in %s)\n", ns, ns))
		if page := must("explain --parent va ffffffffffff 020000000e01 88b5 from " + from); !strings.Contains(page, "\np1  02:00:00:00:02:01  private   down") || strings.Contains(page, "\nb1 ") {
			t.Errorf("%s", page)
		}
	}
	d.end(t, syscall.SIGTERM)
}
