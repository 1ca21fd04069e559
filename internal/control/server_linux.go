package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ServerOptions configures Serve.
type ServerOptions struct {
	Socket  string       // "" means SocketPath()
	Version string       // shown by /v1/status
	Logger  *slog.Logger // nil discards
	// Listener, if set, is a socket that the service manager listens at already;
	// Socket is not used then.
	Listener net.Listener
	// Config is the file that an apply without one means; "" is none.
	Config string
	// Ready, if set, is called once requests are accepted.
	Ready func(socket string)
}

// Serve answers the API for e at a unix socket until ctx is done, then removes
// the socket. It refuses a socket that a living daemon serves. The engine must
// be run by the caller beside it. If $NOTIFY_SOCKET is set, the service manager
// is told when requests are accepted.
func Serve(ctx context.Context, e *Engine, o ServerOptions) error {
	if o.Socket == "" {
		o.Socket = SocketPath()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := o.Listener, error(nil)
	if l != nil {
		o.Socket = l.Addr().String()
	} else if l, err = listen(o.Socket); err != nil {
		return err
	}
	l = limitListener(l)
	s := &server{e: e, o: o, limits: newLimits()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/link", s.link)
	mux.HandleFunc("GET /v1/links", s.links)
	mux.HandleFunc("POST /v1/fdb", s.fdb)
	mux.HandleFunc("GET /v1/fdb", s.fdbEntries)
	mux.HandleFunc("POST /v1/explain", s.explain)
	mux.HandleFunc("GET /v1/ledger", func(w http.ResponseWriter, _ *http.Request) { reply(w, e.Ledgers()) })
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/apply", s.apply)
	mux.HandleFunc("GET /v1/export", s.export)
	srv := &http.Server{
		Handler: s.limits.guard(mux), ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: requestTime, ReadTimeout: requestTime, IdleTimeout: idleTime, MaxHeaderBytes: 64 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, peerKey{}, c) },
	}
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { ended <- srv.Serve(l) }()
	if o.Ready != nil {
		o.Ready(o.Socket)
	}
	notify("READY=1", o.Logger)
	pinging := make(chan struct{})
	go func() { defer close(pinging); e.watchdog(ctx) }()
	defer func() { <-pinging }()
	select {
	case err = <-ended:
		stop()
		return fmt.Errorf("serve %s: %w", o.Socket, err)
	case <-ctx.Done():
	}
	notify("STOPPING=1", o.Logger)
	// What is being answered is answered; a client that only keeps its
	// connection open doesn't hold us up.
	grace, over := context.WithTimeout(context.Background(), 3*time.Second)
	defer over()
	if srv.Shutdown(grace) != nil {
		srv.Close()
	}
	<-ended
	return nil
}

// listen makes the socket, mode 0600. One that a dead daemon has left is
// replaced.
func listen(path string) (_ net.Listener, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	// Of two that start at once one comes second.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock directory of %s: %w", path, err)
	}
	if err := refuseLiving(path); err != nil {
		return nil, err
	}
	// bind and rename, so that the socket is never there with a wider mode, and
	// never without somebody who listens.
	temp := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(temp)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	err = errors.Join(os.Chmod(temp, 0o600), os.Rename(temp, path))
	if err != nil {
		l.Close()
		os.Remove(temp)
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return &socketListener{UnixListener: l, path: path}, nil
}

// socketListener removes its socket when it is closed.
type socketListener struct {
	*net.UnixListener
	path   string
	remove sync.Once
}

func (l *socketListener) Close() error {
	// The name first, as another daemon may take it as soon as nobody listens.
	l.remove.Do(func() { os.Remove(l.path) })
	return l.UnixListener.Close()
}

// refuseLiving returns an error if somebody answers at path, or if it is no
// socket.
func refuseLiving(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("listen at %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("listen at %s: a file that is no socket is there", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil // nobody listens any more
	case err != nil: // EAGAIN: so many wait that one more can't
		return fmt.Errorf("listen at %s: somebody listens there: %w", path, err)
	}
	defer c.Close()
	if cred, err := peerOf(c); err == nil {
		return fmt.Errorf("listen at %s: already running, pid %d", path, cred.Pid)
	}
	return fmt.Errorf("listen at %s: already running", path)
}

type server struct {
	e      *Engine
	o      ServerOptions
	limits *limits
}

func (s *server) link(w http.ResponseWriter, r *http.Request) {
	var req LinkRequest
	if !s.decode(w, r, &req) {
		return
	}
	ns, refusal := namespaceFor(r, req.NetnsInode, req.NetnsPath)
	if refusal != nil {
		refuseWith(w, http.StatusForbidden, refusal)
		return
	}
	defer ns.Close()
	// A client that goes away doesn't take its request back.
	answer, refusal := s.e.Link(context.WithoutCancel(r.Context()), req, ns)
	if refusal != nil {
		refuseWith(w, http.StatusUnprocessableEntity, refusal)
		return
	}
	reply(w, answer)
}

