package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// Running is a vmac that is there, as the file would describe it.
type Running struct {
	Parent    Parent // without its vmacs
	ParentID  uint64 // tells parents apart
	ParentMTU int
	Vmac      Vmac   // Addresses are those of the device
	Netns     uint64 // where it lives; tells namespaces apart
	// Managed says that a file made it, and Given which of its addresses.
	Managed bool
	Given   []netip.Prefix
}

// Machine is what Diff has to ask.
type Machine struct {
	Netns  func(netns string) (id uint64, ok bool)
	Parent func(netns, name string) (id uint64, ok bool)
}

// Op is what a Step does.
type Op string

const (
	Delete Op = "delete"
	Set    Op = "set"
	Add    Op = "add"
	Adopt  Op = "adopt" // what was made by hand is the file's from now on; nothing changes
)

// Step is one thing to do. Parent and Vmac are what the file says; on a Delete
// only what runs is meant.
type Step struct {
	Op      Op
	Parent  *Parent
	Vmac    *Vmac
	Running *Running // nil on Add
	Changes []Change
	AddIP   []netip.Prefix
	DelIP   []netip.Prefix
}

// Change is one attribute that changes.
type Change struct{ Key, From, To string }

// Has reports whether an attribute changes.
func (s *Step) Has(key string) bool {
	return slices.ContainsFunc(s.Changes, func(c Change) bool { return c.Key == key })
}

// Name is the device's, for people.
func (s *Step) Name() string {
	if s.Vmac != nil {
		return s.Vmac.Name
	}
	return s.Running.Vmac.Name
}

// String is one line of a diff.
func (s *Step) String() string {
	parent, v := s.Parent, s.Vmac
	if v == nil {
		parent, v = &s.Running.Parent, &s.Running.Vmac
	}
	who := v.Name + " on " + parent.Name
	if home := parent.Home(v); home != "" {
		who += " in " + home
	}
	switch s.Op {
	case Delete:
		return "- " + who
	case Add:
		who = "+ " + who + " mode " + v.Mode.String()
		for _, p := range v.Addresses {
			who += " " + p.String()
		}
		return who
	case Adopt:
		return "  " + who + " was made by hand and is the file's from now on"
	}
	var what []string
	for _, c := range s.Changes {
		what = append(what, fmt.Sprintf("%s %s → %s", c.Key, c.From, c.To))
	}
	for _, p := range s.AddIP {
		what = append(what, "address +"+p.String())
	}
	for _, p := range s.DelIP {
		what = append(what, "address -"+p.String())
	}
	return "~ " + who + ": " + strings.Join(what, ", ")
}

// Plan is what has to be done, in an order in which each step is possible.
type Plan struct {
	Steps   []Step
	Same    []Step // what is as the file says
	Waiting []Waiting
	Notes   []string   // what is left alone
	Refused []Conflict // what can't be done
}

// Waiting is a vmac whose parent or namespace isn't there yet.
type Waiting struct {
	Parent *Parent
	Vmac   *Vmac
	For    string
}

// Conflict is a vmac of the file whose name something else has.
type Conflict struct{ Name, Text string }

// Empty reports whether nothing has to be changed.
func (p *Plan) Empty() bool {
	return !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Op != Adopt })
}

type identity struct {
	netns uint64
	name  string
}

// Diff finds the way from what runs to what a file says. What a file made and
// this one doesn't have is deleted; what was made by hand is left alone.
func Diff(run []Running, want *Config, m Machine) Plan {
	var plan Plan
	var sets, adds []Step
	there := map[identity]*Running{}
	for i := range run {
		there[identity{run[i].Netns, run[i].Vmac.Name}] = &run[i]
	}
	named := map[*Running]bool{}
	limited := map[*Parent]bool{} // bclim is the parent's: one of its vmacs carries it
	for i := range want.Parents {
		p := &want.Parents[i]
		for j := range p.Vmacs {
			v := &p.Vmacs[j]
			home, homeOK := m.Netns(p.Home(v))
			parent, parentOK := m.Parent(p.Netns, p.Name)
			if !homeOK || !parentOK {
				what := "parent " + p.Name
				if _, ok := m.Netns(p.Netns); !ok {
					what = "namespace " + p.Netns
				} else if !homeOK {
					what = "namespace " + p.Home(v)
				}
				plan.Waiting = append(plan.Waiting, Waiting{p, v, what})
				continue
			}
			r := there[identity{home, v.Name}]
			if r == nil {
				adds = append(adds, Step{Op: Add, Parent: p, Vmac: v})
				continue
			}
			named[r] = true
			anew := r.ParentID != parent || (r.Vmac.Mode == classify.Passthru) != (v.Mode == classify.Passthru)
			switch {
			case anew && !r.Managed:
				plan.Refused = append(plan.Refused, Conflict{v.Name, fmt.Sprintf(
					"%s was made by hand on %s, mode %s, and would have to be made anew; delete it first", v.Name, r.Parent.Name, r.Vmac.Mode)})
			case anew:
				plan.Steps = append(plan.Steps, Step{Op: Delete, Running: r})
				adds = append(adds, Step{Op: Add, Parent: p, Vmac: v})
			default:
				s := compare(r, p, v, !limited[p])
				limited[p] = true
				switch {
				case len(s.Changes)+len(s.AddIP)+len(s.DelIP) > 0:
					sets = append(sets, s)
				case !r.Managed:
					s.Op = Adopt
					sets = append(sets, s)
				default:
					plan.Same = append(plan.Same, s)
				}
			}
		}
	}
	for i := range run {
		r := &run[i]
		switch {
		case named[r]:
		case r.Managed:
			plan.Steps = append(plan.Steps, Step{Op: Delete, Running: r})
		default:
			plan.Notes = append(plan.Notes, fmt.Sprintf("%s on %s was made by hand and is left alone", r.Vmac.Name, r.Parent.Name))
		}
	}
	plan.Steps = append(plan.Steps, inOrder(sets, run)...)
	plan.Steps = append(plan.Steps, adds...)
	return plan
}

