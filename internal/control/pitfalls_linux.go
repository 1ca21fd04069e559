package control

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// warn adds to links what bites when a vmac and its parent are in one namespace,
// each with the command that helps. Every device of a host answers ARP for every
// address of it, so the parent does for the vmac's, with its own address. And the
// reverse path filter drops what arrives on the vmac while the way back to the
// sender leads through the parent.
func (w *view) warn(links []Link) {
	shared := slices.ContainsFunc(links, func(l Link) bool { return l.Parent != "" })
	if !shared {
		return
	}
	w.ns.Do(func() error {
		// The larger of all and the device's own is in force, for both.
		arp, rp := sysctl("all", "arp_ignore"), sysctl("all", "rp_filter")
		for i := range links {
			l := &links[i]
			if l.Parent == "" {
				continue
			}
			for _, name := range []string{l.Parent, l.IfName} {
				if max(arp, sysctl(name, "arp_ignore")) == 0 {
					l.Umacvlan.Warnings = append(l.Umacvlan.Warnings, fmt.Sprintf(
						"%s answers ARP for any address of this host, so that %s may be reached by a wrong MAC: sysctl -w net.ipv4.conf.all.arp_ignore=1", name, l.IfName))
					break
				}
			}
			own := sysctl(l.IfName, "rp_filter")
			if max(rp, own) != 1 {
				continue
			}
			var fix []string
			if rp == 1 {
				fix = append(fix, "sysctl -w net.ipv4.conf.all.rp_filter=0")
			}
			if own == 1 {
				// sysctl takes a dot for a separator, and a slash for a dot.
				fix = append(fix, "sysctl -w net.ipv4.conf."+strings.ReplaceAll(l.IfName, ".", "/")+".rp_filter=0")
			}
			l.Umacvlan.Warnings = append(l.Umacvlan.Warnings, fmt.Sprintf(
				"the reverse path filter drops what arrives on %s while the way back to the sender is another: %s", l.IfName, strings.Join(fix, "; ")))
		}
		return nil
	})
}

// sysctl reads net.ipv4.conf.DEV.KEY in the thread's namespace, 0 if it isn't
// there.
func sysctl(dev, key string) int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + dev + "/" + key)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}
