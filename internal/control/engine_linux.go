package control

import (
	"context"
	"log/slog"
)

// EngineOptions configures an Engine; the zero value is the default.
type EngineOptions struct {
	// Logger receives what happens to vmacs that nobody asked for through Link;
	// nil discards it.
	Logger *slog.Logger
}

// Engine makes vmacs and keeps them as the kernel driver would, on any number
// of parents in any number of network namespaces. All methods may be called
// from any number of goroutines; requests are served one after the other, as
// under the kernel's RTNL.
type Engine struct {
	log *slog.Logger
}

// NewEngine makes an Engine. It does nothing until Run.
func NewEngine(o EngineOptions) *Engine {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Engine{log: log}
}

// Run starts every goroutine and returns when the last has ended, after ctx is
// done. Nothing is left then: no device, no membership on a parent, no
// descriptor. It may be called once. Link and Links may be called before: they
// wait for it.
func (e *Engine) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Link executes a request as the kernel would for a caller in ns. ctx bounds
// waiting for the data threads only; a request is never left half done.
func (e *Engine) Link(ctx context.Context, r LinkRequest, ns Namespace) (LinkAnswer, *Refusal) {
	return LinkAnswer{}, &Refusal{Errno: 95, Hint: errNotRunning.Error()}
}

// Links lists the vmacs that live in ns, or of those the named ones, in order
// of ifindex. A name that no vmac has is left out.
func (e *Engine) Links(ns Namespace, names ...string) ([]Link, error) { return nil, errNotRunning }

// Ledgers returns the accounts of every parent that has vmacs.
func (e *Engine) Ledgers() []Ledger { return nil }

// Status describes the engine; Socket and Version are the caller's to fill.
func (e *Engine) Status() Status { return Status{} }
