package lab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// filterParent drops what the parent receives or sends, or what it receives for
// one address, by a rule of nftables at the device: that stands where tc's does
// and needs no root beyond the namespace.
func (t *take) filterParent(attr scenario.Attr, value string) error {
	hook := uint32(0) // NF_NETDEV_INGRESS
	if attr == scenario.AttrEgress {
		hook = 1
	}
	var mac []byte
	if value != "pass" && value != "drop" {
		b, err := t.s.Octets(scenario.Addr(value))
		if err != nil {
			return err
		}
		mac = b
	}
	table := "lab-" + string(attr)
	err := t.parentIn.nft(nftMessage{unix.NFT_MSG_DELTABLE, 0, nftName(unix.NFTA_TABLE_NAME, table)})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("rule of the parent: %w", err)
	}
	if attr == scenario.AttrIngress {
		t.ingress = value
	}
	if value == "pass" {
		return nil
	}
	policy := uint32(0) // NF_DROP
	if mac != nil {
		policy = 1
	}
	list := []nftMessage{
		{unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, nftName(unix.NFTA_TABLE_NAME, table)},
		{unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, nftAttrs(
			nftName(unix.NFTA_CHAIN_TABLE, table), nftName(unix.NFTA_CHAIN_NAME, "c"), nftName(unix.NFTA_CHAIN_TYPE, "filter"),
			nftNest(unix.NFTA_CHAIN_HOOK, nftNumber(unix.NFTA_HOOK_HOOKNUM, hook), nftNumber(unix.NFTA_HOOK_PRIORITY, 0),
				nftName(unix.NFTA_HOOK_DEV, rigParent)),
			nftNumber(unix.NFTA_CHAIN_POLICY, policy),
		)},
	}
	if mac != nil {
		list = append(list, nftMessage{unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE | unix.NLM_F_APPEND, nftAttrs(
			nftName(unix.NFTA_RULE_TABLE, table), nftName(unix.NFTA_RULE_CHAIN, "c"),
			nftNest(unix.NFTA_RULE_EXPRESSIONS,
				nftExpr("payload", nftNumber(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1), nftNumber(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_LL_HEADER),
					nftNumber(unix.NFTA_PAYLOAD_OFFSET, 0), nftNumber(unix.NFTA_PAYLOAD_LEN, uint32(len(mac)))),
				nftExpr("cmp", nftNumber(unix.NFTA_CMP_SREG, unix.NFT_REG_1), nftNumber(unix.NFTA_CMP_OP, unix.NFT_CMP_EQ),
					nftNest(unix.NFTA_CMP_DATA, nl.NewRtAttr(unix.NFTA_DATA_VALUE, mac).Serialize())),
				nftExpr("immediate", nftNumber(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
					nftNest(unix.NFTA_IMMEDIATE_DATA, nftNest(unix.NFTA_DATA_VERDICT, nftNumber(unix.NFTA_VERDICT_CODE, 0)))),
			),
		)})
	}
	if err := t.parentIn.nft(list...); err != nil {
		return fmt.Errorf("rule of the parent: %w", err)
	}
	return nil
}

// nftMessage is one message of a batch: its kind, flags and attributes.
type nftMessage struct {
	kind, flags int
	attrs       []byte
}

func nftName(kind int, s string) []byte { return nl.NewRtAttr(kind, nl.ZeroTerminated(s)).Serialize() }

func nftNumber(kind int, n uint32) []byte {
	return nl.NewRtAttr(kind, binary.BigEndian.AppendUint32(nil, n)).Serialize()
}

func nftAttrs(list ...[]byte) (all []byte) {
	for _, a := range list {
		all = append(all, a...)
	}
	return all
}

func nftNest(kind int, list ...[]byte) []byte {
	return nl.NewRtAttr(kind|unix.NLA_F_NESTED, nftAttrs(list...)).Serialize()
}

func nftExpr(name string, attrs ...[]byte) []byte {
	return nftNest(unix.NFTA_LIST_ELEM, nftName(unix.NFTA_EXPR_NAME, name), nftNest(unix.NFTA_EXPR_DATA, attrs...))
}

// nft sends messages to the namespace's nf_tables as one transaction.
func (s *space) nft(list ...nftMessage) error {
	var fd int
	err := s.ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	ne := binary.NativeEndian
	var batch []byte
	add := func(kind, flags int, family byte, resource uint16, attrs []byte) {
		at := len(batch)
		batch = append(batch, make([]byte, unix.SizeofNlMsghdr+4)...)
		batch = append(batch, attrs...)
		h := batch[at:]
		ne.PutUint32(h, uint32(len(h)))
		ne.PutUint16(h[4:], uint16(kind))
		ne.PutUint16(h[6:], uint16(unix.NLM_F_REQUEST|flags))
		ne.PutUint32(h[8:], uint32(at)+1)
		h[16] = family
		binary.BigEndian.PutUint16(h[18:], resource)
	}
	add(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	for _, m := range list {
		add(unix.NFNL_SUBSYS_NFTABLES<<8|m.kind, m.flags|unix.NLM_F_ACK, unix.NFPROTO_NETDEV, 0, m.attrs)
	}
	add(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for answered := 0; answered < len(list); {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return err
		}
		for b := buf[:n]; len(b) >= unix.SizeofNlMsghdr+4; b = b[min(len(b), int(ne.Uint32(b)+3)&^3):] {
			if ne.Uint16(b[4:]) != unix.NLMSG_ERROR {
				continue
			}
			if errno := int32(ne.Uint32(b[unix.SizeofNlMsghdr:])); errno != 0 {
				return unix.Errno(-errno)
			}
			answered++
		}
	}
	return nil
}
