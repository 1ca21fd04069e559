package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// site is a parent of the caller's, and the device at its other end if that is
// here too: it is taken into a namespace of its own meanwhile.
type site struct {
	parent, wire *lab.Device
	home         *lab.NS
}

func newSite(parent, wire string) (_ *site, err error) {
	s := &site{}
	if s.home, err = lab.Current(); err != nil {
		return nil, err
	}
	if s.parent, err = lab.Find(s.home, parent); err != nil {
		return nil, err
	}
	if wire == "" {
		return s, nil
	}
	w, err := lab.Find(s.home, wire)
	if err != nil {
		return nil, err
	}
	ns, err := lab.NewNS()
	if err != nil {
		return nil, err
	}
	if err := move(w, ns); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	s.wire = w
	err = errors.Join(w.Up(), w.AddAddr("10.1.1.1/24"))
	for end := time.Now().Add(10 * time.Second); err == nil; time.Sleep(time.Millisecond) {
		up, e := w.Operational()
		if up || e != nil {
			err = e
			break
		}
		if time.Now().After(end) {
			err = fmt.Errorf("%s has no carrier", wire)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// move takes a device to another namespace.
func move(d *lab.Device, ns *lab.NS) error {
	err := d.NS.Do(func() error {
		return netlink.LinkSetNsFd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: d.Index}}, ns.FD())
	})
	if err != nil {
		return fmt.Errorf("move %s: %w", d.Name, err)
	}
	moved, err := lab.Find(ns, d.Name)
	if err == nil {
		*d = *moved
	}
	return err
}

// close puts the wire back where it was, up as it was while it was used.
func (s *site) close() error {
	if s.wire == nil {
		return nil
	}
	ns := s.wire.NS
	return errors.Join(move(s.wire, s.home), s.wire.Up(), ns.Close())
}
