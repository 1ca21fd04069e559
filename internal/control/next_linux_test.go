package control_test

import (
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// The inode number of a namespace is given to the next one as soon as it is free,
// when the engine may not be done yet with the devices that went with the last.
func TestNextNamespace(t *testing.T) {
	b := newBed(t)
	same := 0
	for end := time.Now().Add(10 * time.Second); same < 2 && time.Now().Before(end); {
		first, err := lab.NewNS()
		b.must(err)
		d := b.vmac(lab.Vmac{Name: "x", NS: first})
		b.must(first.Close())
		var next *lab.NS
		for began := time.Now(); time.Since(began) < 200*time.Millisecond; {
			next, err = lab.NewNS()
			b.must(err)
			if next.Inode() == first.Inode() {
				break
			}
			b.must(next.Close())
			next = nil
		}
		if next == nil {
			continue
		}
		same++
		b.must(next.Do(func() error {
			a := netlink.NewLinkAttrs()
			a.Name, a.Index = "parent", d.Index
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "wire"})
		}))
		b.done(next, control.LinkRequest{Op: "add", Name: "y", Parent: "parent", Kind: "macvlan"})
		b.done(next, control.LinkRequest{Op: "delete", Name: "y"})
		b.must(next.Close())
	}
	t.Logf("%d times a namespace had the number of the one before", same)
	if same == 0 {
		t.Skip("no namespace had the number of the one before")
	}
}
