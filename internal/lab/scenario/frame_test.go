package scenario

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

func frameOf(t *testing.T, send string) []byte {
	t.Helper()
	s, err := Parse("f", []byte(head+"send wire: "+send))
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Frame(0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestNamedFrames has each frame read by somebody else's decoder, which also
// makes their checksums again.
func TestNamedFrames(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []struct {
		send  string
		layer gopacket.LayerType
	}{
		{"ext > broadcast arp request 10.0.0.9", layers.LayerTypeARP},
		{"ext > broadcast arp request 10.0.0.9 from 10.0.0.7", layers.LayerTypeARP},
		{"ext > b1 arp reply 10.0.0.9 to 10.0.0.7", layers.LayerTypeARP},
		{"ext > broadcast arp gratuitous 10.0.0.9", layers.LayerTypeARP},
		{"ext > broadcast arp probe 10.0.0.9", layers.LayerTypeARP},
		{"ext > b1 udp 10.0.0.1:7 10.0.0.9:9999 payload 0102", layers.LayerTypeUDP},
		{"ext > b1 udp [fe80::1]:7 [fe80::2]:9999", layers.LayerTypeUDP},
		{"ext > b1 tcp 10.0.0.1:7 10.0.0.9:80", layers.LayerTypeTCP},
		{"ext > b1 tcp [fe80::1]:7 [fe80::2]:80 ack payload 616263", layers.LayerTypeTCP},
		{"ext > b1 icmp echo 10.0.0.1 10.0.0.9", layers.LayerTypeICMPv4},
		{"ext > b1 icmp reply fe80::1 fe80::2", layers.LayerTypeICMPv6Echo},
		{"ext > b1 frag 10.0.0.1 224.1.1.1 7 0 more 1024", layers.LayerTypeIPv4},
		{"ext > 33:33:ff:00:00:09 nd ns fe80::9", layers.LayerTypeICMPv6NeighborSolicitation},
		{"ext > b1 nd na fe80::9", layers.LayerTypeICMPv6NeighborAdvertisement},
		{"ext > 33:33:00:00:00:02 nd rs from fe80::7", layers.LayerTypeICMPv6RouterSolicitation},
		{"ext > 33:33:00:00:00:01 nd ra", layers.LayerTypeICMPv6RouterAdvertisement},
		{"ext > allhosts igmp query", layers.LayerTypeIGMP},
		{"ext > 01:00:5e:01:01:01 igmp query 239.1.1.1", layers.LayerTypeIGMP},
		{"ext > 01:00:5e:00:00:16 igmp report 239.1.1.1", layers.LayerTypeIGMP},
		{"ext > 01:00:5e:01:01:01 igmp join 239.1.1.1", layers.LayerTypeIGMP},
		{"ext > 01:00:5e:00:00:02 igmp leave 239.1.1.1", layers.LayerTypeIGMP},
		{"ext > 33:33:00:00:00:01 mld query", layers.LayerTypeMLDv2MulticastListenerQuery},
		{"ext > 33:33:00:00:00:16 mld report ff02::1234", layers.LayerTypeMLDv2MulticastListenerReport},
		{"ext > broadcast dhcp discover", layers.LayerTypeDHCPv4},
		{"ext > broadcast dhcp offer 10.0.0.9", layers.LayerTypeDHCPv4},
		{"ext > broadcast dhcp request 10.0.0.9", layers.LayerTypeDHCPv4},
		{"ext > b1 dhcp ack", layers.LayerTypeDHCPv4},
		{"ext > vrrp vrrp 7", layers.LayerTypeVRRP},
		{"ext > lldp lldp", layers.LayerTypeLinkLayerDiscovery},
		{"ext > stp stp", layers.LayerTypeSTP},
		{"ext > pae eapol start", layers.LayerTypeEAPOL},
		{"ext > cdp cdp", layers.LayerTypeCiscoDiscovery},
	} {
		t.Run(c.send, func(t *testing.T) {
			f := frameOf(t, c.send)
			if len(f) < 60 {
				t.Errorf("%d octets", len(f))
			}
			p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
			if e := p.ErrorLayer(); e != nil && c.layer != layers.LayerTypeIPv4 {
				t.Errorf("decoded: %v\n%x", e.Error(), f)
			}
			if p.Layer(c.layer) == nil {
				t.Fatalf("no %v:\n%v", c.layer, p)
			}
			for _, l := range p.Layers() {
				seen[l.LayerType().String()] = true
			}
			checkSums(t, p)
		})
	}
	for _, c := range []struct {
		send string
		typ  uint16
		has  string
	}{
		{"ext > slow lacp", 0x8809, "\x01\x01\x01\x14\x80\x00"},
		{"ext > ptp ptp", 0x88f7, "\x00\x02\x00\x2c"},
		{"ext > pause pause", 0x8808, "\x00\x01\xff\xff\x00"},
		{"ext > broadcast wol", 0x0842, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x0e\x01\x02\x00\x00\x00\x0e\x01"},
	} {
		f := frameOf(t, c.send)
		if binary.BigEndian.Uint16(f[12:]) != c.typ || !bytes.HasPrefix(f[14:], []byte(c.has)) {
			t.Errorf("%s: %x", c.send, f)
		}
	}
}

// checkSums has the decoder make the packet again with checksums and lengths of
// its own.
func checkSums(t *testing.T, p gopacket.Packet) {
	t.Helper()
	frame := p.Data()
	if ip, ok := p.NetworkLayer().(*layers.IPv4); ok && checksum(ip.Contents, 0) != 0 {
		t.Errorf("IPv4 header: checksum %04x", ip.Checksum)
	}
	network, ok := p.NetworkLayer().(interface {
		gopacket.NetworkLayer
		LayerPayload() []byte
	})
	if !ok {
		return
	}
	var l gopacket.SerializableLayer
	switch u := p.TransportLayer().(type) {
	case *layers.UDP:
		u.SetNetworkLayerForChecksum(network)
		l = u
	case *layers.TCP:
		u.SetNetworkLayerForChecksum(network)
		l = u
	}
	if i, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
		i.SetNetworkLayerForChecksum(network)
		l = i
	}
	if l == nil {
		return
	}
	b := gopacket.NewSerializeBuffer()
	payload := p.Layer(l.LayerType()).LayerPayload()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{ComputeChecksums: true, FixLengths: true}, l, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(frame, b.Bytes()) {
		t.Errorf("%v with other checksums:\n%x\n%x", l.LayerType(), b.Bytes(), frame)
	}
}

func TestFrames(t *testing.T) {
	for _, c := range []struct {
		send, want string
	}{
		{"bytes 0102", "0102"},
		{"ext > b1 len 14", "02000000010102000000 0e01 88b5"},
		{"ext > b1 len 13", "02000000010102000000 0e01 88"},
		{"ext > b1 payload aabb", "02000000010102000000 0e01 88b5 aabb"},
		{"ext > b1 payload aabb len 18", "02000000010102000000 0e01 88b5 aabb0000"},
		{"ext > b1 type 0x0806 payload aabb len 15", "02000000010102000000 0e01 0806 aa"},
		{"wire > SUB svlan 20 vlan 10 pcp 3 payload aabb", "01005e112233 02000000000b 88a8 0014 8100 600a 88b5 aabb"},
		{"02:00:00:00:01:02 > parent tag 9100:1001 len 20", "02000000000a 020000000102 9100 1001 88b5 0000"},
	} {
		var want []byte
		for _, w := range bytes.Fields([]byte(c.want)) {
			want = fmt.Appendf(want, "%s", w)
		}
		if got := fmt.Sprintf("%x", frameOf(t, c.send)); got != string(want) {
			t.Errorf("%s:\n%s, want\n%s", c.send, got, want)
		}
	}
	if f := frameOf(t, "ext > b1"); len(f) != 60 {
		t.Errorf("%d octets", len(f))
	}
	for _, tags := range []string{"vlan 1", "svlan 1 vlan 2"} {
		if f := frameOf(t, "ext > b1 "+tags); len(f) != 64 {
			t.Errorf("%s: %d octets", tags, len(f))
		}
		if f := frameOf(t, "ext > b1 arp request 10.0.0.1 "+tags); len(f) != 64 {
			t.Errorf("%s: arp of %d octets", tags, len(f))
		}
	}
	s, err := Parse("f", []byte(head+"send wire: ext > b1\nsend wire: ext > b1\nset b1 up"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := s.Frame(0)
	b, _ := s.Frame(1)
	if bytes.Equal(a, b) {
		t.Error("two steps send the same frame")
	}
	if _, err := s.Frame(2); err == nil {
		t.Error("an action sends a frame")
	}
}

func TestNames(t *testing.T) {
	s, err := Parse("f", []byte("title x\nparent address 02:00:00:00:00:99\nname G 01:00:5e:00:00:09\nvmac a\nvmac p mode passthru\nvmac b\nvmac c address 2:0:0:0:0:7\nvmac d address c\n"+
		"add e\nadd a mode vepa\nadd c\nadd g\n"))
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[Addr]string{
		"parent": "02:00:00:00:00:99", "p": "02:00:00:00:00:99", "G": "01:00:5e:00:00:09", "a": "02:00:00:00:01:01", "b": "02:00:00:00:01:03",
		"c": "02:00:00:00:00:07", "d": "02:00:00:00:00:07", "e": "02:00:00:00:01:06", "g": "02:00:00:00:01:07", "allhosts": "01:00:5e:00:00:01",
	} {
		if m, err := s.MAC(a); err != nil || m.String() != want {
			t.Errorf("%s is %v, %v, want %s", a, m, err, want)
		}
	}
	if m := s.Address(s.Steps[1].Control.Vmac); m.String() != "02:00:00:00:01:01" {
		t.Errorf("a vmac added again has %v", m)
	}
	for _, a := range []Addr{"nobody", "1:2", "zz:1"} {
		if _, err := s.MAC(a); err == nil {
			t.Errorf("%s is an address", a)
		}
	}
}

func TestCaptures(t *testing.T) {
	frames := [][]byte{frameOf(t, "ext > b1"), frameOf(t, "ext > b2")}
	var old, ng bytes.Buffer
	w := pcapgo.NewWriter(&old)
	n, err := pcapgo.NewNgWriter(&ng, layers.LinkTypeEthernet)
	if err != nil || w.WriteFileHeader(65536, layers.LinkTypeEthernet) != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(f), Length: len(f)}
		if w.WritePacket(ci, f) != nil || n.WritePacket(ci, f) != nil {
			t.Fatal("write")
		}
	}
	if err := n.Flush(); err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := pcapgo.NewWriter(&raw).WriteFileHeader(65536, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	s, err := Parse("f", []byte(head+"send wire: pcap a.pcap:2\nsend wire: pcap a.pcapng:1\nsend wire: pcap a.pcap:3\nsend wire: pcap raw:1\nsend wire: pcap no:1\nsend wire: pcap short:1"))
	if err != nil {
		t.Fatal(err)
	}
	s.FS = fstest.MapFS{
		"a.pcap": {Data: old.Bytes()}, "a.pcapng": {Data: ng.Bytes()}, "raw": {Data: raw.Bytes()}, "short": {Data: []byte("abc")},
	}
	for step, want := range map[int][]byte{0: frames[1], 1: frames[0]} {
		if f, err := s.Frame(step); err != nil || !bytes.Equal(f, want) {
			t.Errorf("step %d: %v %x", step, err, f)
		}
	}
	for step := 2; step < 6; step++ {
		if f, err := s.Frame(step); err == nil {
			t.Errorf("step %d: %x", step, f)
		}
	}
}
