package dataplane

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
)

// apply makes the parent's lists hold want instead of m, and m what they hold
// afterwards. PACKET_MR_UNICAST is dev_uc_add, PACKET_MR_MULTICAST dev_mc_add,
// and the others dev_set_allmulti and dev_set_promiscuity (packet_dev_mc). One
// address that the parent refuses doesn't keep the others from it; the first
// error is returned.
func (m *memberships) apply(fd, ifindex int, want memberships) error {
	var first error
	set := func(opt int, kind uint16, what string, mac classify.MAC, alen uint16) bool {
		mreq := unix.PacketMreq{Ifindex: int32(ifindex), Type: kind, Alen: alen}
		for i := range alen {
			mreq.Address[i] = byte(mac >> (8 * i))
		}
		err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, opt, &mreq)
		if err != nil && first == nil {
			first = fmt.Errorf("%s: %w", what, err)
		}
		return err == nil
	}
	list := func(have, want []classify.MAC, kind uint16, what string) []classify.MAC {
		return mergeMACs(have, want,
			func(mac classify.MAC) bool {
				return set(unix.PACKET_ADD_MEMBERSHIP, kind, "add "+what, mac, 6)
			},
			func(mac classify.MAC) bool {
				return set(unix.PACKET_DROP_MEMBERSHIP, kind, "drop "+what, mac, 6)
			})
	}
	// A socket's membership that is asked for again is only counted in the
	// socket; but one with another address is another (packet_mc_add), and what
	// the address is does not matter here.
	more := func(have *int, want int, kind uint16, what string) {
		for *have < want && set(unix.PACKET_ADD_MEMBERSHIP, kind, what, classify.MAC(*have), 6) {
			*have++
		}
	}
	less := func(have *int, want int, kind uint16, what string) {
		for *have > want && set(unix.PACKET_DROP_MEMBERSHIP, kind, what, classify.MAC(*have-1), 6) {
			*have--
		}
	}
	more(&m.promisc, want.promisc, unix.PACKET_MR_PROMISC, "set promisc")
	more(&m.allmulti, want.allmulti, unix.PACKET_MR_ALLMULTI, "set allmulti")
	m.unicast = list(m.unicast, want.unicast, unix.PACKET_MR_UNICAST, "unicast address")
	m.multicast = list(m.multicast, want.multicast, unix.PACKET_MR_MULTICAST, "multicast address")
	less(&m.promisc, want.promisc, unix.PACKET_MR_PROMISC, "clear promisc")
	less(&m.allmulti, want.allmulti, unix.PACKET_MR_ALLMULTI, "clear allmulti")
	return first
}
