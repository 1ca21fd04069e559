// Package classify answers one question: what would macvlan do with this frame?
//
// A Spec describes a port, a parent and its vmacs; NewTable compiles it;
// Table.Ingress decides a frame that the parent has received (as
// macvlan_handle_frame), Table.Egress one that a vmac sends (as
// macvlan_queue_xmit), and Table.Explain says why. The order of the checks, the
// order of the copies and the names are those of drivers/net/macvlan.c.
//
// The package is pure: it does no I/O, reads no clock, starts no goroutine, and
// looks at nothing but its arguments. Not decided here, because they take time
// or memory: the reassembly of group-addressed IPv4 fragments, which comes before
// Ingress, and whether the broadcast queue has room, which comes after it.
package classify
