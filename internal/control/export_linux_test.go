package control

import "time"

// Deafen makes the engine miss what happens from now on, as if its netlink
// socket had overflowed without a word.
func (e *Engine) Deafen() {
	e.hub.mu.Lock()
	defer e.hub.mu.Unlock()
	clear(e.hub.inode)
}

// Overflow is what the engine does when the kernel says that messages were lost.
func (e *Engine) Overflow() { e.hub.lost() }

// MaxClients and MaxRequests are the server's limits.
const (
	MaxClients  = maxClients
	MaxRequests = maxRequests
)

// SetRequestTime changes what clients have, until the returned function is
// called; not while a server runs.
func SetRequestTime(d time.Duration) (restore func()) {
	was := requestTime
	requestTime = d
	return func() { requestTime = was }
}
