package programs

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// patience is how long a condition is waited for: a machine may be busy.
const patience = 30 * time.Second

// bed is the place of one test: machines, which are network namespaces, and a
// daemon of its own.
type bed struct {
	*testing.T
	dir      string
	socket   string
	machines []*machine
	checked  bool // that a vmac carried bytes
}

// newBed runs the test in parallel to the others. What every test here has to
// show when it ends is looked at in a cleanup: no macvlan of the kernel's in any
// of its namespaces, a ledger that balances, and bytes in our counters.
func newBed(t *testing.T) *bed {
	t.Helper()
	t.Parallel()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	b := &bed{T: t, dir: t.TempDir()}
	b.socket = filepath.Join(b.dir, "s")
	b.Cleanup(func() {
		for _, m := range b.machines {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	home := b.machine("home")
	d := home.start("umacvlan", "daemon", "--socket", b.socket)
	b.Cleanup(func() {
		if !t.Failed() && !t.Skipped() {
			b.verify(home)
		}
		d.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the daemon said:\n%s", d.text())
		}
	})
	d.waitFor("msg=ready")
	return b
}

// machine adds a namespace with loopback and without IPv6.
func (b *bed) machine(name string) *machine {
	b.Helper()
	ns, err := lab.NewNS()
	if err != nil {
		b.Fatal(err)
	}
	m := &machine{NS: ns, bed: b, name: name}
	b.machines = append(b.machines, m)
	for _, which := range []string{"all", "default"} {
		m.sysctl("ipv6/conf/"+which+"/disable_ipv6", "1")
	}
	m.sh("ip link set lo up")
	return m
}

// join makes a cable between two machines' devices, both up.
func (b *bed) join(one *machine, name string, mac string, other *machine, otherName, otherMAC string) {
	b.Helper()
	hw := func(s string) net.HardwareAddr {
		a, err := net.ParseMAC(s)
		if err != nil {
			b.Fatal(err)
		}
		return a
	}
	err := lab.Veth(&lab.Device{NS: one.NS, Name: name, MAC: hw(mac)}, &lab.Device{NS: other.NS, Name: otherName, MAC: hw(otherMAC)}, 1500)
	if err != nil {
		b.Fatal(err)
	}
}

const (
	hostMAC  = "02:00:00:00:00:0a"
	otherMAC = "02:00:00:00:00:0b"
	vmacMAC  = "02:00:00:00:01:01"
)

// pair is the bed of most tests: a host with eth0, another machine at the other
// end of its cable with 10.0.0.9, and a guest that has a vmac of the host's.
type pair struct {
	*bed
	host, other, guest *machine
}

// newPair makes the guest's vmac0, up and with 10.0.0.2/24, and waits until it
// is reached: without listen-all the daemon hears within a second that it is up.
func newPair(t *testing.T) *pair {
	t.Helper()
	b := newBed(t)
	p := &pair{b, b.machine("host"), b.machine("other"), b.machine("guest")}
	b.join(p.host, "eth0", hostMAC, p.other, "eth0", otherMAC)
	p.other.sh("ip addr add 10.0.0.9/24 dev eth0")
	p.host.sh("umacvlan link add link eth0 name vmac0 address " + vmacMAC + " netns " + p.guest.Path() + " type macvlan mode bridge")
	p.guest.sh("ip link set vmac0 up && ip addr add 10.0.0.2/24 dev vmac0")
	p.guest.pings("10.0.0.9")
	return p
}

// within waits for a condition. state, if given, is what to say without it.
func (b *bed) within(what string, ok func() bool, state ...func() string) {
	b.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			for _, s := range state {
				what += "\n" + s()
			}
			b.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// carried asserts that our counters of a vmac have at least so many bytes.
func (b *bed) carried(at *machine, vmac string, rx, tx uint64) {
	b.Helper()
	b.checked = true
	var l struct {
		Stats64 struct {
			Rx, Tx struct{ Bytes, Packets uint64 }
		}
	}
	b.within("counters of "+vmac, func() bool {
		var links []json.RawMessage
		at.json(&links, "umacvlan", "-s", "-j", "link", "show", vmac)
		if len(links) != 1 {
			b.Fatalf("%d links named %s", len(links), vmac)
		}
		if err := json.Unmarshal(links[0], &l); err != nil {
			b.Fatal(err)
		}
		return l.Stats64.Rx.Bytes >= rx && l.Stats64.Tx.Bytes >= tx
	})
	b.Logf("%s carried %d bytes in %d packets in, %d in %d out", vmac, l.Stats64.Rx.Bytes, l.Stats64.Rx.Packets, l.Stats64.Tx.Bytes, l.Stats64.Tx.Packets)
}

// verify is what each test ends with.
func (b *bed) verify(home *machine) {
	if !b.checked {
		b.Error("the test has not looked at our counters")
	}
	for _, m := range b.machines {
		if m.reference {
			continue
		}
		var links []struct {
			IfName   string
			LinkInfo struct {
				Kind string `json:"info_kind"`
			}
		}
		m.json(&links, "ip", "-d", "-j", "link", "show")
		if len(links) == 0 {
			b.Errorf("%s: ip -d link lists nothing", m.name)
		}
		for _, l := range links {
			if strings.HasPrefix(l.LinkInfo.Kind, "macv") || strings.HasPrefix(l.LinkInfo.Kind, "ipv") {
				b.Errorf("%s: %s is a %s of the kernel's", m.name, l.IfName, l.LinkInfo.Kind)
			}
		}
	}
	var ledgers []control.Ledger
	balanced := func() bool {
		home.json(&ledgers, "umacvlan", "ledger", "--json")
		for _, l := range ledgers {
			for _, e := range l.Equations {
				if e.Difference != 0 {
					return false
				}
			}
		}
		return true
	}
	for end := time.Now().Add(patience); !balanced(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.Errorf("the ledger doesn't balance: %+v", ledgers)
			return
		}
	}
}
