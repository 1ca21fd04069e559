package scenario

import (
	"slices"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// promiscuity is the parent's count: what vmacs ask for, and one if it has
// secondary addresses, as it can't filter.
func (m *machine) promiscuity() int {
	n := m.promisc
	if m.uc {
		n++
	}
	spec := m.state.Spec(m.parent.ID)
	for i := range spec.Vmacs {
		v := &spec.Vmacs[i]
		switch {
		case !v.Up:
		case v.Mode == classify.Passthru:
			if v.Flags&classify.NoPromisc == 0 {
				n++
			}
		case v.Promisc && !m.profile.noPromisc:
			n++
		}
		if v.Up && v.Mode == classify.Passthru && v.Promisc && m.profile.passthruPromisc {
			n++
		}
	}
	// Once below 0 the count stands at its roof, and no reference more is taken.
	if m.promisc < 0 {
		return m.promisc
	}
	return n
}

func (m *machine) allmulticast() int {
	n := m.allmulti
	for _, v := range m.state.Spec(m.parent.ID).Vmacs {
		if v.Allmulti && v.Mode != classify.Passthru && (v.Up || m.profile.allmultiDown) {
			n++
		}
	}
	return n
}

// show says what a device looks like.
func (m *machine) show(who string) Shown {
	yes := map[bool]string{true: "on", false: "off"}
	state := map[bool]string{true: "up", false: "down"}
	if who == Port {
		if m.gone {
			return Shown{who, []Field{{ShowExists, "no"}}}
		}
		spec := m.state.Spec(m.parent.ID)
		a := spec.Addresses()
		a.Multicast = slices.DeleteFunc(a.Multicast, func(g classify.MAC) bool { return g == AllHosts })
		return Shown{who, []Field{
			{ShowExists, "yes"}, {ShowAddress, m.parent.MAC.String()}, {ShowMTU, strconv.Itoa(m.parent.MTU)},
			{ShowState, state[m.parent.Up]}, {ShowCarrier, yes[m.running()]},
			{ShowPromiscuity, strconv.FormatUint(uint64(uint32(m.promiscuity())), 10)}, {ShowAllmulti, strconv.FormatUint(uint64(uint32(m.allmulticast())), 10)},
			{ShowUnicast, macList(a.Unicast)}, {ShowMulticast, macList(a.Multicast)},
		}}
	}
	v, p := m.state.Vmac(m.vmacs[who])
	if v == nil {
		return Shown{who, []Field{{ShowExists, "no"}}}
	}
	mac := v.MAC
	if d := m.extra[v.ID]; d.address != 0 {
		mac = d.address
	}
	return Shown{who, []Field{
		{ShowExists, "yes"}, {ShowMode, v.Mode.String()}, {ShowFlags, flagWords(uint16(v.Flags))}, {ShowAddress, mac.String()},
		{ShowMTU, strconv.Itoa(v.MTU)}, {ShowState, state[v.Up]}, {ShowCarrier, yes[v.Up && v.Carrier]},
		{ShowBCQueueLen, strconv.FormatUint(uint64(v.BCQueueLen), 10)}, {ShowUsedLen, strconv.FormatUint(uint64(p.UsedBCQueueLen()), 10)},
		{ShowBCLim, strconv.Itoa(int(p.BCLim))}, {ShowList, macList(p.SourceList(v.ID))},
		{ShowUnicast, macList(v.Unicast)}, {ShowMulticast, macList(m.extra[v.ID].groups)},
	}}
}

// macList writes addresses as a Shown does.
func macList(list []classify.MAC) string {
	if len(list) == 0 {
		return "none"
	}
	var w []string
	for _, a := range list {
		w = append(w, a.String())
	}
	slices.Sort(w)
	return strings.Join(w, ",")
}
