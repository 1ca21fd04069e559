// Package random makes scenarios by chance, plays them in several ways and
// compares what they observe, and makes what differs as small as it gets. It is
// pure: the ways of running are handed in.
package random