// compare finds what of a vmac differs from what the file says, and of its parent
// if that is asked for.
func compare(r *Running, p *Parent, v *Vmac, parent bool) Step {
	s := Step{Op: Set, Parent: p, Vmac: v, Running: r}
	differ := func(key string, from, to any) {
		if f, t := fmt.Sprint(from), fmt.Sprint(to); f != t {
			s.Changes = append(s.Changes, Change{key, f, t})
		}
	}
	now := &r.Vmac
	differ("mode", now.Mode, v.Mode)
	differ("flags", flagList(now.Flags), flagList(v.Flags))
	if v.MAC != 0 {
		differ("mac", now.MAC, v.MAC)
	}
	differ("macaddr", macList(now.Sources), macList(v.Sources))
	mtu := v.MTU
	if mtu == 0 {
		mtu = r.ParentMTU
	}
	differ("mtu", now.MTU, mtu)
	differ("bcqueuelen", now.BCQueueLen, v.BCQueueLen)
	if parent {
		differ("bclim", r.Parent.BCLim, p.BCLim)
	}
	differ("txqueuelen", now.TxQueueLen, v.TxQueueLen)
	differ("up", now.Up, v.Up)
	if v.Promisc != nil {
		differ("promisc", isTrue(now.Promisc), *v.Promisc)
	}
	if v.Allmulti != nil {
		differ("allmulticast", isTrue(now.Allmulti), *v.Allmulti)
	}
	differ("alias", quote(now.Alias), quote(v.Alias))
	if !maps.Equal(now.Owner, v.Owner) {
		differ("owner", now.Owner, v.Owner)
	}
	for _, a := range v.Addresses {
		if !slices.Contains(now.Addresses, a) {
			s.AddIP = append(s.AddIP, a)
		}
	}
	for _, a := range r.Given {
		if !slices.Contains(v.Addresses, a) {
			s.DelIP = append(s.DelIP, a)
		}
	}
	return s
}

// inOrder sorts changes so that none asks for an address that another is about
// to give up. Where two exchange theirs, one is taken down meanwhile: only up
// vmacs hold an address (macvlan_addr_busy).
func inOrder(sets []Step, run []Running) []Step {
	type held struct {
		parent uint64
		mac    classify.MAC
	}
	holds := map[held]*Running{}
	for i := range run {
		if r := &run[i]; r.Vmac.Up {
			holds[held{r.ParentID, r.Vmac.MAC}] = r
		}
	}
	// What goes down lets go of its address first.
	slices.SortStableFunc(sets, func(a, b Step) int { return downFirst(&a) - downFirst(&b) })
	var out []Step
	done := map[*Running]bool{}
	waits := func(s *Step) bool {
		if !s.Has("mac") && !(s.Has("up") && s.Vmac.Up) {
			return false
		}
		mac := s.Vmac.MAC
		if mac == 0 {
			mac = s.Running.Vmac.MAC
		}
		by := holds[held{s.Running.ParentID, mac}]
		if by == nil || by == s.Running || done[by] {
			return false
		}
		i := slices.IndexFunc(sets, func(o Step) bool { return o.Running == by })
		return i >= 0 && (sets[i].Has("mac") || downFirst(&sets[i]) == 0)
	}
	for len(sets) > 0 {
		i := slices.IndexFunc(sets, func(s Step) bool { return !waits(&s) })
		if i < 0 {
			i = 0
			first := sets[0]
			// It comes up again with its new address, after the one that waits for
			// its old one.
			by := first.Running
			out = append(out, Step{Op: Set, Parent: first.Parent, Vmac: first.Vmac, Running: by, Changes: []Change{{"down", "up", "down"}}})
			delete(holds, held{by.ParentID, by.Vmac.MAC})
			first.Changes = append(slices.Clone(first.Changes), Change{"again", "down", "up"})
			sets = append(sets[1:], first)
			continue
		}
		done[sets[i].Running] = true
		out = append(out, sets[i])
		sets = slices.Delete(sets, i, i+1)
	}
	return out
}

func downFirst(s *Step) int {
	if s.Has("up") && !s.Vmac.Up {
		return 0
	}
	return 1
}

func flagList(f classify.Flags) string {
	var s []string
	if f&classify.NoPromisc != 0 {
		s = append(s, "nopromisc")
	}
	if f&classify.NoDst != 0 {
		s = append(s, "nodst")
	}
	return "[" + strings.Join(s, ", ") + "]"
}

func macList(list []classify.MAC) string {
	s := make([]string, len(list))
	for i, m := range list {
		s[i] = m.String()
	}
	return "[" + strings.Join(s, ", ") + "]"
}

func isTrue(b *bool) bool { return b != nil && *b }
