package scenario

import "encoding/binary"

func makeLLDP(m *maker) (uint16, []byte) {
	b := appendMAC([]byte{2, 7, 4}, m.src) // chassis id: its MAC
	b = append(b, 4, 7, 3)                 // port id: a MAC too
	b = appendMAC(b, m.src)
	return typeLLDP, append(b, 6, 2, 0, 120, 0, 0) // time to live, end
}

// makeSTP makes a configuration BPDU, in 802.3 with LLC.
func makeSTP(m *maker) (uint16, []byte) {
	bridge := appendMAC([]byte{0x80, 0}, m.src)
	b := []byte{0x42, 0x42, 3, 0, 0, 0, 0, 0}
	b = append(append(b, bridge...), 0, 0, 0, 0)
	b = append(append(b, bridge...), 0x80, 1)
	b = append(b, 0, 0, 20, 0, 2, 0, 15, 0)
	return uint16(len(b)), b
}

func makeLACP(m *maker) (uint16, []byte) {
	info := func(kind, state byte) []byte {
		b := appendMAC([]byte{kind, 20, 0x80, 0}, m.src)
		return append(b, 0, 1, 0x80, 0, 0, 1, state, 0, 0, 0)
	}
	b := append([]byte{1, 1}, info(1, 0x3d)...)
	b = append(b, info(2, 0)...)
	b = append(b, 3, 16, 0, 50)
	return typeSlow, pad(b, 110)
}

func makeEAPOL(m *maker) (uint16, []byte) {
	if m.word("start", "logoff") == "start" {
		return typeEAPOL, []byte{2, 1, 0, 0}
	}
	return typeEAPOL, []byte{2, 2, 0, 0}
}

// makePTP makes a Sync message.
func makePTP(m *maker) (uint16, []byte) {
	b := make([]byte, 44)
	b[1], b[3] = 2, byte(len(b))
	src := m.src.Bytes()
	copy(b[20:], []byte{src[0], src[1], src[2], 0xff, 0xfe, src[3], src[4], src[5], 0, 1})
	return typePTP, b
}

func makePause(*maker) (uint16, []byte) { return typePause, []byte{0, 1, 0xff, 0xff} }

// makeWoL makes a magic packet for the frame's destination, or for its source
// if it goes to everybody.
func makeWoL(m *maker) (uint16, []byte) {
	target := m.dst
	if target.IsGroup() {
		target = m.src
	}
	b := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for range 16 {
		b = appendMAC(b, target)
	}
	return typeWoL, b
}

// makeCDP makes an announcement with a device id only, in 802.3 with SNAP.
func makeCDP(*maker) (uint16, []byte) {
	c := append([]byte{2, 180, 0, 0, 0, 1, 0, 12}, "umacvlan"...)
	binary.BigEndian.PutUint16(c[2:], checksum(c, 0))
	b := append([]byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0}, c...)
	return uint16(len(b)), b
}
