package main

import (
	"io"

	"github.com/umacvlan/umacvlan/internal/control"
)

// printJSON prints vmacs with the keys that ip prints for a macvlan under the
// same options; what macvlan doesn't have comes with -d under "umacvlan".
func printJSON(w io.Writer, links []control.Link, o options) error {
	list := make([]any, len(links))
	for i := range links {
		if o.brief {
			list[i] = briefObject(&links[i])
		} else {
			list[i] = linkObject(&links[i], o)
		}
	}
	return writeJSON(w, list, o.pretty)
}

func (o *object) addParent(l *control.Link) {
	switch {
	case l.LinkIndex != 0:
		o.add("link_index", l.LinkIndex)
	case l.Parent != "":
		o.add("link", l.Parent)
	}
}

func briefObject(l *control.Link) object {
	var o object
	o.addParent(l)
	return append(o,
		member{"ifname", l.IfName}, member{"operstate", l.OperState},
		member{"address", l.Address}, member{"flags", strs(l.Flags)})
}

func linkObject(l *control.Link, opt options) object {
	o := object{{"ifindex", l.IfIndex}}
	o.addParent(l)
	o = append(o, object{
		{"ifname", l.IfName}, {"flags", strs(l.Flags)}, {"mtu", l.MTU}, {"qdisc", l.Qdisc},
		{"operstate", l.OperState}, {"linkmode", l.LinkMode}, {"group", l.Group},
	}...)
	if l.TxQLen != 0 {
		o.add("txqlen", l.TxQLen)
	}
	o = append(o, object{
		{"link_type", l.LinkType}, {"address", l.Address}, {"broadcast", l.Broadcast},
	}...)
	if l.LinkNetnsID != nil {
		o.add("link_netnsid", *l.LinkNetnsID)
	}
	if opt.details > 0 {
		o = append(o, object{
			{"promiscuity", l.Promiscuity}, {"allmulti", l.Allmulti}, {"min_mtu", l.MinMTU}, {"max_mtu", l.MaxMTU},
			{"linkinfo", object{{"info_kind", l.LinkInfo.Kind}, {"info_data", infoData(&l.LinkInfo.Data)}}},
			{"inet6_addr_gen_mode", l.AddrGenMode}, {"num_tx_queues", l.NumTxQueues}, {"num_rx_queues", l.NumRxQueues},
			{"gso_max_size", l.GSOMaxSize}, {"gso_max_segs", l.GSOMaxSegs},
		}...)
	}
	if l.Alias != "" {
		o.add("ifalias", l.Alias)
	}
	if opt.stats > 0 {
		o.add("stats64", statistics(&l.Stats64, opt.stats > 1))
	}
	if opt.details > 0 {
		o.add("umacvlan", generic(l.Umacvlan))
	}
	return o
}

func infoData(d *control.InfoData) object {
	o := object{{"mode", d.Mode}}
	if d.NoPromisc {
		o.add("nopromisc", true)
	}
	if d.NoDst {
		o.add("nodst", true)
	}
	o.add("bcqueuelen", d.BCQueueLen)
	o.add("usedbcqueuelen", d.UsedBCQueueLen)
	if d.BCLim != nil {
		o.add("bclim", *d.BCLim)
	}
	if d.MacaddrCount != nil {
		o.add("macaddr_count", *d.MacaddrCount)
		if len(d.MacaddrData) > 0 {
			o.add("macaddr_data", strs(d.MacaddrData))
		}
	}
	return o
}

func statistics(s *control.Stats64, errors bool) object {
	rx := object{
		{"bytes", s.Rx.Bytes}, {"packets", s.Rx.Packets}, {"errors", s.Rx.Errors},
		{"dropped", s.Rx.Dropped}, {"over_errors", s.Rx.OverErrors}, {"multicast", s.Rx.Multicast},
	}
	tx := object{
		{"bytes", s.Tx.Bytes}, {"packets", s.Tx.Packets}, {"errors", s.Tx.Errors},
		{"dropped", s.Tx.Dropped}, {"carrier_errors", s.Tx.CarrierErrors}, {"collisions", s.Tx.Collisions},
	}
	if errors { // -s -s: counters that the macvlan driver has and never moves
		for _, k := range []string{"length_errors", "crc_errors", "frame_errors", "fifo_errors", "missed_errors"} {
			rx.add(k, 0)
		}
		for _, k := range []string{"aborted_errors", "fifo_errors", "window_errors", "heartbeat_errors"} {
			tx.add(k, 0)
		}
	}
	return object{{"rx", rx}, {"tx", tx}}
}

func strs(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