func (s *server) explain(w http.ResponseWriter, r *http.Request) {
	var req ExplainRequest
	if !s.decode(w, r, &req) {
		return
	}
	ns, refusal := namespaceFor(r, req.NetnsInode, req.NetnsPath)
	if refusal != nil {
		refuseWith(w, http.StatusForbidden, refusal)
		return
	}
	defer ns.Close()
	x, refusal := s.e.Explain(r.Context(), req, ns)
	if refusal != nil {
		refuseWith(w, http.StatusUnprocessableEntity, refusal)
		return
	}
	reply(w, x)
}

// decode reads a request's body, or refuses it.
func (s *server) decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if r.ContentLength < 0 || r.ContentLength > smallSize {
		release, ok := s.limits.one(r)
		if !ok {
			return false
		}
		defer release()
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestSize))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		refuseWith(w, http.StatusBadRequest, &Refusal{Errno: int(unix.EINVAL), Hint: "request: " + err.Error()})
		return false
	}
	return true
}

func (s *server) links(w http.ResponseWriter, r *http.Request)      { list(s, w, r, s.e.Links) }
func (s *server) fdbEntries(w http.ResponseWriter, r *http.Request) { list(s, w, r, s.e.FdbEntries) }

// list answers with what there is in a namespace, by the names of vmacs.
func list[T any](s *server, w http.ResponseWriter, r *http.Request, of func(Namespace, ...string) ([]T, error)) {
	q := r.URL.Query()
	var inode uint64
	if _, err := fmt.Sscan(q.Get("inode"), &inode); err != nil && q.Get("netns") == "" {
		refuseWith(w, http.StatusBadRequest, &Refusal{Errno: int(unix.EINVAL), Hint: "a list: inode or netns is needed"})
		return
	}
	ns, refusal := namespaceFor(r, inode, q.Get("netns"))
	if refusal != nil {
		refuseWith(w, http.StatusForbidden, refusal)
		return
	}
	defer ns.Close()
	release, ok := s.limits.one(r)
	if !ok {
		return
	}
	defer release()
	all, err := of(ns, q["name"]...)
	if err != nil {
		refuseWith(w, http.StatusInternalServerError, refusalOf(err, err.Error()))
		return
	}
	reply(w, all)
}

func (s *server) fdb(w http.ResponseWriter, r *http.Request) {
	var req FdbRequest
	if !s.decode(w, r, &req) {
		return
	}
	ns, refusal := namespaceFor(r, req.NetnsInode, req.NetnsPath)
	if refusal != nil {
		refuseWith(w, http.StatusForbidden, refusal)
		return
	}
	defer ns.Close()
	if refusal := s.e.Fdb(context.WithoutCancel(r.Context()), req, ns); refusal != nil {
		refuseWith(w, http.StatusUnprocessableEntity, refusal)
		return
	}
	reply(w, struct{}{})
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	st := s.e.Status()
	st.Version, st.Socket, st.Config = s.o.Version, s.o.Socket, s.o.Config
	reply(w, st)
}

func (s *server) apply(w http.ResponseWriter, r *http.Request) {
	var req ApplyRequest
	if !s.decode(w, r, &req) {
		return
	}
	var report ApplyReport
	var err error
	ctx := context.WithoutCancel(r.Context())
	switch {
	case req.Text != "":
		report, err = s.e.ApplyText(ctx, req.File, req.Text, req.DryRun)
	case s.o.Config == "":
		refuseWith(w, http.StatusUnprocessableEntity, refuse(unix.ENOENT, "the daemon was started without --config; name a file"))
		return
	case req.DryRun:
		report, err = s.e.ApplyFile(ctx, s.o.Config, true)
	default:
		report, err = Reload(ctx, s.e, s.o.Config, s.o.Logger)
	}
	if err != nil {
		refuseWith(w, http.StatusUnprocessableEntity, refusalOf(err, err.Error()))
		return
	}
	reply(w, report)
}

func (s *server) export(w http.ResponseWriter, r *http.Request) {
	x, err := s.e.Export(r.Context())
	if err != nil {
		refuseWith(w, http.StatusInternalServerError, refusalOf(err, err.Error()))
		return
	}
	reply(w, x)
}

func reply(w http.ResponseWriter, v any) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(requestTime))
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func refuseWith(w http.ResponseWriter, status int, r *Refusal) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(requestTime))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(r)
}
