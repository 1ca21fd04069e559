package control

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerKey is what a request's context keeps its connection under.
type peerKey struct{}

// peerOf returns who has connected.
func peerOf(c net.Conn) (*unix.Ucred, error) {
	u, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("no socket")
	}
	rc, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	cerr := rc.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return cred, errors.Join(cerr, err)
}

// namespaceFor opens the namespace that a request speaks of: the one at path if
// it gives one, else the client's, which has to be the one that the client says.
func namespaceFor(r *http.Request, inode uint64, path string) (Namespace, *Refusal) {
	if path != "" {
		if !filepath.IsAbs(path) {
			return Namespace{}, refuse(unix.EINVAL, fmt.Sprintf("netns %q is no absolute path", path))
		}
		ns, err := OpenNamespace(path)
		if err != nil {
			return ns, refusalOf(err, err.Error())
		}
		return ns, nil
	}
	c, _ := r.Context().Value(peerKey{}).(net.Conn)
	cred, err := peerOf(c)
	if err != nil {
		return Namespace{}, refusalOf(err, "peer credentials: "+err.Error())
	}
	if cred.Pid == 0 {
		return Namespace{}, refuse(unix.ESRCH, "the client is in a PID namespace that the daemon can't see; name its network namespace with -n")
	}
	ns, err := OpenNamespace(fmt.Sprintf("/proc/%d/ns/net", cred.Pid))
	if err != nil {
		return Namespace{}, refusalOf(err, fmt.Sprintf("the network namespace of the client, pid %d, can't be opened (%v); name it with -n", cred.Pid, err))
	}
	if ns.inode != inode {
		ns.Close()
		return Namespace{}, refuse(unix.ESTALE, fmt.Sprintf(
			"the client says that it is in network namespace %d, and pid %d is in %d; name it with -n", inode, cred.Pid, ns.inode))
	}
	return ns, nil
}
