package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/umacvlan/umacvlan/internal/config"
	"github.com/umacvlan/umacvlan/internal/control"
)

// stay is what a daemon has that shall outlast it: the file that says what there
// shall be, and the one that says what there was.
type stay struct {
	config string
	first  *config.Config
	state  *control.StateFile
}

// newStay reads both. A configuration that is wrong keeps a daemon from starting:
// half a network is worse than the message.
func newStay(configFile, stateFile string, logger *slog.Logger) (*stay, error) {
	s := &stay{config: configFile}
	if configFile != "" {
		text, err := os.ReadFile(configFile)
		if err != nil {
			return nil, err
		}
		var problems config.Problems
		if s.first, problems = config.Parse(configFile, text); s.first == nil {
			return nil, &failure{exitUsage, []string{problems.Error()}}
		}
		for _, p := range problems {
			logger.Warn("configuration", "file", configFile, "line", p.Line, "column", p.Column, "problem", p.Text)
		}
	}
	if stateFile != "" {
		var err error
		if s.state, err = control.OpenState(stateFile, logger); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *stay) close() {
	if s.state != nil {
		s.state.Close()
	}
}

// begin makes what shall be there. What can't be made is logged.
func (s *stay) begin(ctx context.Context, e *control.Engine) error {
	err := e.Restore(ctx, s.first != nil)
	if err == nil && s.first != nil {
		_, err = e.Apply(ctx, s.first, false)
	}
	return err
}

// hangups applies the file again on every SIGHUP until ctx is done. Without a
// file there is nothing to do, but no reason to die either.
func (s *stay) hangups(ctx context.Context, hup <-chan os.Signal, e *control.Engine, logger *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		if s.config == "" {
			logger.Warn("SIGHUP does nothing without --config")
			continue
		}
		r, err := control.Reload(ctx, e, s.config, logger)
		if err == nil && !r.Problems.Failed() {
			logger.Info("configuration applied", "file", s.config, "changes", len(r.Steps), "waiting", len(r.Waiting), "failed", r.Failed())
		}
	}
}

// writeStay is what status says of it.
func writeStay(w io.Writer, s *control.Status) {
	if s.Config != "" {
		fmt.Fprintf(w, "config\t%s\n", s.Config)
	}
	if s.State != nil {
		how := "not saved yet"
		switch {
		case s.State.Error != "":
			how = "NOT SAVED: " + s.State.Error
		case !s.State.Saved.IsZero():
			how = "saved " + s.State.Saved.Format(time.DateTime)
		}
		fmt.Fprintf(w, "state\t%s, %s\n", s.State.File, how)
	}
	for _, v := range s.Waiting {
		fmt.Fprintf(w, "waiting\t%s\n", v)
	}
}
