// Package bench compares switches that do macvlan's work: the kernel's driver
// and the emulator, on the same topology, under the same traffic, in one run,
// taking turns. What counts is the ratio of the two; absolute rates belong to
// the machine and the hour.
//
// Sender, receiver and emulator are processes of their own, made by starting
// the running program again. A program that uses Run, or a test binary that
// does, must therefore call RunChild before anything else.
package bench
