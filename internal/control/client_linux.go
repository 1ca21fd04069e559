package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
)

// Client speaks to a daemon. Its methods may be called from any number of
// goroutines.
type Client struct {
	socket string
	inode  uint64
	http   *http.Client
}

// NoDaemonError says that nothing answers at Socket, or that this process may
// not ask it.
type NoDaemonError struct {
	Socket string
	Cause  error
}

func (e *NoDaemonError) Error() string {
	switch {
	case errors.Is(e.Cause, unix.EACCES):
		return fmt.Sprintf("the daemon at %s is another user's: %v; be root", e.Socket, e.Cause)
	case errors.Is(e.Cause, unix.EAGAIN):
		return fmt.Sprintf("the daemon at %s has too many clients waiting: %v; try again", e.Socket, e.Cause)
	}
	return fmt.Sprintf("no daemon answers at %s: %v; start one with: umacvlan daemon", e.Socket, e.Cause)
}

func (e *NoDaemonError) Unwrap() error { return e.Cause }

// SocketPath is the socket to use if none is given: $UMACVLAN_SOCKET, else
// DefaultSocket.
func SocketPath() string {
	if s := os.Getenv("UMACVLAN_SOCKET"); s != "" {
		return s
	}
	return DefaultSocket
}

// Dial connects to the daemon at socket ("" means SocketPath()) on behalf of
// the process's network namespace. The error is a *NoDaemonError if no daemon
// answers there.
func Dial(socket string) (*Client, error) {
	if socket == "" {
		socket = SocketPath()
	}
	// The leader's namespace, because that is what the daemon can see of us.
	ns, err := openOwn("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	c := &Client{socket: socket, inode: ns.Inode()}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, noDaemon(socket, err)
			}
			return conn, nil
		},
	}}
	if _, err := c.Status(context.Background()); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// noDaemon wraps err, keeping of it what a person can act on.
func noDaemon(socket string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return &NoDaemonError{Socket: socket, Cause: err}
}

// Close drops idle connections.
func (c *Client) Close() error { c.http.CloseIdleConnections(); return nil }

// Link asks for r. The refusal is what the (emulated) kernel answers; the error
// is anything that kept the request from being answered.
func (c *Client) Link(ctx context.Context, r LinkRequest) (LinkAnswer, *Refusal, error) {
	r.NetnsInode = c.inode
	var answer LinkAnswer
	for _, s := range []string{r.Name, r.Parent, deref(r.NewName), deref(r.Alias), deref(r.ToNetns), r.NetnsPath} {
		if !utf8.ValidString(s) { // JSON would carry another name
			return answer, refuse(unix.EINVAL, fmt.Sprintf("%q is not UTF-8", s)), nil
		}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return answer, nil, err
	}
	err = c.call(ctx, http.MethodPost, "/v1/link", body, &answer)
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return LinkAnswer{}, refusal, nil
	}
	return answer, nil, err
}

// Links lists the vmacs of the caller's namespace, or of the one at netnsPath
// if that is not empty; of those only the named ones, if there are names. A
// name that no vmac has is left out.
func (c *Client) Links(ctx context.Context, netnsPath string, names ...string) ([]Link, error) {
	q := url.Values{"inode": {fmt.Sprint(c.inode)}}
	if netnsPath != "" {
		q.Set("netns", netnsPath)
	}
	q["name"] = names
	var links []Link
	err := c.call(ctx, http.MethodGet, "/v1/links?"+q.Encode(), nil, &links)
	return links, err
}

// Fdb asks for r, as Link does.
func (c *Client) Fdb(ctx context.Context, r FdbRequest) (*Refusal, error) {
	r.NetnsInode = c.inode
	for _, s := range []string{r.Dev, r.NetnsPath} {
		if !utf8.ValidString(s) {
			return refuse(unix.EINVAL, fmt.Sprintf("%q is not UTF-8", s)), nil
		}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	err = c.call(ctx, http.MethodPost, "/v1/fdb", body, &struct{}{})
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal, nil
	}
	return nil, err
}

// FdbEntries lists the further addresses of the vmacs that Links would list.
func (c *Client) FdbEntries(ctx context.Context, netnsPath string, names ...string) ([]FdbEntry, error) {
	q := url.Values{"inode": {fmt.Sprint(c.inode)}}
	if netnsPath != "" {
		q.Set("netns", netnsPath)
	}
	q["name"] = names
	var list []FdbEntry
	err := c.call(ctx, http.MethodGet, "/v1/fdb?"+q.Encode(), nil, &list)
	return list, err
}

// Explain asks what becomes of a frame, and why. A refusal is a *Refusal.
func (c *Client) Explain(ctx context.Context, r ExplainRequest) (classify.Explanation, error) {
	r.NetnsInode = c.inode
	var x classify.Explanation
	body, err := json.Marshal(r)
	if err != nil {
		return x, err
	}
	err = c.call(ctx, http.MethodPost, "/v1/explain", body, &x)
	return x, err
}

// Ledgers returns the accounts of every parent.
func (c *Client) Ledgers(ctx context.Context) ([]Ledger, error) {
	var l []Ledger
	err := c.call(ctx, http.MethodGet, "/v1/ledger", nil, &l)
	return l, err
}

// Apply asks that what runs becomes what a file says.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (ApplyReport, error) {
	var report ApplyReport
	body, err := json.Marshal(r)
	if err != nil {
		return report, err
	}
	err = c.call(ctx, http.MethodPost, "/v1/apply", body, &report)
	return report, err
}

// Export describes what runs as a file.
func (c *Client) Export(ctx context.Context) (Export, error) {
	var x Export
	err := c.call(ctx, http.MethodGet, "/v1/export", nil, &x)
	return x, err
}

// Status describes the daemon.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// call does one exchange. A refusal comes back as a *Refusal.
func (c *Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://umacvlan"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var none *NoDaemonError
		if errors.As(err, &none) {
			return none
		}
		return fmt.Errorf("ask daemon at %s: %w", c.socket, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var refusal Refusal
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if json.Unmarshal(text, &refusal) == nil && refusal.Errno != 0 {
			return &refusal
		}
		return fmt.Errorf("ask daemon at %s: %s: %s", c.socket, resp.Status, bytes.TrimSpace(text))
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read answer of daemon at %s: %w", c.socket, err)
	}
	return nil
}
