// Package programs has only tests: real programs, unmodified as Debian packages
// them, do on umacvlan devices what they are made to do on macvlan.
package programs
