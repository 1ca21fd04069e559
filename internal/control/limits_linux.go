package control

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What a client may take of the daemon, and all of them together: so many
// connections (more wait in the socket's backlog), so many requests at a time
// (more are refused), and of those that take megabytes of memory, so many (more
// wait).
const (
	idleTime    = 10 * time.Second
	requestSize = 4 << 20 // a source list of 65536 addresses is 1.3 MB
	smallSize   = 64 << 10

	maxClients  = 512
	maxRequests = 256
	maxLarge    = 8
)

// requestTime is what a client has to send a request, and to take its answer.
// Only tests change it.
var requestTime = 10 * time.Second

// limits is the gate before the server's handlers.
type limits struct {
	requests atomic.Int32
	large    chan struct{}
}

func newLimits() *limits { return &limits{large: make(chan struct{}, maxLarge)} }

// guard refuses whom the daemon isn't there for, and what is too much.
func (l *limits) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer l.requests.Add(-1)
		if n := l.requests.Add(1); n > maxRequests {
			w.Header().Set("Connection", "close")
			refuseWith(w, http.StatusServiceUnavailable, refuse(unix.EBUSY,
				fmt.Sprintf("the daemon is answering %d requests already; try again", maxRequests)))
			return
		}
		if refusal := stranger(r); refusal != nil {
			refuseWith(w, http.StatusForbidden, refusal)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// stranger refuses everybody but root and the daemon's own user, whatever has
// become of the socket's mode.
func stranger(r *http.Request) *Refusal {
	c, _ := r.Context().Value(peerKey{}).(net.Conn)
	cred, err := peerOf(c)
	if err != nil {
		return refusalOf(err, "peer credentials: "+err.Error())
	}
	if own := unix.Geteuid(); cred.Uid != 0 && int(cred.Uid) != own {
		return refuse(unix.EPERM, fmt.Sprintf("user %d may not; the daemon answers root and user %d", cred.Uid, own))
	}
	return nil
}

// one waits for its turn among what takes much memory, until the client is gone.
func (l *limits) one(r *http.Request) (release func(), ok bool) {
	select {
	case l.large <- struct{}{}:
		return func() { <-l.large }, true
	case <-r.Context().Done():
		return func() {}, false
	}
}

// limitedListener accepts no more than maxClients at a time.
type limitedListener struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
}

func limitListener(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, slots: make(chan struct{}, maxClients), done: make(chan struct{})}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	u, ok := c.(*net.UnixConn)
	if err != nil || !ok {
		<-l.slots
		return c, err
	}
	return &limitedConn{UnixConn: u, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	*net.UnixConn
	free func()
}

func (c *limitedConn) Close() error {
	defer c.free()
	return c.UnixConn.Close()
}
