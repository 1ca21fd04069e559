package classify

import (
	"encoding/json"
	"strings"
	"testing"
)

// Each frame's story, as it is printed.
func TestExplainString(t *testing.T) {
	for _, c := range []struct {
		row  string
		want string
	}{
		{"x MIX vb v1>SUB -", `
from wire: 02:00:00:00:01:03 > 01:00:5e:11:22:33, ethertype 0x88b5, 60 octets, type multicast
  macvlan_handle_frame: 01:00:5e:11:22:33 is a group
    macvlan_forward_source: no source list names 02:00:00:00:01:03
    macvlan_hash_lookup: the sender 02:00:00:00:01:03 is v1, mode vepa: heard by vepa, bridge
    macvlan_broadcast_enqueue: bit 50 is in the port's bc_filter: through the broadcast queue
`}, {"x NODST vb listed>b1 len=64 type=8100000a88b5 -", `
from wire: 02:00:00:00:0e:02 > 02:00:00:00:01:01, ethertype 0x8100, 64 octets, type other
  skb_vlan_untag: the outer tag, 0x8100 vlan 10, goes beside the frame
  macvlan_handle_frame: 02:00:00:00:01:01 is a unicast address
    macvlan_forward_source: s2 lists 02:00:00:00:0e:02: a copy, as type other
    macvlan_forward_source: s1 lists 02:00:00:00:0e:02: a copy, as type other
    macvlan_forward_source: a list that names 02:00:00:00:0e:02 has nodst: nobody else gets the frame, the parent's stack neither
verdict source_only: a source list with nodst names the sender: source copies only, not to the parent's stack
  parent's stack no, wire no, broadcast queue no
b1  02:00:00:00:01:01  bridge    up    nothing (withheld): a source list with nodst took the frame
b2  02:00:00:00:01:02  bridge    up    nothing (withheld): a source list with nodst took the frame
s1  02:00:00:00:01:03  source    up    source_copy, as type other
s2  02:00:00:00:01:04  source    up    source_copy, as type other
`}, {"x NODSTs1 b1 >b2 -", `
from b1: 02:00:00:00:01:01 > 02:00:00:00:01:02, ethertype 0x88b5, 60 octets, type other
  macvlan_queue_xmit: b2 owns 02:00:00:00:01:02 and is in mode bridge: dev_forward_skb to the parent
    macvlan_forward_source: no source list names 02:00:00:00:01:01
    macvlan_hash_lookup: b2 owns 02:00:00:00:01:02: RX_HANDLER_ANOTHER, as type host
verdict to_local: to a bridge sibling, through the parent's receive path; not onto the wire
  parent's stack no, wire no, broadcast queue no
b1  02:00:00:00:01:01  bridge    up    nothing (sender): it sent the frame
b2  02:00:00:00:01:02  bridge    up    direct, as type host
s1  02:00:00:00:01:03  source    down  nothing (not_up): it is down
s2  02:00:00:00:01:04  source    up    nothing (not_destination): it does not own the destination, and its source list does not name the sender
`}, {"x OWNLIST vb s1>bcast -", `
from wire: 02:00:00:00:01:03 > ff:ff:ff:ff:ff:ff, ethertype 0x88b5, 60 octets, type broadcast
  macvlan_handle_frame: ff:ff:ff:ff:ff:ff is a group
    macvlan_forward_source: s1 lists 02:00:00:00:01:03: a copy, as type broadcast
    macvlan_hash_lookup: the sender 02:00:00:00:01:03 is s1, mode source: to that vmac alone, whatever its filter
verdict echoed: a group from the address of a private, passthru or source vmac: to that vmac alone, not to the parent's stack
  parent's stack no, wire no, broadcast queue no
s1  02:00:00:00:01:03  source    up    source_copy, as type broadcast; echo, as type broadcast
`}, {"x LISTDOWN vb listed>pause type=8808 -", `
from wire: 02:00:00:00:0e:02 > 01:80:c2:00:00:01, ethertype 0x8808, 60 octets, type multicast
  macvlan_handle_frame: 01:80:c2:00:00:01 is a group
    macvlan_forward_source: only down vmacs list 02:00:00:00:0e:02: no copy
    macvlan_hash_lookup: no up vmac owns the sender 02:00:00:00:0e:02: heard by private, vepa, bridge, passthru
    macvlan_broadcast_enqueue: bit 96 is in the port's bc_filter: through the broadcast queue
      macvlan_broadcast: ethertype 0x8808 is never flooded
    macvlan_handle_frame: RX_HANDLER_PASS: the parent's stack gets the frame too
verdict pause_to_host: ethertype 0x8808 is never flooded: left to the parent's stack
  parent's stack yes, wire no, broadcast queue yes
`},
	} {
		r := parseRow(c.row)
		table, err := NewTable(r.spec)
		if err != nil {
			t.Fatal(err)
		}
		m := Meta{Type: slowEthTypeTrans(slowMAC(r.frame), r.spec.Parent, 0)}
		if got := "\n" + table.Explain(r.frame, r.from, m).String(); !strings.HasPrefix(got, c.want) {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
}

// Every vmac's reason in the decisions that no flood takes.
func TestExplainReasons(t *testing.T) {
	for row, want := range map[string]string{
		"x MIX vb listed>b1 -":      "p1 not_destination, b1 delivered, s1 delivered, bd not_up",
		"x MIX vb ext>sn -":         "p1 not_destination, s1 not_destination, sn source_mode, bd not_up",
		"x MIX vb p1>bcast -":       "p1 delivered, b1 echo_only, s1 echo_only, bd not_up",
		"x MIX vb v1>bcast -":       "p1 mode_mask, v1 sender, v2 delivered, s1 mode_mask, bd not_up",
		"x MIX vb ext>SUB -":        "p1 delivered, b3 not_subscribed, sn mode_mask",
		"x MIX vb listed>unsub -":   "p1 not_subscribed, s1 delivered, sn mode_mask",
		"x MIX vb ext>b1 len=13 -":  "p1 runt, bd runt",
		"x MIX b1 >bcast type=8808": "b1 pause_frame, b2 pause_frame, bd not_up",
		"x MIX v1 >b1 -":            "v1 sender, b1 wire_only, bd not_up",
		"x PTdown vb ext>unknown -": "pt vmac_down",
		"x PTdown vb ext>bcast -":   "pt not_up",
		"x PARENTDOWN b1 >b2 -":     "b1 parent_down, b2 parent_down",
		"x MTU b1 >bcast len=1019":  "b1 sender, b2 over_mtu",
	} {
		r := parseRow(row)
		table, err := NewTable(r.spec)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]Reason{}
		for _, o := range table.Explain(r.frame, r.from, Meta{Type: TypeOther}).Vmacs {
			got[o.Name] = o.Reason
		}
		for _, w := range strings.Split(want, ", ") {
			name, reason, _ := strings.Cut(w, " ")
			if got[name].Key() != reason {
				t.Errorf("%s: %s is %v, want %s", row, name, got[name], reason)
			}
		}
	}
	spec := topology("MIX")
	spec.FilterAll = false
	table, err := NewTable(spec)
	if err != nil {
		t.Fatal(err)
	}
	r := parseRow("x MIX vb ext>unsub -")
	if o := table.Explain(r.frame, FromWire, Meta{}).Vmacs[0]; o.Reason != PortFilter {
		t.Errorf("a group that the port doesn't admit: %v", o.Reason)
	}
	for _, from := range []int{-2, table.Len(), 99} {
		x := table.Explain(r.frame, from, Meta{})
		if x.Verdict != (Verdict{Reason: VmacGone}) || x.Vmacs[0].Reason != VmacGone {
			t.Errorf("explaining a vmac that isn't there, %d: %+v", from, x)
		}
	}
	for _, from := range []int{-2, -1, table.Len(), 99} {
		c, v := table.Egress(from, r.frame, Meta{}, []Copy{{Vmac: 7}})
		if v != (Verdict{Reason: VmacGone}) || len(c) != 1 || c[0].Vmac != 7 {
			t.Errorf("a vmac that isn't there, %d: %v %+v", from, c, v)
		}
	}
}

func TestExplainJSON(t *testing.T) {
	r := parseRow("x OWNLIST vb s1>bcast -")
	table, err := NewTable(r.spec)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(table.Explain(r.frame, r.from, Meta{Type: TypeBroadcast}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"from":"wire","dst":"ff:ff:ff:ff:ff:ff","src":"02:00:00:00:01:03","ethertype":34997,"len":60,"type":"broadcast","steps":[{"depth":0,"where":"macvlan_handle_frame",`,
		`"verdict":{"reason":"echoed","host":false,"queued":false,"wire":false}`,
		`"vmacs":[{"name":"s1","mode":"source","mac":"02:00:00:00:01:03","up":true,"reason":"delivered","why":"delivered","copies":[{"path":"source_copy","type":"broadcast"},{"path":"echo","type":"broadcast"}]}]`,
		`"copies":[{"vmac":0,"path":"source_copy","type":"broadcast","reason":"delivered"},`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
}
