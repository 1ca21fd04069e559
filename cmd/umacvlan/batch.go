package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// batch executes a file of commands, one on a line ("link add …"), as do_batch
// does. It stops at the first that fails, or goes on with -force. Unlike ip it
// names the line of a malformed command too, and -force goes on after one.
func (a *app) batch(ctx context.Context, name string) error {
	s, err := a.newSession()
	if err != nil {
		return err
	}
	defer s.close()
	return a.batchOf(ctx, name, s.batchCommand)
}

// batchOf does so with what a command line is to be given to.
func (a *app) batchOf(ctx context.Context, name string, run func(context.Context, []string) error) error {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usageError(`Cannot open file "%s" for reading: %s`, name, cause(err))
		}
		defer f.Close()
		in = f
	}
	lines := batchReader{r: bufio.NewReader(in)}
	code := 0
	for {
		args, err := lines.next()
		switch {
		case err == io.EOF && code != 0:
			return &failure{code: code}
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case len(args) == 0:
			continue
		}
		err = run(ctx, args)
		if err == nil {
			continue
		}
		code = a.report(err)
		if code == exitRefused || a.opts.force {
			code = exitUsage // one code for a batch, whatever went wrong in it
		}
		fmt.Fprintf(a.stderr, "Command failed %s:%d\n", name, lines.line)
		if !a.opts.force {
			return &failure{code: code}
		}
	}
}

func (s *session) batchCommand(ctx context.Context, args []string) error {
	switch {
	case matches(args[0], "link"):
		return s.link(ctx, args[1:])
	case args[0] == "fdb":
		return s.fdb(ctx, args[1:])
	}
	return usageError(`Object "%s" is unknown, try "umacvlan help".`, args[0])
}

// batchReader splits a batch into commands (getcmdline and makeargs): # begins
// a comment, a backslash at the end of a line continues it, quotes keep blanks
// in a word that begins with one.
type batchReader struct {
	r    *bufio.Reader
	line int // number of the line read last, from 1
}

func (b *batchReader) next() ([]string, error) {
	line, err := b.readLine()
	if err != nil {
		return nil, err
	}
	for strings.HasSuffix(line, "\\") {
		more, err := b.readLine()
		if err == io.EOF {
			return nil, usageError("Missing continuation line")
		}
		if err != nil {
			return nil, err
		}
		line = strings.TrimSuffix(line, "\\") + more
	}
	return splitWords(line)
}

func (b *batchReader) readLine() (string, error) {
	line, err := b.r.ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && line != "") {
		return "", err
	}
	b.line++
	line, _, _ = strings.Cut(strings.TrimSuffix(line, "\n"), "#")
	return line, nil
}

const blanks = " \t\r\n"

func splitWords(line string) ([]string, error) {
	var list []string
	for line = strings.TrimLeft(line, blanks); line != ""; line = strings.TrimLeft(line, blanks) {
		if q := line[0]; q == '\'' || q == '"' {
			end := strings.IndexByte(line[1:], q)
			if end < 0 {
				return nil, usageError("Unterminated quoted string")
			}
			list, line = append(list, line[1:1+end]), line[end+2:]
			continue
		}
		end := strings.IndexAny(line, blanks)
		if end < 0 {
			end = len(line)
		}
		list, line = append(list, line[:end]), line[end:]
	}
	return list, nil
}
