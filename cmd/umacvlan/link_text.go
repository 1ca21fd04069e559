package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/internal/control"
)

// printText prints vmacs as ip prints a macvlan, blanks at the ends of lines
// and all (print_linkinfo of iproute2 7.1).
func printText(w io.Writer, links []control.Link, o options, p palette) error {
	var b strings.Builder
	for i := range links {
		t := textPrinter{Builder: &b, o: o, palette: p, nl: "\n"}
		if o.oneline {
			t.nl = "\\"
		}
		if o.brief {
			t.brief(&links[i])
		} else {
			t.link(&links[i])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type textPrinter struct {
	*strings.Builder
	o       options
	palette palette
	nl      string
}

func (t *textPrinter) f(format string, a ...any) { fmt.Fprintf(t, format, a...) }

// nameAndLink is NAME@PARENT, or NAME@ifN where the parent lives elsewhere.
func nameAndLink(l *control.Link) string {
	switch {
	case l.LinkIndex != 0:
		return fmt.Sprintf("%s@if%d", l.IfName, l.LinkIndex)
	case l.Parent != "":
		return l.IfName + "@" + l.Parent
	}
	return l.IfName
}

func (t *textPrinter) briefHead(l *control.Link) {
	t.WriteString(t.palette.name(fmt.Sprintf("%-16s ", nameAndLink(l))))
	t.WriteString(t.palette.state(l.OperState, fmt.Sprintf("%-14s ", l.OperState)))
}

func (t *textPrinter) brief(l *control.Link) {
	t.briefHead(l)
	t.WriteString(t.palette.mac(l.Address + " "))
	t.f("<%s> \n", strings.Join(l.Flags, ","))
}

func (t *textPrinter) link(l *control.Link) {
	t.f("%d: %s<%s> mtu %d qdisc %s state %smode %s group %s ", l.IfIndex,
		t.palette.name(nameAndLink(l)+": "), strings.Join(l.Flags, ","), l.MTU, l.Qdisc,
		t.palette.state(l.OperState, l.OperState+" "), l.LinkMode, l.Group)
	if l.TxQLen != 0 {
		t.f("qlen %d", l.TxQLen)
	}
	t.f("%s    link/%s %s brd %s", t.nl, l.LinkType, t.palette.mac(l.Address), t.palette.mac(l.Broadcast))
	t.WriteString(linkNetns(l))
	if t.o.details > 0 {
		t.details(l)
	}
	if l.Alias != "" {
		t.f("%s    alias %s", t.nl, l.Alias)
	}
	if t.o.stats > 0 {
		t.WriteString(t.nl)
		t.statistics(&l.Stats64)
	}
	t.WriteString("\n")
}

func (t *textPrinter) details(l *control.Link) {
	t.f(" promiscuity %d allmulti %d minmtu %d maxmtu %d ", l.Promiscuity, l.Allmulti, l.MinMTU, l.MaxMTU)
	t.f("%s    %s", t.nl, kindText(l))
	t.f("addrgenmode %s numtxqueues %d numrxqueues %d gso_max_size %d gso_max_segs %d ",
		l.AddrGenMode, l.NumTxQueues, l.NumRxQueues, l.GSOMaxSize, l.GSOMaxSegs)
	t.extra(&l.Umacvlan)
}

// kindText is the kind and macvlan_print_opt, with a blank at the end.
func kindText(l *control.Link) string {
	var b strings.Builder
	d := &l.LinkInfo.Data
	fmt.Fprintf(&b, "%s mode %s ", l.LinkInfo.Kind, d.Mode)
	if d.NoPromisc {
		b.WriteString("nopromisc ")
	}
	if d.NoDst {
		b.WriteString("nodst ")
	}
	fmt.Fprintf(&b, "bcqueuelen %d usedbcqueuelen %d ", d.BCQueueLen, d.UsedBCQueueLen)
	if d.BCLim != nil {
		fmt.Fprintf(&b, "bclim %d ", *d.BCLim)
	}
	if d.MacaddrCount != nil {
		fmt.Fprintf(&b, "remotes (%d) ", *d.MacaddrCount)
		for _, mac := range d.MacaddrData {
			fmt.Fprintf(&b, "%s ", mac)
		}
	}
	return b.String()
}

// linkNetns is how ip says where a parent is that lives elsewhere.
func linkNetns(l *control.Link) string {
	switch {
	case l.LinkNetns != "":
		return " link-netns " + l.LinkNetns
	case l.LinkNetnsID != nil && *l.LinkNetnsID >= 0:
		return fmt.Sprintf(" link-netnsid %d", *l.LinkNetnsID)
	case l.LinkNetnsID != nil:
		return " link-netnsid unknown"
	}
	return ""
}

// extra is what macvlan doesn't have, on a line of its own.
func (t *textPrinter) extra(e *control.Extra) {
	offloads := "none"
	if len(e.Offloads) > 0 {
		offloads = strings.Join(e.Offloads, ",")
	}
	wireOffload := "off"
	if e.WireGSO {
		wireOffload = "on"
	}
	t.f("%s    umacvlan child %s netns %s parent-netns %s wire %s waking %s wire-offload %s offloads %s filter %s steal %s ",
		t.nl, e.Child, e.Netns, e.ParentIn, e.Wire, e.Waking, wireOffload, offloads, e.Filtering, e.Steal)
	if e.Types != "" {
		t.f("types %s ", e.Types)
	}
	if len(e.Owner) > 0 {
		t.WriteString("owner ")
		for _, k := range slices.Sorted(maps.Keys(e.Owner)) {
			t.f("%s=%s ", k, e.Owner[k])
		}
	}
	if t.o.stats == 0 {
		return
	}
	for i, k := range slices.Sorted(maps.Keys(e.Reasons)) {
		if i == 0 {
			t.f("%s    umacvlan reasons ", t.nl)
		}
		t.f("%s %d ", k, e.Reasons[k])
	}
}

// statistics is print_stats64. What the macvlan driver never counts is 0 there,
// and is 0 here.
func (t *textPrinter) statistics(s *control.Stats64) {
	rx := []uint64{s.Rx.Bytes, s.Rx.Packets, s.Rx.Errors, s.Rx.Dropped, 0, s.Rx.Multicast}
	tx := []uint64{s.Tx.Bytes, s.Tx.Packets, s.Tx.Errors, s.Tx.Dropped, s.Tx.CarrierErrors, s.Tx.Collisions}
	errors := []uint64{0, 0, 0, 0, s.Rx.OverErrors}
	widths := []int{len("RX errors:"), len("packets"), len("errors"), len("dropped"), len("heartbt"), len("overrun"), len("compressed")}
	if !t.o.human {
		for i := range rx {
			widths[i] = max(widths[i], digits(rx[i]), digits(tx[i]))
		}
		if t.o.stats > 1 {
			widths[5] = max(widths[5], digits(s.Rx.OverErrors))
		}
	}
	t.table("RX: ", widths, []string{"bytes", "packets", "errors", "dropped", "missed", "mcast"}, rx)
	if t.o.stats > 1 {
		t.WriteString(t.nl)
		t.errorTable("RX errors:", widths, []string{"length", "crc", "frame", "fifo", "overrun"}, errors)
	}
	t.WriteString(t.nl)
	t.table("TX: ", widths, []string{"bytes", "packets", "errors", "dropped", "carrier", "collsns"}, tx)
	if t.o.stats > 1 {
		t.WriteString(t.nl)
		t.errorTable("TX errors:", widths, []string{"aborted", "fifo", "window", "heartbt"}, make([]uint64, 4))
	}
}

func (t *textPrinter) table(title string, widths []int, heads []string, values []uint64) {
	t.f("    %s", title)
	for i, h := range heads {
		w := widths[i]
		if i == 0 {
			w -= len(title)
		}
		t.f("%*s ", w, h)
	}
	t.f("%*s%s    ", widths[6], "", t.nl)
	for i, v := range values {
		t.f("%*s ", widths[i], t.number(v))
	}
}

func (t *textPrinter) errorTable(title string, widths []int, heads []string, values []uint64) {
	t.f("    %s%*s", title, widths[0]-len(title), "")
	for i, h := range heads {
		t.f(" %*s", widths[i+1], h)
	}
	if len(heads) < 5 {
		// The column of carrier changes, which nothing here counts.
		t.f(" %*s", widths[5], "")
	}
	t.f("%s%*s", t.nl, widths[0]+5, "")
	for i, v := range values {
		t.f("%*s ", widths[i+1], t.number(v))
	}
}

// number is print_num: with -h a count of at least 1000 (1024 with -iec) is cut
// down to about three digits.
func (t *textPrinter) number(v uint64) string {
	base := uint64(1000)
	suffix := ""
	if t.o.iec {
		base, suffix = 1024, "i"
	}
	if !t.o.human || v < base {
		return strconv.FormatUint(v, 10)
	}
	const prefixes = "kMGTPE"
	power, i := base, 0
	for ; v/base >= power && i < len(prefixes)-1; i++ {
		power *= base
	}
	precision := 2
	for limit := uint64(10); precision > 0 && v/power >= limit; limit *= 10 {
		precision--
	}
	return fmt.Sprintf("%.*f%c%s", precision, float64(v)/float64(power), prefixes[i], suffix)
}

func digits(v uint64) int { return len(strconv.FormatUint(v, 10)) }
