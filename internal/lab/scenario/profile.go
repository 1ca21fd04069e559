package scenario

import (
	"cmp"
	"slices"
	"syscall"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// profile is what an older driver did otherwise, laid round the rules of today.
// The zero value changes nothing.
type profile struct {
	noSource   bool   // there was no mode source, and no list
	flags      uint16 // those that were known; 0: all
	fixedQueue bool   // bcqueuelen and bclim were not there: 1000 frames, and
	queue      queue

	hostCopies bool // source copies were always of type host
	lastOctet  bool // the hash took the last octet: order only

	busy          string // what a conflict of addresses was answered
	noTexts       bool   // there was no extended ack
	uncheckedDown bool   // a vmac that is down could be given any address
	recheckSame   bool   // its own address was in use when a vmac was given it again
	ownAddress    bool   // a passthru vmac's address left the parent alone

	noPromisc       bool // promisc was not brought to the parent,
	passthruPromisc bool // or for passthru too
	allmultiDown    bool // allmulti was, while down as well
}

// queue is which groups went through a broadcast queue.
type queue uint8

const (
	queueByLimit queue = iota // as bclim says
	queueAlways               // all that the port's filter admits
	queueAll                  // all: the port had no filter
	queueNone                 // none, and the port had no filter
)

// profiles hold what section 9 of the kernel reference found in the sources.
var profiles = map[Profile]profile{
	Current: {},
	Linux54: {flags: 1, fixedQueue: true, queue: queueAlways, passthruPromisc: true},
	Linux44: {
		flags: 1, fixedQueue: true, queue: queueAll, hostCopies: true,
		busy: "EBUSY", noTexts: true, uncheckedDown: true, recheckSame: true, ownAddress: true, passthruPromisc: true,
	},
	Linux310: {
		noSource: true, flags: 1, fixedQueue: true, queue: queueNone, lastOctet: true,
		busy: "EBUSY", noTexts: true, uncheckedDown: true, recheckSame: true, ownAddress: true, noPromisc: true, allmultiDown: true,
	},
}

// change makes the decision that the older driver would have made.
func (p *profile) change(s *classify.Spec) {
	switch p.queue {
	case queueAlways:
		s.BCLim = 0
	case queueAll:
		s.BCLim, s.FilterAll = 0, true
	case queueNone:
		s.BCLim, s.FilterAll = -1, true
	}
}

// request takes out of a request what an older driver didn't know, and refuses
// what it did know and had no use for.
func (p *profile) request(d *rules.Data) Answer {
	if d.Flags != nil && p.flags != 0 && *d.Flags&^p.flags != 0 {
		return errno(syscall.EINVAL)
	}
	if p.noSource {
		if d.Mode != nil && *d.Mode == uint32(classify.Source) {
			return errno(syscall.EINVAL)
		}
		d.MacaddrMode, d.Macaddr, d.MacaddrData = nil, nil, nil
	}
	if p.fixedQueue {
		d.BCQueueLen, d.BCLim = nil, nil
	}
	return Answer{}
}

func (p *profile) answer(a Answer) Answer {
	if p.busy != "" && a.Errno == "EADDRINUSE" {
		a.Errno = p.busy
	}
	if p.noTexts {
		a.Text = ""
	}
	return a
}

// setAddress answers where an older driver would have answered otherwise, and
// reports whether it did.
func (p *profile) setAddress(m *machine, v *rules.Vmac, mac classify.MAC) (Answer, bool) {
	d := m.extra[v.ID]
	mine := v.MAC
	if d.address != 0 {
		mine = d.address
	}
	switch {
	case !mac.IsValid():
	case p.recheckSame && v.Up && (mac == mine || p.ownAddress && v.Mode == classify.Passthru && mac == m.parent.MAC):
		return Answer{Errno: p.busy}, true
	case p.ownAddress && v.Mode == classify.Passthru:
		d.address = mac
		return Answer{}, true
	case p.uncheckedDown && !v.Up:
		if _, a, _ := rules.Apply(m.state, rules.SetAddress{Vmac: v.ID, Address: macBytes(mac)}); a.Errno == syscall.EADDRINUSE {
			m.renew(v, mac)
			return Answer{}, true
		}
	}
	return Answer{}, false
}

func macBytes(m classify.MAC) []byte { b := m.Bytes(); return b[:] }

// renew gives a vmac that is down an address that the rules refuse: at its
// creation they don't, so it is made once more.
func (m *machine) renew(v *rules.Vmac, mac classify.MAC) {
	d := &rules.Data{Mode: ptr(uint32(v.Mode)), Flags: ptr(uint16(v.Flags))}
	for _, e := range m.port().Sources {
		if e.Vmac == v.ID {
			d.MacaddrMode = ptr(rules.MacaddrSet)
			d.MacaddrData = append(d.MacaddrData, macBytes(e.MAC))
		}
	}
	m.apply(rules.DelLink{Vmac: v.ID})
	a := m.apply(rules.NewLink{
		Name: v.Name, Netns: v.Netns, Kind: rules.Kind, Link: &m.parent, Random: mac, MTU: ptr(uint32(v.MTU)), Data: d,
	})
	m.vmacs[v.Name], m.extra[a.Vmac] = a.Vmac, m.extra[v.ID]
	m.seen(m.vmac(v.Name), func(r *rules.VmacSeen) {
		r.Broadcast, r.Promisc, r.Allmulti, r.Groups = v.Broadcast, v.Promisc, v.Allmulti, v.Groups
	})
}

// copies changes what the decision planned.
func (p *profile) copies(s *classify.Spec, list []classify.Copy) {
	if p.hostCopies {
		for i := range list {
			if list[i].Path == classify.SourceCopy {
				list[i].Type = classify.TypeHost
			}
		}
	}
	if p.lastOctet {
		slices.SortStableFunc(list, func(a, b classify.Copy) int {
			v, w := &s.Vmacs[a.Vmac], &s.Vmacs[b.Vmac]
			return cmp.Or(cmp.Compare(byte(v.MAC>>40), byte(w.MAC>>40)), cmp.Compare(w.UpSeq, v.UpSeq))
		})
	}
}
