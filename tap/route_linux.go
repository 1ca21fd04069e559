package tap

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// route is an rtnetlink socket, which belongs to the network namespace in which
// it was made, wherever it is used. It takes the interface ioctls too.
type route struct {
	fd int
}

// openRoute opens a socket in the namespace of the calling thread.
func openRoute() (*route, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink socket: %w", err)
	}
	return &route{fd}, nil
}

// openRouteIn opens a socket in namespace ns. Only if that is another one than
// the caller's it needs setns, which a process without CAP_SYS_ADMIN may not call.
func openRouteIn(ns int) (*route, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := unix.Open(threadNetns(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open own netns: %w", err)
	}
	defer unix.Close(own)
	if sameFile(own, ns) {
		return openRoute()
	}
	return openRouteElsewhere(ns)
}

type opened struct {
	r   *route
	err error
}

// openRouteElsewhere borrows a thread. Not the process's first one: what it does
// shows in /proc/self/net and /proc/PID/ns, which others read.
func openRouteElsewhere(ns int) (*route, error) {
	done := make(chan opened, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			r, err := openRouteElsewhere(ns)
			done <- opened{r, err}
			return
		}
		r, err, clean := openRouteByThread(ns)
		if clean {
			runtime.UnlockOSThread() // otherwise the thread ends with the goroutine
		}
		done <- opened{r, err}
	}()
	o := <-done
	return o.r, o.err
}

// openRouteByThread reports in clean whether the thread is back where it was.
func openRouteByThread(ns int) (r *route, err error, clean bool) {
	own, err := unix.Open(threadNetns(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open own netns: %w", err), true
	}
	defer unix.Close(own)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("setns: %w", err), true
	}
	r, err = openRoute()
	return r, err, unix.Setns(own, unix.CLONE_NEWNET) == nil
}

func threadNetns() string { return fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()) }

func sameFile(a, b int) bool {
	var sa, sb unix.Stat_t
	return unix.Fstat(a, &sa) == nil && unix.Fstat(b, &sb) == nil && sa.Dev == sb.Dev && sa.Ino == sb.Ino
}

func (r *route) close() { unix.Close(r.fd) }

func (r *route) ifreq(name string, req uint) (*unix.Ifreq, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	return ifr, unix.IoctlIfreq(r.fd, req, ifr)
}

// index returns the index of the device with that name, or ENODEV.
func (r *route) index(name string) (int, error) {
	ifr, err := r.ifreq(name, unix.SIOCGIFINDEX)
	if err != nil {
		return 0, err
	}
	return int(ifr.Uint32()), nil
}

func (r *route) mtu(name string) (int, error) {
	ifr, err := r.ifreq(name, unix.SIOCGIFMTU)
	if err != nil {
		return 0, err
	}
	return int(ifr.Uint32()), nil
}

type attr struct {
	kind  uint16
	value []byte
}

func attr32(kind uint16, v int) attr {
	return attr{kind, binary.NativeEndian.AppendUint32(nil, uint32(v))}
}

// set changes a link: the bits of flags that change names, and attributes.
func (r *route) set(index int, flags, change uint32, attrs ...attr) error {
	return r.request(unix.RTM_SETLINK, index, flags, change, attrs)
}

// remove deletes a link.
func (r *route) remove(index int) error {
	return r.request(unix.RTM_DELLINK, index, 0, 0, nil)
}

// packets returns how many frames a link has received and sent.
func (r *route) packets(index int) (rx, tx uint64, err error) {
	ne := binary.NativeEndian
	m := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	ne.PutUint32(m, uint32(len(m)))
	ne.PutUint16(m[4:], unix.RTM_GETLINK)
	ne.PutUint16(m[6:], unix.NLM_F_REQUEST)
	ne.PutUint32(m[unix.SizeofNlMsghdr+4:], uint32(index))
	if err := unix.Sendto(r.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, 0, fmt.Errorf("send to rtnetlink: %w", err)
	}
	answer := make([]byte, 32<<10)
	n, _, err := unix.Recvfrom(r.fd, answer, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("receive from rtnetlink: %w", err)
	}
	const header = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	if n < header || ne.Uint16(answer[4:]) != unix.RTM_NEWLINK {
		return 0, 0, unix.ENODEV
	}
	for b := answer[header:n]; len(b) >= unix.SizeofRtAttr; {
		size := int(ne.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			break
		}
		if ne.Uint16(b[2:]) == unix.IFLA_STATS64 && size >= unix.SizeofRtAttr+16 {
			return ne.Uint64(b[4:]), ne.Uint64(b[12:]), nil
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return 0, 0, unix.EBADMSG
}

// request sends one link message and waits for the kernel's answer to it.
func (r *route) request(kind uint16, index int, flags, change uint32, attrs []attr) error {
	ne := binary.NativeEndian
	m := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg, 512)
	ne.PutUint16(m[4:], kind)
	ne.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	info := m[unix.SizeofNlMsghdr:]
	ne.PutUint32(info[4:], uint32(index))
	ne.PutUint32(info[8:], flags)
	ne.PutUint32(info[12:], change)
	for _, a := range attrs {
		m = ne.AppendUint16(m, uint16(unix.SizeofRtAttr+len(a.value)))
		m = ne.AppendUint16(m, a.kind)
		m = append(m, a.value...)
		m = append(m, make([]byte, -len(m)&(unix.NLMSG_ALIGNTO-1))...)
	}
	ne.PutUint32(m, uint32(len(m)))
	if err := unix.Sendto(r.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to rtnetlink: %w", err)
	}
	// The answer repeats the request.
	answer := make([]byte, 2*len(m)+512)
	for {
		n, _, err := unix.Recvfrom(r.fd, answer, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("receive from rtnetlink: %w", err)
		case n < unix.SizeofNlMsghdr+4 || ne.Uint16(answer[4:]) != unix.NLMSG_ERROR:
			return fmt.Errorf("receive from rtnetlink: %w", unix.EBADMSG)
		}
		if e := int32(ne.Uint32(answer[unix.SizeofNlMsghdr:])); e != 0 {
			return unix.Errno(-e)
		}
		return nil
	}
}
