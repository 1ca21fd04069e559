package classify

import (
	"encoding/binary"
	"testing"
)

// slowFragment is ip_check_defrag, with macvlan's condition before it.
func slowFragment(frame []byte) (ip int, ok bool) {
	if len(frame) < 14 || frame[0]&1 == 0 {
		return 0, false
	}
	ip = 14
	if typ := binary.BigEndian.Uint16(frame[12:]); typ == 0x8100 || typ == 0x88a8 {
		ip = 18
	}
	if len(frame) < ip+20 || frame[ip-2] != 8 || frame[ip-1] != 0 {
		return 0, false
	}
	h := frame[ip:]
	version, ihl, length := int(h[0])/16, int(h[0])%16, int(h[2])*256+int(h[3])
	if version != 4 || ihl < 5 || length < ihl*4 || length > len(h) {
		return 0, false
	}
	if more, offset := h[6]&0x20 != 0, int(h[6]&0x1f)*256+int(h[7]); !more && offset == 0 {
		return 0, false
	}
	return ip, true
}

// Each field at its edges, each length, tagged and not.
func TestFragment(t *testing.T) {
	taken := 0
	check := func(frame []byte) {
		t.Helper()
		ip, ok := Fragment(frame)
		if wantIP, want := slowFragment(frame); ip != wantIP || ok != want {
			t.Fatalf("%x: %d %v, want %d %v", frame, ip, ok, wantIP, want)
		}
		if ok {
			taken++
		}
	}
	for _, tag := range []string{"", "\x81\x00\x00\x05", "\x88\xa8\x00\x05", "\x91\x00\x00\x05", "\x88\xab\x00\x05"} {
		for _, first := range []byte{0x01, 0x02, 0x45, 0xff} {
			for _, typ := range []string{"\x08\x00", "\x08\x06", "\x00\x08", "\x04\x00"} {
				for version := range 16 {
					for _, ihl := range []byte{0, 4, 5, 6, 15} {
						for _, length := range []uint16{0, 19, 20, 23, 24, 25, 59, 60, 61, 0xffff} {
							for _, field := range []uint16{0, 1, 0x1fff, 0x2000, 0x2001, 0x4000, 0x8000, 0xc000} {
								frame := append([]byte{first, 0, 0x5e, 1, 2, 3, 2, 0, 0, 0, 0, 9}, tag+typ...)
								h := make([]byte, 60)
								h[0] = byte(version)<<4 | ihl
								binary.BigEndian.PutUint16(h[2:], length)
								binary.BigEndian.PutUint16(h[6:], field)
								frame = append(frame, h...)
								check(frame)
								if version == 4 && ihl == 5 && field == 0x2000 {
									for n := range frame {
										check(frame[:n])
									}
								}
							}
						}
					}
				}
			}
		}
	}
	if taken < 100 {
		t.Errorf("%d of them take part", taken)
	}
}

// Only a port with vmacs collects, and Explain says so.
func TestFragmentExplained(t *testing.T) {
	frame := append([]byte("\x01\x00\x5e\x01\x02\x03\x02\x00\x00\x00\x00\x09\x08\x00\x45\x00\x00\x1c\x00\x01\x20\x00\x40\x11"), make([]byte, 18)...)
	for _, vmacs := range [][]Vmac{nil, {{Name: "b", Mode: Bridge, MAC: 2 | 1<<40, Up: true}}} {
		table, err := NewTable(&Spec{Vmacs: vmacs})
		if err != nil {
			t.Fatal(err)
		}
		for _, whole := range []bool{false, true} {
			f := append([]byte(nil), frame...)
			if whole {
				f[20] = 0
			}
			said := false
			for _, s := range table.Explain(f, FromWire, Meta{Type: TypeMulticast}).Steps {
				said = said || s.Where == "ip_check_defrag"
			}
			if want := !whole && len(vmacs) > 0; said != want {
				t.Errorf("%d vmacs, whole %v: said %v, want %v", len(vmacs), whole, said, want)
			}
		}
	}
}
