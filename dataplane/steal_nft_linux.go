package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// nftTaker is a netdev table that belongs to its netlink socket: nobody else can
// change it, and it goes with the process. Each Take is one transaction. Rules
// that look into the Ethernet header pass by what the host sends to groups that
// it hears itself, which has none at this place (dev_loopback_xmit).
type nftTaker struct {
	nl    *netlinkSocket
	table string
	taken classify.Taken // in force
	vlans []uint16
}

const (
	nftTableOwner = 2 // NFT_TABLE_F_OWNER (5.12)
	nftChain      = "ingress"
	nftEtherAddr  = 9 // TYPE_ETHERADDR of nft(8), for who lists the sets
	nftDreg       = 1 // NFT_REG_1
	nfDrop        = 0
	nfAccept      = 1

	// As many elements as surely fit into one attribute.
	nftElements = 2000
)

// The sets, by the numbers under which a transaction knows them.
const (
	setTo = iota + 1
	setFrom
	setGroups
)

var nftSets = []string{setTo: "to", setFrom: "from", setGroups: "groups"}

func openNFT(dev *net.Interface) (Taker, error) {
	if feature.Off(feature.NFTNetdev) {
		return nil, errOff
	}
	nl, err := dialNetlink(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	// Thousands of addresses in one transaction; EPERM in a user namespace.
	if unix.SetsockoptInt(nl.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20) != nil {
		unix.SetsockoptInt(nl.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	}
	unix.SetsockoptInt(nl.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	fail := func(err error) (Taker, error) {
		nl.close()
		return nil, err
	}
	name, err := unix.Getsockname(nl.fd)
	if err != nil {
		return fail(err)
	}
	n := &nftTaker{nl: nl, table: fmt.Sprintf("umacvlan-%d-%d", dev.Index, name.(*unix.SockaddrNetlink).Pid)}
	create := []message{
		n.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
			nlstring(unix.NFTA_TABLE_NAME, n.table), nlbe32(unix.NFTA_TABLE_FLAGS, nftTableOwner)),
		n.chain(dev.Name),
	}
	for id := setTo; id <= setGroups; id++ {
		create = append(create, n.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
			nlstring(unix.NFTA_SET_TABLE, n.table), nlstring(unix.NFTA_SET_NAME, nftSets[id]), nlbe32(unix.NFTA_SET_ID, uint32(id)),
			nlbe32(unix.NFTA_SET_KEY_TYPE, nftEtherAddr), nlbe32(unix.NFTA_SET_KEY_LEN, 6)))
	}
	if err := n.transact(append(create, n.rules(false, nil)...)); err != nil {
		return fail(err)
	}
	return n, nil
}

// chain makes the chain at the ingress of the device called so.
func (n *nftTaker) chain(dev string) message {
	return n.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		nlstring(unix.NFTA_CHAIN_TABLE, n.table), nlstring(unix.NFTA_CHAIN_NAME, nftChain), nlstring(unix.NFTA_CHAIN_TYPE, "filter"),
		nest(unix.NFTA_CHAIN_HOOK, nlbe32(unix.NFTA_HOOK_HOOKNUM, 0), nlbe32(unix.NFTA_HOOK_PRIORITY, math.MaxInt32), nlstring(unix.NFTA_HOOK_DEV, dev)))
}

// message is a request to nf_tables.
func (n *nftTaker) message(typ, flags uint16, attrs ...[]byte) message {
	head := []byte{unix.NFPROTO_NETDEV, 0, 0, 0} // struct nfgenmsg
	return newMessage(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags, append([][]byte{head}, attrs...)...)
}

// transact does all of it or nothing. What fails is answered in any case, so only
// the last is to be acknowledged: the socket has no room for thousands of answers.
func (n *nftTaker) transact(list []message) error {
	last := list[len(list)-1]
	binary.NativeEndian.PutUint16(last[6:], binary.NativeEndian.Uint16(last[6:])|unix.NLM_F_ACK)
	edge := func(typ uint16) message {
		return newMessage(typ, 0, []byte{0, 0, 0, unix.NFNL_SUBSYS_NFTABLES}) // res_id, big-endian
	}
	if err := n.nl.do(slices.Concat([]message{edge(unix.NFNL_MSG_BATCH_BEGIN)}, list, []message{edge(unix.NFNL_MSG_BATCH_END)})...); err != nil {
		return fmt.Errorf("nf_tables: %w", err)
	}
	return nil
}

