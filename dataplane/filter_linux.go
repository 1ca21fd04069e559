package dataplane

import (
	"errors"

	"golang.org/x/sys/unix"
)

// attachFilter replaces the socket's filter at once, there is no moment without
// one. If the kernel has no room for so large a program (net.core.optmem_max,
// 20 KiB before Linux 6.7) it takes one that passes everything instead and says
// so. Works in a user namespace, as classic BPF needs no privilege.
func attachFilter(fd int, f filterSet, dropOutgoing bool) (full bool, err error) {
	prog, full := f.program(dropOutgoing)
	err = attachProgram(fd, prog)
	if errors.Is(err, unix.ENOMEM) && !full {
		prog, _ = filterSet{all: true}.program(dropOutgoing)
		return true, attachProgram(fd, prog)
	}
	return full, err
}

func attachProgram(fd int, prog []insn) error {
	f := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		f[i] = unix.SockFilter{Code: in.code, Jt: in.jt, Jf: in.jf, K: in.k}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]})
}
