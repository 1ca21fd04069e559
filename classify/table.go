package classify

// Meta is what the frame's bytes don't say about it.
type Meta struct {
	Type PacketType // how the parent's kernel classified it; ingress only
	GSO  bool       // a super-frame, exempt from the receiver's MTU; egress only
}

// Table is the decision for one Spec: immutable, for any number of readers.
type Table struct{}

// NewTable compiles s. It keeps nothing of s.
func NewTable(s *Spec) (*Table, error) { return &Table{}, nil }

// Ingress decides a frame received on the parent (macvlan_handle_frame). It
// appends the copies to dst, in the kernel's order, and returns one verdict for
// the frame. The VLAN tag, if any, stands in the frame.
func (t *Table) Ingress(frame []byte, m Meta, dst []Copy) ([]Copy, Verdict) {
	return dst, Verdict{}
}

// Egress decides a frame sent by vmac number from (macvlan_queue_xmit).
func (t *Table) Egress(from int, frame []byte, m Meta, dst []Copy) ([]Copy, Verdict) {
	return dst, Verdict{}
}

// Addresses is what a port asks of its parent.
type Addresses struct {
	Unicast   []MAC // dev_uc_add: each up vmac's own address, none for passthru
	Multicast []MAC // dev_mc_add
	Promisc   bool  // dev_set_promiscuity
	Allmulti  bool  // dev_set_allmulti

	// What a socket filter on the parent has to pass beside groups: the
	// addresses of all vmacs, up or down, and every listed source. With All it
	// has to pass everything (a passthru port).
	Dst []MAC
	Src []MAC
	All bool
}

// Addresses returns what s asks of its parent, each list sorted and without
// duplicates.
func (s *Spec) Addresses() Addresses { return Addresses{} }
