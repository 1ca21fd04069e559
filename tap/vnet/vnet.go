// Package vnet knows the virtio-net header that stands before a frame on a TAP
// and on an AF_PACKET socket, and what it implies: unfinished checksums,
// super-frames, and offsets that move when a VLAN tag is put back.
//
// A raw frame is, everywhere in this project, the 10-byte header followed
// directly by the Ethernet frame, in one slice.
package vnet

// HdrLen is the length of struct virtio_net_hdr.
const HdrLen = 10