// Take changes the sets, and the rules if the port becomes, or ceases to be, a
// passthru one.
func (n *nftTaker) Take(k classify.Taken) error {
	var list []message
	if k.Unicast != n.taken.Unicast {
		list = append(list, n.flush())
		list = append(list, n.rules(k.Unicast, n.vlans)...)
	}
	for id, of := range [][2][]classify.MAC{setTo: {n.taken.To, k.To}, setFrom: {n.taken.From, k.From}, setGroups: {n.taken.Groups, k.Groups}} {
		less, more := differences(of[0], of[1])
		list = append(list, n.elements(unix.NFT_MSG_DELSETELEM, id, less)...)
		list = append(list, n.elements(unix.NFT_MSG_NEWSETELEM, id, more)...)
	}
	if len(list) == 0 {
		return nil
	}
	if err := n.transact(list); err != nil {
		return err
	}
	n.taken = k
	return nil
}

// Keep makes the rules again.
func (n *nftTaker) Keep(ids []uint16) error {
	if slices.Equal(ids, n.vlans) {
		return nil
	}
	if err := n.transact(append([]message{n.flush()}, n.rules(n.taken.Unicast, ids)...)); err != nil {
		return err
	}
	n.vlans = slices.Clone(ids)
	return nil
}

// Rename makes the chain again. Since 6.16 a chain leaves a device that is
// renamed, and takes one that is given the old name (nf_tables_netdev_event).
func (n *nftTaker) Rename(name string) error {
	gone := n.message(unix.NFT_MSG_DELCHAIN, 0, nlstring(unix.NFTA_CHAIN_TABLE, n.table), nlstring(unix.NFTA_CHAIN_NAME, nftChain))
	return n.transact(append([]message{n.flush(), gone, n.chain(name)}, n.rules(n.taken.Unicast, n.vlans)...))
}

// flush removes all rules.
func (n *nftTaker) flush() message {
	return n.message(unix.NFT_MSG_DELRULE, 0, nlstring(unix.NFTA_RULE_TABLE, n.table), nlstring(unix.NFTA_RULE_CHAIN, nftChain))
}

// differences compares two sorted lists.
func differences(old, now []classify.MAC) (less, more []classify.MAC) {
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0] < now[0]:
			less, old = append(less, old[0]), old[1:]
		case len(old) == 0 || now[0] < old[0]:
			more, now = append(more, now[0]), now[1:]
		default:
			old, now = old[1:], now[1:]
		}
	}
	return less, more
}

func (n *nftTaker) elements(typ uint16, set int, macs []classify.MAC) (list []message) {
	flags := uint16(0)
	if typ == unix.NFT_MSG_NEWSETELEM {
		flags = unix.NLM_F_CREATE
	}
	for part := range slices.Chunk(macs, nftElements) {
		var elems []byte
		for _, m := range part {
			b := m.Bytes()
			elems = append(elems, nest(unix.NFTA_LIST_ELEM, nest(unix.NFTA_SET_ELEM_KEY, nlattr(unix.NFTA_DATA_VALUE, b[:])))...)
		}
		list = append(list, n.message(typ, flags,
			nlstring(unix.NFTA_SET_ELEM_LIST_TABLE, n.table), nlstring(unix.NFTA_SET_ELEM_LIST_SET, nftSets[set]),
			nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, elems)))
	}
	return list
}

