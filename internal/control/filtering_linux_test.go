package control_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// A parent with a unicast filter stays as it is, one without becomes promiscuous
// while a vmac is up; which of the two it is, is found out and shown. A passthru
// nopromisc macvlan of the kernel has such a filter, a veth has none.
func TestUnicastFilter(t *testing.T) {
	for _, c := range []struct {
		parent, verdict, already string
		promisc                  int
	}{
		{"va", "promiscuous: the driver of va has no unicast filter (inferred: its promiscuity rose from 0 to 1", "promiscuous already", 1},
		{"nic", "unicast filter: the driver of nic has one (inferred: its promiscuity stayed 0", "unicast filter", 0},
	} {
		t.Run(c.parent, func(t *testing.T) {
			lab.Need(t, lab.NeedMacvlan)
			b := newBed(t)
			parent := b.Parent
			if c.parent == "nic" {
				b.must(lab.Kernel().Add(b.Parent, &lab.Vmac{Name: "nic", Mode: classify.Passthru, Flags: classify.NoPromisc, NS: b.Parent.NS}))
				var err error
				parent, err = lab.Find(b.Parent.NS, "nic")
				b.must(err)
				b.must(parent.Up())
			}
			mac := numbered(1)
			b.done(b.Parent.NS, control.LinkRequest{
				Op: "add", Name: "x", Kind: "macvlan", Parent: c.parent, Up: ptr(true), Address: ptr(mac.String()), Data: data(classify.Bridge),
			})
			x, err := lab.Find(b.Parent.NS, "x")
			b.must(err)
			shown := func(begin string) func() bool {
				return func() bool { return strings.HasPrefix(b.links(x.NS, "x")[0].Umacvlan.Filtering, begin) }
			}
			promisc := func(n int) func() bool { return func() bool { return attrs(parent.NS, c.parent).Promisc == n } }
			listed := func(yes bool) func() bool {
				return func() bool { return slices.Contains(secondary(t, parent), mac.String()) == yes }
			}
			all := func(what string, conditions ...func() bool) {
				t.Helper()
				b.soon(what, func() bool {
					for _, ok := range conditions {
						if !ok() {
							return false
						}
					}
					return true
				})
			}
			all("it is up", shown(c.verdict), promisc(c.promisc), listed(true))
			b.soon("it hears", func() bool { return b.hears(x, mac, 10*time.Millisecond) })
			b.must(x.Down())
			all("it is down", shown("none: no vmac is up"), promisc(0), listed(false))

			// Nothing can be said before the parent is up.
			b.must(parent.Down())
			b.must(x.Up())
			all("it is up before its parent", shown("not known: "+c.parent+" is down"), listed(true))
			b.must(parent.Up())
			all("then its parent is", shown(c.verdict), promisc(c.promisc))
			b.must(x.Down())

			// Another owner of the same address.
			all("it is down again", promisc(0), listed(false))
			other, err := parent.Inject()
			b.must(err)
			b.must(other.Member(parent.Index, unix.PACKET_MR_UNICAST, mac))
			b.must(x.Up())
			all("both have it", shown(c.already), promisc(c.promisc), listed(true))
			b.must(x.Down())
			b.soon("the vmac is down", shown("none: no vmac is up"))
			all("the other one still has it", promisc(c.promisc), listed(true))
			b.must(x.Up())
			b.soon("it is up", shown(c.already))
			b.must(other.Close())
			b.soon("it hears", func() bool { return b.hears(x, mac, 10*time.Millisecond) })
			all("the vmac still has it", promisc(c.promisc), listed(true))
			b.must(x.Down())
			all("nobody has it", promisc(0), listed(false))
		})
	}
}
