package scenario

import (
	"context"
	"strings"
	"testing"
)

// holds plays a file and wants all that it expects.
func holds(t *testing.T, src string) {
	t.Helper()
	s := mustParse(t, "title x\nname SUB 01:00:5e:11:22:33\nname unsub 01:00:5e:44:55:66\n"+src)
	for _, d := range Check(s, play(t, s)) {
		t.Errorf("line %d, %s: %s %s: %s", s.Steps[d.Step].Line, s.Steps[d.Step].String(), d.Kind, d.Who, d.What)
	}
}

// The control plane's answers and what they leave behind (KERNEL.md 3, rows 180
// to 197 of its section 8).
func TestModelControl(t *testing.T) {
	for name, src := range map[string]string{
		"same address twice": "vmac a mode bridge\nvmac b mode bridge address a down\nset b up\n answers EADDRINUSE\nset a down\nset b up\nset a up\n answers EADDRINUSE\n",
		"parent's address": "vmac a address parent down\nset a up\n answers EADDRINUSE\nset parent address 02:00:00:00:09:09\nset a up\n" +
			"send wire: ext > a\n a gets host\n",
		"address of a down sibling": "vmac a\nvmac b down\nset a address b\nset b up\n answers EADDRINUSE\nset b address a\nset b up\nshow parent\n" +
			" parent shows unicast a,b\n",
		"parent takes a vmac's": "vmac a mode bridge\nvmac v mode vepa\nset parent address a\nsend wire: ext > a\n a gets host\n tap gets host\n" +
			"send wire: a > broadcast\n v stack get broadcast\n",
		"passthru alone":   "vmac p mode passthru\nadd a\n answers EINVAL\nset p mode bridge\n answers EINVAL\ndelete p\nadd a\nadd p mode passthru\n answers EINVAL\n",
		"passthru address": "vmac p mode passthru\nset p address 02:00:00:00:05:05\nshow parent\n parent shows address 02:00:00:00:05:05\ndelete p\nshow parent\n parent shows address parent\n",
		"passthru, parent set directly": "vmac p mode passthru\nset p address 02:00:00:00:05:05\nset parent address 02:00:00:00:05:06\nset p address 02:00:00:00:05:07\n" +
			"show p\n p shows address 02:00:00:00:05:07\ndelete p\nshow parent\n parent shows address 02:00:00:00:05:06\n",
		"list goes with the mode": "vmac s mode source list ext\nset s mode bridge\nset s mode source\nshow s\n s shows list none\nset s mode bridge macaddr add ext\n answers EINVAL\n" +
			"show s\n s shows mode bridge\nset s mode source macaddr add ext\nshow s\n s shows list ext\n",
		"mtu": "vmac a\nset a mtu 1501\n answers EINVAL\nset a mtu 67\n answers EINVAL \"mtu less than device minimum\"\nset a mtu 65536\n answers EINVAL \"mtu greater than device maximum\"\n" +
			"set parent mtu 1400\nset parent mtu 1500\nshow a\n a shows mtu 1400\nset parent mtu 67\n answers EINVAL\nset parent mtu 65536\n answers EINVAL\n",
		"where a vmac can be put": "vmac a\nadd b on a\nshow b\n b shows exists yes\nadd c on none\n answers EINVAL\nadd c on missing\n answers ENODEV\nadd c on lo\n answers EINVAL\nadd c on busy\n answers EBUSY\n" +
			"delete a\nadd c on a\n answers ENODEV\nadd b\n answers EEXIST\nshow c\n c shows exists no\n",
		"bad addresses": "vmac a\nset a address 01:00:00:00:00:01\n answers EADDRNOTAVAIL\nset a address 02:00\n answers EINVAL\nadd b address 02:00\n answers EINVAL\n" +
			"set parent address 02:00\n answers EINVAL\nset parent address SUB\n answers EADDRNOTAVAIL\nset a address 02:00:00:00:09:09:07\nshow a\n a shows address 02:00:00:00:09:09\n",
		"gone": "vmac a\nvmac b\ndelete a\nset a up\n answers ENODEV\ndelete a\n answers ENODEV\nsend a: a > b\n answers ENXIO\ndelete parent\nshow b\n b shows exists no\nshow parent\n parent shows exists no\n" +
			"send wire: ext > b\n answers ENXIO\nsend host: parent > b\n answers ENXIO\nset parent up\n answers ENODEV\nadd c\n answers ENODEV\n",
		"namespaces": "vmac a mode bridge join SUB\nset a netns n\nshow a\n a shows state down\nset a up\nsend wire: ext > SUB\n stack gets multicast\nsend wire: ext > a\n a gets host\n" +
			"set a netns n\nshow a\n a shows state up\ndelete netns n\nshow a\n a shows exists no\nshow parent\n parent shows promiscuity 0 unicast none\n",
		"parent moves": "vmac a\nset parent netns n\nsend wire: ext > a\n nobody\nset parent up\nsend wire: ext > a\n a gets host\ndelete netns n\nshow a\n a shows exists no\n",
		"counts of the parent": "vmac a promisc\nvmac b allmulti\nshow parent\n parent shows promiscuity 2 allmulti 1\nset a down\nshow parent\n parent shows promiscuity 1\nset parent promisc on\nset parent promisc on\nset parent allmulti on\n" +
			"show parent\n parent shows promiscuity 2 allmulti 2\nset parent promisc off\nset b down\nshow parent\n parent shows promiscuity 0 allmulti 1\n",
		"passthru's counts": "vmac p mode passthru allmulti promisc\nshow parent\n parent shows promiscuity 1 allmulti 0\nset p allmulti off\nset p allmulti on\nset p down\nshow parent\n parent shows promiscuity 0\nset p flag nopromisc\n" +
			"set p flag null\nset p up\nset p flag nopromisc\nshow parent\n parent shows promiscuity 0\n",
		"one reference too few": "vmac p mode passthru down\nset p flag nopromisc\nshow parent\n parent shows promiscuity 4294967295\ndelete p\nadd a join SUB\nshow parent\n parent shows promiscuity 4294967295\n",
		"queue":                 "vmac a bcqueuelen 3\nvmac b bcqueuelen 7 bclim -2 down\nshow a\n a shows bcqueuelen 3 usedbcqueuelen 7 bclim -2 carrier on\nshow b\n b shows carrier off\n",
	} {
		t.Run(name, func(t *testing.T) { holds(t, src) })
	}
	s := mustParse(t, "title x\nvmac a\nvmac b address a\n")
	if _, err := NewModel().Play(context.Background(), s); err == nil || !strings.Contains(err.Error(), "vmac b: EADDRINUSE") {
		t.Errorf("a topology that can't be: %v", err)
	}
}

