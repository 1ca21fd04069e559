package classify

import (
	"fmt"
	"strings"
)

// names are the addresses that the rows speak of.
var names = map[string]string{
	"parent": "02:00:00:00:00:0a", "ext": "02:00:00:00:0e:01", "listed": "02:00:00:00:0e:02", "unknown": "02:00:00:00:77:77",
	"bcast": "ff:ff:ff:ff:ff:ff", "SUB": "01:00:5e:11:22:33", "unsub": "01:00:5e:44:55:66", "STP": "01:80:c2:00:00:00",
	"allhosts": "01:00:5e:00:00:01", "SUB6": "33:33:5e:11:22:33", "ffffffff": "03:00:ff:ff:ff:ff",
	"vrrp": "01:00:5e:00:00:12", "mcsrc": "03:00:00:00:00:01", "zero": "00:00:00:00:00:00",
	"pause": "01:80:c2:00:00:01", "lacp": "01:80:c2:00:00:02", "eapol": "01:80:c2:00:00:03", "lldp": "01:80:c2:00:00:0e",
	"sol": "33:33:ff:12:34:56", "sol2": "33:33:ff:77:88:99", "ra": "33:33:00:00:00:01", "rs": "33:33:00:00:00:02",
	"mld": "33:33:00:00:00:16", "igmp": "01:00:5e:00:00:16", "mdns": "01:00:5e:00:00:fb",
	"ptp": "01:1b:19:00:00:00", "cdp": "01:00:0c:cc:cc:cc", "virt": "00:00:5e:00:01:01",
}

func named(s string) MAC {
	if a, ok := names[s]; ok {
		s = a
	}
	m, err := ParseMAC(s)
	if err != nil {
		panic(fmt.Sprintf("no address %q", s))
	}
	return m
}

// topologies are those of section 8: a vmac is "name:mode:address:words", the
// words being down, joined groups after +, listed senders after <, mtu=, the
// flags, promisc and allmulti. Every device joins allhosts, and up comes in the
// order of the list.
var topologies = map[string]string{
	"MIX": `p1:private:01:+SUB p2:private:02 v1:vepa:03:+SUB v2:vepa:04 b1:bridge:05:+SUB b2:bridge:06:+SUB b3:bridge:07
		s1:source:08:<listed s2:source:09:<listed sn:source:0a:+SUB bd:bridge:0b:down`,
	"FRAG":         `p1:private:01:+SUB b1:bridge:02:+SUB b2:bridge:03:+SUB s1:source:04:+SUB,<listed`,
	"PT":           `pt:passthru:0a:+SUB`,
	"PTdown":       `pt:passthru:0a:+SUB,down`,
	"NODST":        `b1:bridge:01 b2:bridge:02 s1:source:03:<listed,nodst s2:source:04:<listed`,
	"NODSTs1":      `b1:bridge:01 b2:bridge:02 s1:source:03:<listed,nodst,down s2:source:04:<listed`,
	"NODSTs1s2":    `b1:bridge:01 b2:bridge:02 s1:source:03:<listed,nodst,down s2:source:04:<listed,down`,
	"NODSTb1":      `b1:bridge:01 b2:bridge:02 s1:source:03:<02:00:00:00:01:01,nodst`,
	"OWNLIST":      `s1:source:03:<02:00:00:00:01:03`,
	"LISTDOWN":     `s1:source:03:<listed,down b1:bridge:01`,
	"VRRPp":        `vr:private:virt:+vrrp o1:vepa:02:+vrrp`,
	"VRRPb":        `vr:bridge:virt:+vrrp o1:vepa:02:+vrrp`,
	"VRRPv":        `vr:vepa:virt:+vrrp o1:vepa:02:+vrrp`,
	"MTU":          `b1:bridge:01 b2:bridge:02:mtu=1000`,
	"JUMBO":        `b1:bridge:01:mtu=9000 b2:bridge:02:mtu=9000`,
	"BCQ":          `b1:bridge:01 b2:bridge:02`,
	"PROMISC":      `b1:bridge:01:promisc b2:bridge:02`,
	"ALLMULTI":     `b1:bridge:01:allmulti b2:bridge:02`,
	"PROTO":        `p1:private:01:+ra v1:vepa:02:+ra b1:bridge:03:+ra,+sol b2:bridge:04:+ra`,
	"PROTOjoined":  `p1:private:01:+ra v1:vepa:02:+ra b1:bridge:03:+ra,+sol,+STP,+lacp,+eapol,+lldp,+ptp,+cdp,+pause b2:bridge:04:+ra`,
	"PARENTEQ":     `b1:bridge:0a b2:bridge:02 v1:vepa:03`,
	"SOURCES":      `s0:source:01:<listed s1:source:02:<listed s2:source:03:<listed s3:source:04:<listed`,
	"PARENTDOWN":   `b1:bridge:01 b2:bridge:02`,
	"BROADCASTMAC": `b1:bridge:01:bc=01:02:03:04:05:06 b2:bridge:02`,
}

func topology(name string) *Spec {
	text, ok := topologies[name]
	if !ok {
		panic("no topology " + name)
	}
	spec := parseTopology(text)
	spec.ParentDown = name == "PARENTDOWN"
	return spec
}

// parseTopology makes a port on a veth, which has no unicast filter: the port's
// filters are all ones.
func parseTopology(text string) *Spec {
	spec := &Spec{Parent: named("parent"), FilterAll: true, BCLim: DefaultBCLim}
	for i, word := range strings.Fields(text) {
		f := strings.SplitN(word, ":", 4)
		mode, err := ParseMode(f[1])
		if err != nil {
			panic(err)
		}
		addr := "02:00:00:00:01:" + f[2]
		if f[2] == "0a" && mode != Source {
			addr = "parent"
		} else if f[2] == "virt" {
			addr = f[2]
		}
		v := Vmac{
			Name: f[0], Mode: mode, MAC: named(addr), Up: true, UpSeq: uint64(i + 1), MTU: 1500,
			Groups: []MAC{named("allhosts")}, FilterKey: 0x517cc1b7 * uint32(i+1), BCQueueLen: DefaultBCQueueLen,
		}
		if len(f) == 4 {
			for _, w := range strings.Split(f[3], ",") {
				switch {
				case w == "down":
					v.Up = false
				case w == "promisc":
					v.Promisc = true
				case w == "allmulti":
					v.Allmulti = true
				case w == "nopromisc":
					v.Flags |= NoPromisc
				case w == "nodst":
					v.Flags |= NoDst
				case w[0] == '+':
					v.Groups = append(v.Groups, named(w[1:]))
				case w[0] == '<':
					spec.Sources = append(spec.Sources, SourceEntry{i, named(w[1:])})
				case strings.HasPrefix(w, "mtu="):
					if _, err := fmt.Sscanf(w, "mtu=%d", &v.MTU); err != nil {
						panic(err)
					}
				case strings.HasPrefix(w, "bc="):
					v.Broadcast = named(w[3:])
				default:
					panic("topology: " + w)
				}
			}
		}
		spec.Vmacs = append(spec.Vmacs, v)
	}
	return spec
}
