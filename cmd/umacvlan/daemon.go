package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/internal/control"
)

func (a *app) daemonCommand() *cobra.Command {
	var level, format, configFile string
	var options control.EngineOptions
	var asJSON bool
	stateFile := defaultState(a.getenv)
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Answer umacvlan link, and move the frames",
		Long: "daemon runs in the foreground and logs to stderr. It serves every network namespace.\n" +
			"SIGTERM or Ctrl-C end it and leave nothing behind: the devices it made go with it.\n" +
			"With --config it makes what the file says, and on SIGHUP reads it again. With --state it\n" +
			"makes what an earlier daemon with that file had, with the same addresses.",
		Example: "  umacvlan daemon &\n" +
			"  umacvlan daemon --socket /tmp/umacvlan.sock --log-level debug\n" +
			"  umacvlan daemon --config /etc/umacvlan/config.yaml --state /var/lib/umacvlan/state.json",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				format = "json"
			}
			logger, err := newLogger(a.stderr, level, format)
			if err != nil {
				return err
			}
			if err := checkPrivilege(capabilities); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			stay, err := newStay(configFile, stateFile, logger)
			if err != nil {
				return err
			}
			defer stay.close()
			options.Logger = logger
			return serve(ctx, a.opts.socket, options, stay)
		},
	}
	a.socketFlag(cmd)
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --log-format json")
	cmd.Flags().StringVar(&configFile, "config", "", "make what this file says; see docs/config.md")
	cmd.Flags().StringVar(&stateFile, "state", stateFile, "keep what was made in this file, for the next start (default $STATE_DIRECTORY/state.json if that is set)")
	pathFlags(cmd, &options)
	return cmd
}

// socketFlag lets --socket stand behind a verb too.
func (a *app) socketFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.opts.socket, "socket", a.opts.socket,
		"the daemon's socket (default $UMACVLAN_SOCKET, else "+control.DefaultSocket+")")
}

// defaultState is where a service manager wants state to be kept.
func defaultState(getenv func(string) string) string {
	dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":")
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "state.json")
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: not one of debug, info, warn, error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return nil, fmt.Errorf("--log-format %q: not one of text, json", format)
}

// serve runs the engine and its server until ctx is done or one of them fails,
// and returns when both have ended.
func serve(ctx context.Context, socket string, options control.EngineOptions, stay *stay) error {
	logger := options.Logger
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	listener, err := control.Activated()
	if err != nil {
		return err
	}
	// Asked before anything is touched: a second daemon must not tidy up what
	// the first is using. A socket that was passed is ours already.
	if listener == nil {
		if c, err := control.Dial(socket); err == nil {
			defer c.Close()
			return alreadyRunning(ctx, c)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	control.RaiseFileLimit()
	options.AbandonedEvery, options.State = 2*time.Second, stay.state
	engine := control.NewEngine(options)
	ended := make(chan error, 2)
	go func() { ended <- engine.Run(ctx) }()
	// One that is told to end meanwhile ends as always.
	if err := stay.begin(ctx, engine); err != nil && ctx.Err() == nil {
		cancel()
		return errors.Join(err, <-ended)
	}
	reloading := make(chan struct{})
	go func() { defer close(reloading); stay.hangups(ctx, hup, engine, logger) }()
	defer func() { cancel(); <-reloading }()
	go func() {
		ended <- control.Serve(ctx, engine, control.ServerOptions{
			Socket:   socket,
			Listener: listener,
			Config:   stay.config,
			Version:  version(),
			Logger:   logger,
			Ready:    func(socket string) { logger.Info("ready", "socket", socket) },
		})
	}()
	first := <-ended
	asked := ctx.Err() != nil
	cancel()
	second := <-ended
	for _, err := range []error{first, second} {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	if !asked {
		return errors.New("the daemon ended by itself")
	}
	logger.Info("ended")
	return nil
}

func alreadyRunning(ctx context.Context, c *control.Client) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	return fmt.Errorf("a daemon answers at %s already, process %d; end it, or give this one another --socket", s.Socket, s.PID)
}
