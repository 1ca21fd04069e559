package classify

// bucket is macvlan_eth_hash: the chain of the port's hash in which an address
// lives. Only the order of a flood depends on it.
func (m MAC) bucket() uint8 {
	const goldenRatio64 = 0x61C8864680B583EB
	return uint8(uint64(m) << 16 * goldenRatio64 >> 56)
}

// groupHash is mc_hash: the bit of a 256-bit filter that stands for m. It looks
// at the last four octets only.
func (m MAC) groupHash(key uint32) uint8 {
	const goldenRatio32 = 0x61C88647
	return uint8((uint32(m>>16) ^ key) * goldenRatio32 >> 24)
}

// groupFilter is a bitmap of MACVLAN_MC_FILTER_SZ bits.
type groupFilter [4]uint64

var allGroups = groupFilter{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

func (f *groupFilter) set(bit uint8)      { f[bit>>6] |= 1 << (bit & 63) }
func (f *groupFilter) has(bit uint8) bool { return f[bit>>6]>>(bit&63)&1 != 0 }

// macHash finds the up vmac that owns an address: open addressing, a power of
// two of slots, at most a quarter of them taken, so that the first one nearly
// always settles it. A slot is the address in the low 48 bits, the vmac's number
// above, and 0 if free. No vmac has a group address, so the address's lowest bit
// is free to say "takes nothing by destination" (source mode): a unicast frame
// is decided with one load.
type macHash struct {
	slots []uint64
	mul   uint64
	shift uint8
}

const (
	notByDst = 1
	macMask  = uint64(Broadcast)
)

// multipliers are tried in turn until one spreads the addresses well enough, or
// it is the last; the addresses are an administrator's, and may have a pattern.
var multipliers = [...]uint64{0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 0xAF251AF3B0F025B5, 0xB564EF22EC7AECE5, 0xF7C2EBC08F67F2B5}

// longestProbe is how far a slot may be from where its hash points before
// another multiplier is tried.
const longestProbe = 16

func newMACHash(slots []uint64) (h macHash) {
	bits := uint8(1)
	for 1<<bits < 4*len(slots) {
		bits++
	}
	for _, mul := range multipliers {
		h = macHash{slots: make([]uint64, 1<<bits), mul: mul, shift: 64 - bits}
		probe := 0
		for _, s := range slots {
			probe = max(probe, h.insert(s))
		}
		if probe <= longestProbe {
			break
		}
	}
	return h
}

// insert takes the first free slot from where the hash points. There is no
// wrapping round: a run that reaches the end makes the table longer, and the end
// is as good as a free slot.
func (h *macHash) insert(slot uint64) (probe int) {
	i := (slot & macMask &^ notByDst) * h.mul >> h.shift
	for i < uint64(len(h.slots)) && h.slots[i] != 0 {
		i++
		probe++
	}
	if i == uint64(len(h.slots)) {
		h.slots = append(h.slots, 0)
	}
	h.slots[i] = slot
	return probe
}

// lookup returns the slot of the vmac that owns m, 0 if none does. m must not
// be a group address.
func (h *macHash) lookup(m MAC) uint64 {
	slots := h.slots
	for i := uint64(m) * h.mul >> (h.shift & 63); i < uint64(len(slots)); i++ {
		if s := slots[i]; s == 0 || (s^uint64(m))&(macMask&^notByDst) == 0 {
			return s
		}
	}
	return 0
}

// vmacOf is the vmac's number in a slot that lookup returned.
func vmacOf(slot uint64) int32 { return int32(slot >> 48) }

// sourceHash finds the source-list entries that name an address, in the way of
// macHash. Most frames come from nobody listed and read one key.
type sourceHash struct {
	keys  []MAC // empty if nothing is listed, an element 0 if free
	lists []sourceList
	refs  []sourceRef
	shift uint8
}

// sourceList is what the key of the same number stands for.
type sourceList struct {
	start, end uint32 // the entries, in refs
	nodst      bool   // any of them, of a down vmac too, has the flag
}

// sourceRef is one up vmac that lists the address.
type sourceRef struct {
	mac  MAC // the vmac's own
	vmac int32
}

// find returns the number of m's key, -1 if nobody lists it.
func (h *sourceHash) find(m MAC) int {
	keys := h.keys
	for i := uint64(m) * multipliers[0] >> (h.shift & 63); i < uint64(len(keys)); i++ {
		if keys[i] == 0 {
			break
		}
		if keys[i] == m {
			return int(i)
		}
	}
	return -1
}

// insert is macHash.insert.
func (h *sourceHash) insert(m MAC, l sourceList) {
	i := uint64(m) * multipliers[0] >> h.shift
	for i < uint64(len(h.keys)) && h.keys[i] != 0 {
		i++
	}
	if i == uint64(len(h.keys)) {
		h.keys, h.lists = append(h.keys, 0), append(h.lists, sourceList{})
	}
	h.keys[i], h.lists[i] = m, l
}
