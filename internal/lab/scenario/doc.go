// Package scenario is the language in which experiments with macvlan are
// written down, and the model that plays them without a kernel.
//
// A file is one port and a number of steps, a statement a line:
//
//	title   A vepa vmac hears its bridge sibling's broadcast only by way of a switch
//	vmac    b1 mode bridge
//	vmac    v1 mode vepa
//
//	send    b1: b1 > broadcast      # on its way out
//	  wire gets broadcast
//	send    wire: b1 > broadcast    # sent back by a switch
//	  v1 stack get broadcast
//
// The header may say the profile of an older driver, which ways can run it
// ("only kernel emulator because …"), what it was recorded on, the parent (mtu,
// address, offloads) and names for addresses. A vmac has the keywords of ip
// (mode, flag, bcqueuelen, bclim, macaddr, address, mtu) and list, broadcast,
// join, promisc, allmulti, down, netns, on.
//
// Steps are send, and the control actions add, set, delete, join, leave, fdb
// (add, replace or del of a further address, as "bridge fdb" does) and show. Indented below a step stands what follows from it: who gets the frame
// and as what type, "nobody", what is counted, the answer, the order, and what a
// show shows. Whoever isn't named gets nothing; a send without a line expects
// nothing in particular.
//
// Parse reads a file, Format writes one in canonical form with its comments,
// Frame makes a step's bytes, a Player plays it, Check holds the result against
// what is expected and Compare two results against each other, and Record turns
// a result into expectations. Nothing in this package needs a privilege, or
// more of an operating system than a file to read a capture from.
package scenario
