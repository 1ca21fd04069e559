// Package lab makes small networks out of namespaces: a parent, a host on the
// wire, and vmacs that either the kernel's macvlan driver or the emulator
// drives, so that one scenario runs on both. Every device can be listened to
// and sent from, frame by frame. Tests, the demo and the benchmarks stand on
// it.
package lab
