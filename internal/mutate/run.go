package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// test runs the package's tests on every mutant: the short ones, and on those
// that survive these all.
func (p *pkg) test(parallel int) error {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(os.Stderr, "%s: %d mutants, building\n", p.name, len(p.mutants))

	all := map[string][]byte{filepath.Join(p.dir, "mutant_alive.go"): fmt.Appendf(nil, prelude, p.types.Name())}
	for _, f := range p.files {
		all[f.path] = f.rewritten()
	}
	binary := filepath.Join(dir, "all.test")
	if err = p.build(dir, binary, all); err != nil {
		return fmt.Errorf("%s, with every mutant: %w", p.name, err)
	}
	for _, short := range []bool{true, false} {
		limit, err := p.needs(binary, short)
		if err != nil {
			return err
		}
		var alive []*mutant
		for _, m := range p.mutants {
			if !m.killed {
				alive = append(alive, m)
			}
		}
		name := p.name + ", all tests"
		if short {
			name = p.name + ", short tests"
		}
		err = each(name, alive, parallel, func(m *mutant) (err error) {
			m.killed, err = p.judge(dir, binary, m, short, limit)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// needs runs the tests with no mutant alive, and returns the processor time in
// seconds that a mutant is allowed: many times as much. Elapsed time would depend
// on what else the machine does.
func (p *pkg) needs(binary string, short bool) (int, error) {
	cmd := p.command(context.Background(), binary, 0, short, "")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: the tests fail with no mutant alive: %w\n%s", p.name, err, out)
	}
	return 2 + int(10*(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Seconds()), nil
}

// judge runs the tests on one mutant.
func (p *pkg) judge(dir, binary string, m *mutant, short bool, seconds int) (killed bool, err error) {
	id := m.id
	if m.alone != nil {
		id, binary = 0, filepath.Join(dir, fmt.Sprintf("%d.test", m.id))
		if err := p.build(dir, binary, map[string][]byte{m.file.path: m.alone}); err != nil {
			return false, fmt.Errorf("%v: %w", m, err)
		}
		defer os.Remove(binary)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var complaints bytes.Buffer
	cmd := p.command(ctx, binary, id, short, fmt.Sprintf("ulimit -t %d && ulimit -v 8000000 && ", seconds))
	cmd.Stderr = &complaints
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, nil
	case !errors.As(err, &exit) || strings.Contains(complaints.String(), "ulimit"):
		return false, fmt.Errorf("%v: %w %s", m, err, complaints.String())
	}
	return true, nil
}

// command runs the tests with that mutant alive, none if 0.
func (p *pkg) command(ctx context.Context, binary string, id int, short bool, limit string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", limit+`exec nice "$0" "$@"`, binary,
		"-test.failfast", "-test.count=1", "-test.timeout=9m", "-test.short="+strconv.FormatBool(short))
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), environment+"="+strconv.Itoa(id), "GOTRACEBACK=none", "GOMAXPROCS=1")
	return cmd
}

// build compiles the tests of the package with other sources in the place of
// some.
func (p *pkg) build(dir, binary string, sources map[string][]byte) error {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, src := range sources {
		f, err := os.CreateTemp(dir, "*.go")
		if err != nil {
			return err
		}
		_, err = f.Write(src)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		overlay.Replace[path] = f.Name()
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	if err := os.WriteFile(binary+".json", text, 0o600); err != nil {
		return err
	}
	cmd := exec.Command("nice", "go", "test", "-c", "-vet=off", "-overlay", binary+".json", "-o", binary, ".")
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return nil
}

// each calls do for every mutant, some at once, and says how far it is.
func each(name string, mutants []*mutant, parallel int, do func(*mutant) error) error {
	start, todo := time.Now(), make(chan *mutant)
	var done atomic.Int64
	var wg sync.WaitGroup
	var failure atomic.Pointer[error]
	for range parallel {
		wg.Go(func() {
			for m := range todo {
				if err := do(m); err != nil {
					failure.CompareAndSwap(nil, &err)
				}
				done.Add(1)
			}
		})
	}
	said := start
	for _, m := range mutants {
		if failure.Load() != nil {
			break
		}
		todo <- m
		if n := done.Load(); n > 0 && time.Since(said) > 2*time.Second {
			said = time.Now()
			left := time.Since(start) / time.Duration(n) * time.Duration(int64(len(mutants))-n)
			fmt.Fprintf(os.Stderr, "%s: %d of %d mutants, %v left\n", name, n, len(mutants), left.Round(time.Second))
		}
	}
	close(todo)
	wg.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}