// What stands round the decision: states, sockets' limits, tc rules, filters
// that are out of date.
func TestModelAround(t *testing.T) {
	for name, src := range map[string]string{
		"down": "vmac a mode bridge\nvmac b mode bridge\nset a down\nsend a: a > b\n answers ENETDOWN\nset parent down\nsend b: b > ext\n nobody\n b counts tx-dropped 1\nsend host: parent > ext\n answers ENETDOWN\n" +
			"send wire: ext > b\n nobody\n parent counts nothing\nset parent up\nset parent carrier off\nsend b: b > broadcast\n nobody\n b counts tx-dropped 1\nsend wire: ext > b\n answers ENETDOWN\n" +
			"send host: parent > ext\n nobody\n parent counts tx-dropped 1\n",
		"sizes": "vmac a mode bridge\nvmac b mode bridge\nsend a: a > b len 1515\n answers EMSGSIZE\nsend a: a > b vlan 5 len 1518\n b gets host stack-type other\nsend a: a > b svlan 5 len 1518\n answers EMSGSIZE\n" +
			"send a: a > b len 13\n answers EINVAL\nsend wire: ext > b len 1515\n answers EMSGSIZE\nset parent mtu 1000\nsend wire: ext > b len 1018\n b gets host\nsend wire: ext > b len 1019\n answers ENOBUFS\n parent counts rx-dropped 1\n" +
			"set parent mtu 2000\nset a mtu 2000\nsend a: a > ext len 1519\n answers ENOBUFS\n a parent counts tx-dropped 1\n",
		"short tags": "vmac a mode bridge\nvmac b mode bridge\nsend wire: ext > b vlan 5 len 19\n nobody\n parent counts rx 1/19\nsend a: a > b vlan 5 len 19\n nobody\n a counts tx 1/19\n b counts nothing\n" +
			"send a: a > broadcast vlan 5 len 19\n nobody\n b counts rx 1/33 multicast 1\n a parent counts tx 1/19\n",
		"rules at ingress": "vmac a mode bridge\nvmac b mode bridge\nset parent ingress b\nsend wire: ext > b\n tap gets other\nsend wire: ext > a\n a gets host\nsend a: a > b\n tap gets other\n a counts tx 1/60\nsend a: a > broadcast\n b wire get broadcast\n" +
			"set parent ingress drop\nsend wire: ext > broadcast\n tap gets broadcast\nset parent ingress pass\nsend wire: ext > b\n b gets host\n",
		"rules at egress": "vmac a mode bridge\nvmac b mode bridge\nset parent egress drop\nsend a: a > b\n b gets host\nsend a: a > ext\n answers ENOBUFS\n a counts tx-dropped 1\nsend a: a > broadcast\n answers ENOBUFS\n b gets broadcast\n a counts tx-dropped 1\n" +
			"send host: parent > ext\n answers ENOBUFS\nset parent egress pass\nsend a: a > ext\n wire gets other\n",
		"broadcast address": "vmac a\nset a broadcast 01:02:03:04:05:06\nsend wire: ext > broadcast\n a gets multicast\n stack gets broadcast\nsend wire: ext > 01:02:03:04:05:06\n stack gets multicast\njoin a SUB\nsend wire: ext > broadcast\n stack gets broadcast\n" +
			"send wire: ext > 01:02:03:04:05:06\n a gets broadcast\n stack gets multicast\n",
		"a group that was left": "vmac a join SUB\nleave a SUB\nsend wire: ext > SUB\n a stack get multicast\njoin a unsub\nsend wire: ext > SUB\n stack gets multicast\nsend wire: ext > unsub\n a stack get multicast\n",
		"tags of VLAN 0":        "vmac a join SUB\nsend wire: ext > a vlan 0 pcp 3\n a gets host\nsend wire: ext > a vlan 0 vlan 7\n a gets host stack-type other\nsend wire: ext > SUB vlan 0 svlan 0\n a stack get multicast\n",
		"filters of a quiet parent": "vmac a bcqueuelen 0 down\nvmac b bcqueuelen 0 down\nset parent down\nset a up\nset b up\njoin a SUB,unsub\njoin b SUB\nset parent up\nsend wire: ext > SUB\n stack gets multicast\n parent counts rx 1/60 rx-dropped 1\n" +
			"send wire: ext > unsub\n a stack get multicast\nsend wire: ext > 01:00:5e:00:77:77\n stack gets multicast\n parent counts rx 1/60\n",
		"times":    "vmac a mode bridge\nvmac b mode bridge\nsend a: a > broadcast times 5\n b wire get broadcast times 5\n a counts tx 5/300\n b counts rx 5/370 multicast 5\n",
		"the host": "vmac a promisc allmulti\nsend host: parent > a\n wire gets other\n tap gets out\nsend host: parent > SUB\n wire gets multicast\nsend host: ext > wire\n wire gets host\n",
	} {
		t.Run(name, func(t *testing.T) { holds(t, src) })
	}
}

