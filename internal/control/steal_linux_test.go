package control

import (
	"slices"
	"testing"
)

func TestVLANsOn(t *testing.T) {
	const text = "VLAN Dev name\t | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\n" +
		"eth0.10        | 10  | eth0\nq              | 10  | eth0\neth1.5         | 5  | eth1\neth0.4094      | 4094  | eth0\n"
	if got := vlansOn("eth0", text); !slices.Equal(got, []uint16{10, 4094}) {
		t.Errorf("eth0: %v", got)
	}
	if got := vlansOn("va", text); len(got) != 0 {
		t.Errorf("va: %v", got)
	}
}
