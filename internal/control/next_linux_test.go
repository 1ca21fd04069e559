package control_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/control"
)

// The inode number of a namespace is given to the next one as soon as it is free,
// when the engine may not be done yet with the devices that went with the last: what
// has the same index there is none of them.
func TestNextNamespace(t *testing.T) {
	b := newBed(t)
	va := attrs(b.Parent.NS, "va").Index
	forget, err := b.em.Engine.Bury(b.Parent.NS.Inode(), va)
	b.must(err)
	defer forget()
	b.done(b.Parent.NS, control.LinkRequest{Op: "add", Name: "y", Parent: "va", Kind: "macvlan"})
	y := attrs(b.Parent.NS, "y").Index
	forget, err = b.em.Engine.Bury(b.Parent.NS.Inode(), y)
	b.must(err)
	b.done(b.Parent.NS, control.LinkRequest{Op: "delete", Name: "y"})
	forget()
	b.refused(b.Parent.NS, control.LinkRequest{Op: "delete", Name: "va"}, unix.EOPNOTSUPP)
}
