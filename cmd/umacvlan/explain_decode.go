package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// describeFrame says in one line what a frame is.
func describeFrame(frame []byte) string {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true})
	var parts []string
	var last gopacket.Layer
	for _, l := range p.Layers() {
		if _, failed := l.(*gopacket.DecodeFailure); failed {
			break
		}
		last = l
		if s := describeLayer(l); s != "" {
			parts = append(parts, s)
		}
	}
	if s := unknownPayload(last); s != "" {
		parts = append(parts, s)
	} else if e := p.ErrorLayer(); e != nil {
		parts = append(parts, fmt.Sprintf("malformed: %v", e.Error()))
	}
	if len(parts) == 0 {
		parts = []string{"an Ethernet header and no more"}
	}
	return strings.Join(parts, ", ")
}

// unknownPayload tells what nobody knows from what is malformed.
func unknownPayload(last gopacket.Layer) string {
	var t layers.EthernetType
	switch l := last.(type) {
	case *layers.Ethernet:
		t = l.EthernetType
	case *layers.Dot1Q:
		t = l.Type
	default:
		return ""
	}
	if n := len(last.LayerPayload()); n > 0 && t.LayerType() == 0 {
		return fmt.Sprintf("ethertype %#04x, %d octets of payload", uint16(t), n)
	}
	return ""
}

// describeLayer says what a reader wants to know of a layer; addresses of
// Ethernet stand elsewhere.
func describeLayer(l gopacket.Layer) string {
	switch l := l.(type) {
	case *layers.Ethernet:
		return ""
	case *layers.Dot1Q:
		return fmt.Sprintf("VLAN %d", l.VLANIdentifier)
	case *layers.ARP:
		return describeARP(l)
	case *layers.IPv4:
		s := fmt.Sprintf("IPv4 %v > %v", l.SrcIP, l.DstIP)
		if l.Flags&layers.IPv4MoreFragments != 0 || l.FragOffset != 0 {
			s += fmt.Sprintf(" fragment of %v at %d", l.Protocol, int(l.FragOffset)*8)
		}
		return s
	case *layers.IPv6:
		return fmt.Sprintf("IPv6 %v > %v", l.SrcIP, l.DstIP)
	case *layers.UDP:
		return fmt.Sprintf("UDP %d > %d", uint16(l.SrcPort), uint16(l.DstPort))
	case *layers.TCP:
		return fmt.Sprintf("TCP %d > %d%s", uint16(l.SrcPort), uint16(l.DstPort), tcpFlags(l))
	case *layers.ICMPv4:
		return "ICMP " + l.TypeCode.String()
	case *layers.ICMPv6:
		return "ICMPv6 " + l.TypeCode.String()
	case *layers.DHCPv4:
		for _, o := range l.Options {
			if o.Type == layers.DHCPOptMessageType && len(o.Data) == 1 {
				return "DHCP " + layers.DHCPMsgType(o.Data[0]).String()
			}
		}
		return "DHCP"
	case *layers.VRRPv2:
		return fmt.Sprintf("VRRP router %d", l.VirtualRtrID)
	case *gopacket.Payload:
		if t := len(l.Payload()); t > 0 {
			return fmt.Sprintf("%d octets of payload", t)
		}
		return fmt.Sprintf("%d octets of payload", len(l.LayerContents()))
	}
	return l.LayerType().String()
}

func describeARP(a *layers.ARP) string {
	from, to := net.IP(a.SourceProtAddress), net.IP(a.DstProtAddress)
	switch {
	case a.Operation == layers.ARPRequest:
		return fmt.Sprintf("ARP who has %v, tell %v", to, from)
	case a.Operation == layers.ARPReply:
		return fmt.Sprintf("ARP %v is at %v", from, net.HardwareAddr(a.SourceHwAddress))
	}
	return fmt.Sprintf("ARP operation %d", a.Operation)
}

func tcpFlags(t *layers.TCP) string {
	var s strings.Builder
	for _, f := range []struct {
		on   bool
		name string
	}{{t.SYN, "SYN"}, {t.ACK, "ACK"}, {t.FIN, "FIN"}, {t.RST, "RST"}, {t.PSH, "PSH"}, {t.URG, "URG"}} {
		if f.on {
			s.WriteString(" " + f.name)
		}
	}
	return s.String()
}
