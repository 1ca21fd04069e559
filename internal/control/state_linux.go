package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/config"
)

// StateFile is the state document: what a daemon has made, so that the next one
// makes it again, with the same addresses. It belongs to one process at a time.
type StateFile struct {
	path string
	log  *slog.Logger
	lock *os.File
	kick chan struct{}

	mu     sync.Mutex
	before document // as it was read
	last   []byte   // as it was written, nil if the last attempt failed
	saved  time.Time
	err    error
}

// stateVersion is the document's. One that is newer is not touched.
const stateVersion = 1

// document is the file. What a file has in common with a configuration has its
// words.
type document struct {
	Version int           `json:"version"`
	Parents []stateParent `json:"parents"`
}

type stateParent struct {
	config.Parent
	// Original is the address that the parent has to get back, and Taken the
	// passthru vmac's, which it has taken for it; if they differ.
	Original classify.MAC `json:"original_mac,omitempty"`
	Taken    classify.MAC `json:"taken_mac,omitempty"`
	Vmacs    []stateVmac  `json:"vmacs"`
}

type stateVmac struct {
	config.Vmac
	Managed bool `json:"managed,omitempty"` // a configuration file made it
	// Drawn says that its address is not what somebody asked for.
	Drawn classify.MAC `json:"drawn_mac,omitempty"`
}

// OpenState opens the state document at path, which need not exist. It refuses
// one that another process uses or that a newer version has written; one that
// can't be understood is moved aside, and the log says where to.
func OpenState(path string, log *slog.Logger) (_ *StateFile, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &StateFile{path: path, log: log, kick: make(chan struct{}, 1), before: document{Version: stateVersion}}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	// The file itself is replaced with every change, so another is locked. A disk
	// that can't even hold that is no reason not to serve.
	s.lock, err = os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			s.lock.Close()
			return nil, fmt.Errorf("open state: %s is in use by another daemon; give this one another --state", path)
		}
	case !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EDQUOT):
		return nil, fmt.Errorf("open state: %w", err)
	default:
		log.Warn("state can't be locked against a second daemon", "file", path, "err", err)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	var v struct{ Version int }
	if json.Unmarshal(text, &v) == nil && v.Version > stateVersion {
		return nil, fmt.Errorf("read state: %s was written by a newer umacvlan (version %d, this one reads %d); use that, or move the file away", path, v.Version, stateVersion)
	}
	doc, err := parseDocument(text)
	if err != nil {
		aside := fmt.Sprintf("%s.broken-%s", path, time.Now().UTC().Format("20060102T150405"))
		if err := os.Rename(path, aside); err != nil {
			return nil, fmt.Errorf("read state: %s can't be understood, nor moved aside: %w", path, err)
		}
		log.Error("state can't be understood; it was moved aside, and nothing of before is made again", "file", path, "moved", aside, "err", err)
		return s, nil
	}
	s.before = doc
	return s, nil
}

// parseDocument reads a document of this version.
func parseDocument(text []byte) (document, error) {
	var doc document
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return document{}, err
	}
	if dec.More() {
		return document{}, errors.New("something stands behind the end")
	}
	if doc.Version != stateVersion {
		return document{}, fmt.Errorf("version %d, want %d", doc.Version, stateVersion)
	}
	for _, p := range doc.Parents {
		for _, v := range p.Vmacs {
			if p.Name == "" || v.Name == "" || !v.Mode.IsValid() {
				return document{}, fmt.Errorf("vmac %q on %q, mode %v", v.Name, p.Name, v.Mode)
			}
		}
	}
	return doc, nil
}

// Close gives the file up for others.
func (s *StateFile) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

func (s *StateFile) status() *StateStatus {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &StateStatus{File: s.path, Saved: s.saved}
	if s.err != nil {
		st.Error = s.err.Error()
	}
	return st
}

// write replaces the file, if it differs from what was written last. It says
// when that stops working and when it works again, and not in between.
func (s *StateFile) write(doc document) error {
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(text, s.last) {
		return nil
	}
	err = replaceFile(s.path, text)
	if err != nil {
		s.last = nil
		if s.err == nil {
			s.log.Error("state can't be written; the service goes on, but a restart would bring back what was written last", "file", s.path, "err", err)
		}
	} else {
		if s.err != nil {
			s.log.Info("state is written again", "file", s.path)
		}
		s.last, s.saved = text, time.Now()
	}
	s.err = err
	return err
}

// replaceFile writes a file so that at any time the old or the new one is there
// in full.
func replaceFile(path string, text []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// document is what there is, and what is waited for. The caller holds the lock.
func (e *Engine) document() document {
	doc := document{Version: stateVersion, Parents: []stateParent{}}
	at := func(p config.Parent) *stateParent {
		p.Vmacs = nil
		i := slices.IndexFunc(doc.Parents, func(o stateParent) bool { return o.Name == p.Name && o.Netns == p.Netns })
		if i < 0 {
			i = len(doc.Parents)
			doc.Parents = append(doc.Parents, stateParent{Parent: p, Vmacs: []stateVmac{}})
		}
		return &doc.Parents[i]
	}
	list, devices, ports := e.describeAll(e.homes())
	for i, r := range list {
		d, rp := devices[i], ports[i]
		if nameless(r.Parent.Netns) {
			continue // nobody would find it
		}
		sp := at(r.Parent)
		if taken := e.ports[d.parent].taken; rp.Passthru && taken != 0 && taken != rp.PermMAC {
			sp.Original, sp.Taken = rp.PermMAC, taken
		}
		if nameless(r.Vmac.Netns) {
			continue
		}
		v := stateVmac{Vmac: r.Vmac, Managed: r.Managed}
		v.Addresses = r.Given
		if rp.Passthru && v.MAC == rp.PermMAC {
			v.MAC = 0
		}
		if d.asked != nil && d.asked.v.MAC == 0 && !rp.Passthru {
			v.Drawn, v.MAC = v.MAC, 0
		}
		sp.Vmacs = append(sp.Vmacs, v)
	}
	waits := map[string]bool{}
	for _, w := range e.waiting {
		sp, key := at(*w.p), w.key()
		sp.Vmacs = append(sp.Vmacs, stateVmac{Vmac: *w.v, Managed: w.managed, Drawn: e.hints[key]})
		waits[key] = true
	}
	for _, w := range e.later {
		// Of what has been made meanwhile there is no hint any more.
		if key := w.key(); e.hints[key] != 0 && !waits[key] {
			sp := at(*w.p)
			sp.Vmacs = append(sp.Vmacs, stateVmac{Vmac: *w.v, Managed: true, Drawn: e.hints[key]})
		}
	}
	return doc
}

// saveAfter is how long changes are collected; retryAfter is when a disk that
// was full is tried again.
const (
	saveAfter  = 50 * time.Millisecond
	retryAfter = 10 * time.Second
)

// saveSoon asks for the state document to be written. It never blocks.
func (e *Engine) saveSoon() {
	if e.states == nil {
		return
	}
	select {
	case e.states.kick <- struct{}{}:
	default:
	}
}

// save writes it now. The caller holds the lock.
func (e *Engine) save() {
	if e.states != nil && !e.closing && e.restored {
		e.states.write(e.document())
	}
}
