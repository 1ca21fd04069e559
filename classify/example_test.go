package classify_test

import (
	"fmt"

	"github.com/umacvlan/umacvlan/classify"
)

// Two bridge vmacs and one in source mode, and a broadcast that the first sends.
func ExampleTable_Explain() {
	mac := func(s string) classify.MAC {
		m, err := classify.ParseMAC(s)
		if err != nil {
			panic(err)
		}
		return m
	}
	table, err := classify.NewTable(&classify.Spec{
		Parent: mac("2:0:0:0:0:a"),
		BCLim:  classify.DefaultBCLim,
		Vmacs: []classify.Vmac{
			{Name: "b1", Mode: classify.Bridge, MAC: mac("2:0:0:0:1:1"), Up: true, MTU: 1500},
			{Name: "b2", Mode: classify.Bridge, MAC: mac("2:0:0:0:1:2"), Up: true, MTU: 1500},
			{Name: "s1", Mode: classify.Source, MAC: mac("2:0:0:0:1:3"), Up: true, MTU: 1500},
		},
	})
	if err != nil {
		panic(err)
	}
	frame := make([]byte, 60)
	classify.Broadcast.Put(frame)
	mac("2:0:0:0:1:1").Put(frame[6:])
	frame[12], frame[13] = 0x08, 0x06
	fmt.Print(table.Explain(frame, 0, classify.Meta{}))
	// Output:
	// from b1: 02:00:00:00:01:01 > ff:ff:ff:ff:ff:ff, ethertype 0x0806, 60 octets, type broadcast
	//   macvlan_queue_xmit: b1 is in mode bridge and ff:ff:ff:ff:ff:ff is a group: to the other bridge vmacs, then to the parent
	//     macvlan_broadcast: s1: its mode does not hear groups from this sender
	//     macvlan_broadcast: b2: a copy, as type broadcast
	//     macvlan_broadcast: b1: it sent the frame
	//   macvlan_queue_xmit: dev_queue_xmit on the parent
	// verdict to_both: flooded to bridge siblings and handed to the parent
	//   parent's stack no, wire yes, broadcast queue no
	// b1  02:00:00:00:01:01  bridge    up    nothing (sender): it sent the frame
	// b2  02:00:00:00:01:02  bridge    up    flood, as type broadcast
	// s1  02:00:00:00:01:03  source    up    nothing (mode_mask): its mode does not hear groups from this sender
}
