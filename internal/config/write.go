package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// Text writes the file. What is as it would be without its key is left out.
func (c *Config) Text() string {
	var w strings.Builder
	if len(c.Parents) == 0 {
		return "parents: []\n"
	}
	w.WriteString("parents:\n")
	for i := range c.Parents {
		p := &c.Parents[i]
		fmt.Fprintf(&w, "  - name: %s\n", quote(p.Name))
		if p.Netns != "" {
			fmt.Fprintf(&w, "    netns: %s\n", quote(p.Netns))
		}
		if p.BCLim != classify.DefaultBCLim {
			fmt.Fprintf(&w, "    bclim: %d\n", p.BCLim)
		}
		if len(p.Vmacs) == 0 {
			w.WriteString("    vmacs: []\n")
			continue
		}
		w.WriteString("    vmacs:\n")
		for j := range p.Vmacs {
			p.Vmacs[j].write(&w)
		}
	}
	return w.String()
}

func (v *Vmac) write(w *strings.Builder) {
	line := func(given bool, format string, args ...any) {
		if given {
			fmt.Fprintf(w, "        "+format+"\n", args...)
		}
	}
	fmt.Fprintf(w, "      - name: %s\n", quote(v.Name))
	line(v.Netns != "", "netns: %s", quote(v.Netns))
	line(true, "mode: %s", v.Mode)
	line(v.Flags != 0, "flags: %s", flagList(v.Flags))
	line(v.MAC != 0, "mac: %q", v.MAC)
	if len(v.Sources) > 0 {
		line(true, "macaddr:")
		for _, m := range v.Sources {
			line(true, "  - %q", m)
		}
	}
	line(v.MTU != 0, "mtu: %d", v.MTU)
	line(v.BCQueueLen != classify.DefaultBCQueueLen, "bcqueuelen: %d", v.BCQueueLen)
	line(v.TxQueueLen != DefaultTxQueueLen, "txqueuelen: %d", v.TxQueueLen)
	line(!v.Up, "up: false")
	line(v.Promisc != nil, "promisc: %t", isTrue(v.Promisc))
	line(v.Allmulti != nil, "allmulticast: %t", isTrue(v.Allmulti))
	line(v.Alias != "", "alias: %s", quote(v.Alias))
	if len(v.Owner) > 0 {
		line(true, "owner:")
		for _, k := range slices.Sorted(maps.Keys(v.Owner)) {
			line(true, "  %s: %s", quote(k), quote(v.Owner[k]))
		}
	}
	if len(v.Addresses) > 0 {
		line(true, "addresses:")
		for _, a := range v.Addresses {
			line(true, "  - %q", a)
		}
	}
}

var (
	plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*$`)
	// words of YAML, of whatever version, that are no texts
	reserved = regexp.MustCompile(`^(?i:y|yes|n|no|on|off|true|false|null|nan|inf)$`)
)

// quote writes a text so that every YAML reader takes it for one.
func quote(s string) string {
	if plain.MatchString(s) && !reserved.MatchString(s) {
		return s
	}
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
	return `"` + s + `"`
}
