package dataplane

// HearOutgoing makes o open a socket as on a kernel without
// PACKET_IGNORE_OUTGOING.
func HearOutgoing(o WireOptions) WireOptions {
	o.hearOutgoing = true
	return o
}