// What older drivers did (KERNEL.md 9), and that today's doesn't.
func TestProfiles(t *testing.T) {
	for name, c := range map[string]struct {
		src  string
		with []Profile // which ways it holds with
	}{
		"no mode source":      {"vmac a\nset a mode source\n answers EINVAL\nset a macaddr flush\n", []Profile{Linux310}},
		"no nodst":            {"vmac a\nset a flag nodst\n answers EINVAL\nset a flag nopromisc\n", []Profile{Linux310, Linux44, Linux54}},
		"EBUSY":               {"vmac a\nvmac b address a down\nset b up\n answers EBUSY\n", []Profile{Linux310, Linux44}},
		"no texts":            {"vmac a\nset a mtu 5\n answers EINVAL\n", Profiles},
		"down, unchecked":     {"vmac a\nvmac b down\njoin b SUB\nset b address a\nshow b\n b shows address a state down\nset b up\n answers EBUSY\nset a down\nset b up\nsend wire: ext > SUB\n b stack get multicast\n", []Profile{Linux310, Linux44}},
		"its own, again":      {"vmac a\nset a address a\n answers EBUSY\n", []Profile{Linux310, Linux44}},
		"passthru's own":      {"vmac p mode passthru\nset p address 02:00:00:00:09:09\nshow parent\n parent shows address parent\nshow p\n p shows address 02:00:00:00:09:09\n", []Profile{Linux310, Linux44}},
		"parent follows":      {"vmac p mode passthru\nset p address 02:00:00:00:09:09\nshow parent\n parent shows address 02:00:00:00:09:09\n", []Profile{Linux54, Current}},
		"copies of type host": {"vmac a mode source list ext\nsend wire: ext > broadcast\n a gets host\n stack gets broadcast\n", []Profile{Linux44}},
		"queue is fixed":      {"vmac a bcqueuelen 0\nsend wire: ext > broadcast\n a stack get broadcast\n", []Profile{Linux310, Linux44, Linux54}},
		"limit is ignored":    {"vmac a bclim 7 bcqueuelen 5\nshow a\n a shows bclim 1 bcqueuelen 1000\n", []Profile{Linux310, Linux44, Linux54}},
		"promisc":             {"vmac a promisc\nshow parent\n parent shows promiscuity 1\n", []Profile{Linux310}},
		"allmulti while down": {"vmac a allmulti down\nshow parent\n parent shows allmulti 1\n", []Profile{Linux310}},
		"order": {"vmac a mode bridge address 02:00:00:00:01:09\nvmac b mode bridge address 02:00:00:00:00:08\nvmac c mode bridge address 02:00:00:00:02:07\nvmac d mode bridge address 02:00:00:00:03:08\n" +
			"send wire: ext > broadcast\n c d b a get broadcast\n stack gets broadcast\n in order\n", []Profile{Linux310}},
	} {
		for _, p := range Profiles {
			s := mustParse(t, "title x\nprofile "+string(p)+"\nname SUB 01:00:5e:11:22:33\n"+c.src)
			r, err := NewModel().Play(context.Background(), s)
			if err != nil && p != Linux310 {
				t.Fatal(err)
			}
			found := []Difference{{What: "could not be played"}}
			if err == nil {
				found = Check(s, r)
			}
			want := false
			for _, w := range c.with {
				want = want || w == p
			}
			if want != (found == nil) {
				t.Errorf("%s, profile %s: holds %v, want %v: %q", name, p, found == nil, want, says(found))
			}
		}
	}
	for p, queued := range map[Profile]bool{Linux310: false, Linux44: true, Linux54: true, Current: false} {
		s := mustParse(t, "title x\nprofile "+string(p)+"\nname SUB 01:00:5e:11:22:33\nvmac a down\nset parent down\nset a up\njoin a SUB\nset parent up\nsend wire: ext > SUB\n")
		r := play(t, s)
		if x := r.Outcomes[len(r.Outcomes)-1].Explained; x.Verdict.Queued != queued {
			t.Errorf("profile %s: a group with one subscriber queued: %v", p, x.Verdict.Queued)
		}
	}
}

// A model's players may run at once, and leave the scenario as it was.
func TestModelAtOnce(t *testing.T) {
	s := mustParse(t, head+"send wire: ext > broadcast\n b1 b2 stack get broadcast\nset b1 down\n")
	before := string(s.Format())
	done := make(chan []Difference)
	for range 8 {
		go func() {
			r, err := NewModel().Play(context.Background(), s)
			if err != nil {
				t.Error(err)
			}
			done <- Check(s, r)
		}()
	}
	for range 8 {
		if d := <-done; d != nil {
			t.Error(says(d))
		}
	}
	if string(s.Format()) != before {
		t.Error("playing changed the scenario")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := NewModel().Play(ctx, s); err == nil {
		t.Error("played on after the end")
	}
}