// rules are the whole chain.
func (n *nftTaker) rules(unicast bool, vlans []uint16) (list []message) {
	const equal, unequal = 0, 1 // NFT_CMP_EQ, NFT_CMP_NEQ
	for _, id := range vlans {
		// The tag is in the header again, wherever the kernel has put it
		// (nft_payload_copy_vlan).
		for _, tpid := range []uint16{unix.ETH_P_8021Q, unix.ETH_P_8021AD} {
			list = append(list, n.rule(nfAccept, loadHeader(12, 2), compare(equal, binary.BigEndian.AppendUint16(nil, tpid)),
				loadHeader(14, 2), mask([]byte{0xf, 0xff}), compare(equal, binary.BigEndian.AppendUint16(nil, id))))
		}
	}
	first := [][]byte{loadHeader(0, 1), mask([]byte{1})} // the bit that makes a group
	list = append(list,
		n.rule(nfDrop, loadHeader(6, 6), n.in(setFrom)),
		n.rule(nfDrop, slices.Concat(first, [][]byte{compare(unequal, []byte{0}), loadHeader(6, 6), n.in(setGroups)})...))
	if unicast {
		return append(list, n.rule(nfDrop, append(first, compare(equal, []byte{0}))...))
	}
	return append(list, n.rule(nfDrop, loadHeader(0, 6), n.in(setTo)))
}

func mask(bits []byte) []byte {
	return expr("bitwise", nlbe32(unix.NFTA_BITWISE_SREG, nftDreg), nlbe32(unix.NFTA_BITWISE_DREG, nftDreg), nlbe32(unix.NFTA_BITWISE_LEN, uint32(len(bits))),
		nest(unix.NFTA_BITWISE_MASK, nlattr(unix.NFTA_DATA_VALUE, bits)), nest(unix.NFTA_BITWISE_XOR, nlattr(unix.NFTA_DATA_VALUE, make([]byte, len(bits)))))
}

func compare(op uint32, with []byte) []byte {
	return expr("cmp", nlbe32(unix.NFTA_CMP_SREG, nftDreg), nlbe32(unix.NFTA_CMP_OP, op), nest(unix.NFTA_CMP_DATA, nlattr(unix.NFTA_DATA_VALUE, with)))
}

// rule ends what the expressions let through.
func (n *nftTaker) rule(verdict uint32, exprs ...[]byte) message {
	end := expr("immediate", nlbe32(unix.NFTA_IMMEDIATE_DREG, 0),
		nest(unix.NFTA_IMMEDIATE_DATA, nest(unix.NFTA_DATA_VERDICT, nlbe32(unix.NFTA_VERDICT_CODE, verdict))))
	return n.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND,
		nlstring(unix.NFTA_RULE_TABLE, n.table), nlstring(unix.NFTA_RULE_CHAIN, nftChain),
		nest(unix.NFTA_RULE_EXPRESSIONS, append(exprs, end)...))
}

// in lets through what finds the address in a set.
func (n *nftTaker) in(set int) []byte {
	return expr("lookup", nlstring(unix.NFTA_LOOKUP_SET, nftSets[set]), nlbe32(unix.NFTA_LOOKUP_SREG, nftDreg), nlbe32(unix.NFTA_LOOKUP_SET_ID, uint32(set)))
}

// loadHeader loads a part of the Ethernet header; a frame without one goes no
// further.
func loadHeader(offset, length uint32) []byte {
	return expr("payload", nlbe32(unix.NFTA_PAYLOAD_DREG, nftDreg), nlbe32(unix.NFTA_PAYLOAD_BASE, 0), // NFT_PAYLOAD_LL_HEADER
		nlbe32(unix.NFTA_PAYLOAD_OFFSET, offset), nlbe32(unix.NFTA_PAYLOAD_LEN, length))
}

func expr(name string, attrs ...[]byte) []byte {
	return nest(unix.NFTA_LIST_ELEM, nlstring(unix.NFTA_EXPR_NAME, name), nest(unix.NFTA_EXPR_DATA, attrs...))
}

func nest(typ uint16, parts ...[]byte) []byte { return nlattr(typ|unix.NLA_F_NESTED, parts...) }

func nlbe32(typ uint16, v uint32) []byte { return nlattr(typ, binary.BigEndian.AppendUint32(nil, v)) }

// Close takes the table with it, and doesn't leave that to the end of the socket,
// of which a child process that is being started has a copy.
func (n *nftTaker) Close() error {
	gone := n.transact([]message{n.message(unix.NFT_MSG_DELTABLE, 0, nlstring(unix.NFTA_TABLE_NAME, n.table))})
	if errors.Is(gone, unix.ENOENT) {
		gone = nil
	}
	if err := n.nl.close(); err != nil && !errors.Is(err, unix.EBADF) {
		return fmt.Errorf("close nf_tables: %w", err)
	}
	return gone
}
