package classify

import "encoding/binary"

// typeIPv4 is ETH_P_IP as it stands in a little-endian half word.
const typeIPv4 = 0x0008

// Fragment reports whether a frame received on the parent is one that
// macvlan_handle_frame gives to the reassembly before it decides anything, and
// where its IPv4 header begins: a fragment to a group address, behind at most
// one VLAN tag, that satisfies ip_check_defrag. Of any other frame it costs a
// few comparisons.
func Fragment(frame []byte) (ip int, ok bool) {
	if len(frame) < headerLen+ipv4Len || frame[0]&1 == 0 {
		return 0, false
	}
	ip = headerLen
	typ := binary.LittleEndian.Uint16(frame[ip-2:])
	if typ == type8021Q || typ == type8021AD {
		ip = vlanEnd // a total length of 20 is more than what may be missing then
		typ = binary.LittleEndian.Uint16(frame[ip-2:])
	}
	if typ != typeIPv4 {
		return 0, false
	}
	h := frame[ip:]
	const moreOrOffset = 0x3fff // IP_MF | IP_OFFSET
	if binary.BigEndian.Uint16(h[6:])&moreOrOffset == 0 {
		return 0, false
	}
	header, total := int(h[0]&0xf)*4, int(binary.BigEndian.Uint16(h[2:]))
	if h[0]>>4 != 4 || header < ipv4Len || total < header || total > len(h) {
		return 0, false
	}
	return ip, true
}

const ipv4Len = 20
