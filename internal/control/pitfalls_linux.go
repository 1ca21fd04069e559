package control

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// pitfalls warns of two settings that bite when a vmac and its parent are in one
// namespace, each with the command that helps. Who answers ARP there is every
// device that the host has, so the parent answers for the vmac's address with
// its own; and a reply that leaves by another device than the one that the
// address lives on makes the reverse path filter drop what arrives on the vmac.
func (e *Engine) pitfalls(d *device, v *rules.Vmac, rp *rules.Port, p *port, ns Namespace) []string {
	if p.at.netns != ns.inode {
		return nil
	}
	var warnings []string
	parent := rp.Parent.Name
	ns.Do(func() error {
		// The larger of all and the device's own is in force, for both.
		all := sysctl("all", "arp_ignore")
		for _, name := range []string{parent, v.Name} {
			if max(all, sysctl(name, "arp_ignore")) == 0 {
				warnings = append(warnings, fmt.Sprintf(
					"%s answers ARP for any address of this host, so that %s may be reached by a wrong MAC: sysctl -w net.ipv4.conf.all.arp_ignore=1", name, v.Name))
				break
			}
		}
		allFilter, own := sysctl("all", "rp_filter"), sysctl(v.Name, "rp_filter")
		if max(allFilter, own) == 1 {
			var fix []string
			if allFilter == 1 {
				fix = append(fix, "sysctl -w net.ipv4.conf.all.rp_filter=0")
			}
			if own == 1 {
				fix = append(fix, "sysctl -w net.ipv4.conf."+strings.ReplaceAll(v.Name, ".", "/")+".rp_filter=0")
			}
			warnings = append(warnings, fmt.Sprintf(
				"the reverse path filter drops what arrives on %s while %s has a route to the sender: %s", v.Name, parent, strings.Join(fix, "; ")))
		}
		return nil
	})
	return warnings
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
