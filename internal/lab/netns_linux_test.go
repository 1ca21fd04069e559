package lab

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNamespace(t *testing.T) {
	Need(t, NeedNS)
	home, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer home.f.Close()
	before := Measure()
	inside := func(n *NS) {
		t.Helper()
		err := n.Do(func() error {
			now, err := Current()
			if err != nil {
				return err
			}
			defer now.f.Close()
			if now.Inode() != n.Inode() || now.Inode() == home.Inode() {
				t.Errorf("in %d, want %d", now.Inode(), n.Inode())
			}
			runtime.Gosched()
			list, err := net.Interfaces()
			if len(list) != 1 {
				t.Errorf("a new namespace has %v", list)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			n, err := NewNS()
			if err != nil {
				t.Error(err)
				return
			}
			inside(n)
			if _, err := os.Stat(n.Path()); err != nil {
				t.Error(err)
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n, err := NewNS()
	if err != nil {
		t.Fatal(err)
	}
	wrong := errors.New("passed on")
	if err := n.Do(func() error { return n.Do(func() error { return wrong }) }); !errors.Is(err, wrong) {
		t.Error(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = n.Do(func() error { panic("in a namespace") })
	}()
	if now, err := Current(); err != nil || now.Inode() != home.Inode() {
		t.Error("a panic left the thread in the namespace")
	} else {
		now.f.Close()
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := n.Do(func() error { return nil }); err == nil {
		t.Error("entered a closed namespace")
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
}

func TestLeaks(t *testing.T) {
	Need(t, NeedNS)
	// What an earlier test has left ending would make up for what leaks.
	before := Measure()
	for steady := time.Now(); time.Since(steady) < 200*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		if now := Measure(); now.compare(before) != nil || before.compare(now) != nil {
			before, steady = now, time.Now()
		}
	}
	for what, leak := range map[string]func() (undo func()){
		"namespaces": func() func() {
			n, err := NewNS()
			if err != nil {
				t.Fatal(err)
			}
			return func() { n.Close() }
		},
		"descriptors": func() func() {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			return func() { r.Close(); w.Close() }
		},
		"goroutines": func() func() {
			c := make(chan bool)
			go func() { <-c }()
			return func() { close(c) }
		},
	} {
		undo := leak()
		if err := before.leaked(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), what+" leaked") {
			t.Errorf("%s: %v", what, err)
		}
		undo()
		if err := before.Leaked(); err != nil {
			t.Errorf("%s, undone: %v", what, err)
		}
	}
}
