package main

import (
	"slices"

	"github.com/umacvlan/umacvlan/internal/control"
)

// parseShow reads what follows "link show" (ipaddr_list_flush_or_save).
func parseShow(args []string, r resolver) (linkCommand, error) {
	f := &showFilter{}
	w := &words{list: args}
	for ; w.more(); w.at++ {
		var err error
		switch word := w.word(); word {
		case "up":
			f.up = true
		case "down":
			f.down = true
		case "type":
			f.kind, err = w.next()
		case "master", "nomaster", "vrf", "group", "to", "scope", "label", "proto", "novf":
			err = usageError(`umacvlan: link show cannot select by "%s"; try: ip link show %s ...`, word, word)
		case "dev":
			if word, err = w.next(); err == nil {
				err = f.setDev(word)
			}
		default:
			if matches(word, "help") {
				return linkCommand{}, malformed("%s", linkUsage)
			}
			err = f.setDev(word)
		}
		if err != nil {
			return linkCommand{}, err
		}
	}
	if f.dev != "" && !r.device(f.dev) {
		return linkCommand{}, usageError(`Device "%s" does not exist.`, f.dev)
	}
	return linkCommand{show: f}, nil
}

func (f *showFilter) setDev(name string) error {
	if f.dev != "" {
		return duparg2("dev", name)
	}
	f.dev = name
	return nil
}

// selects says whether the filter lets a vmac through.
func (f *showFilter) selects(l *control.Link) bool {
	up := slices.Contains(l.Flags, "UP")
	return (!f.up || up) && (!f.down || !up) && (f.kind == "" || f.kind == l.LinkInfo.Kind)
}
