package dataplane

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
)

// StealRungs are the values that OpenSteal knows.
var StealRungs = []string{StealAuto, StealTCX, StealCls, StealNFT, StealNone}

var errOff = errors.New("switched off by " + feature.Variable)

// OpenSteal opens a rung on the parent called name, in the network namespace of
// the calling thread; nothing is taken until the first Take. why says which rung
// it is, and what kept it from a better one. With auto (or "") it doesn't fail
// for want of a rung: then the Taker is nil. A program that somebody else has
// attached there stays, and sees each frame first.
func OpenSteal(name, rung string) (t Taker, why string, err error) {
	if rung == "" {
		rung = StealAuto
	}
	if !slices.Contains(StealRungs, rung) {
		return nil, "", fmt.Errorf("steal: no rung %q", rung)
	}
	dev, err := net.InterfaceByName(name)
	if err != nil {
		return nil, "", fmt.Errorf("steal from %s: %w", name, err)
	}
	if err := removeDead(dev.Index); err != nil && !errors.Is(err, unix.EPERM) {
		return nil, "", fmt.Errorf("steal from %s: %w", name, err)
	}
	if rung == StealNone {
		return nil, StealNone + " (asked for)", nil
	}
	var missing string
	for _, r := range []struct {
		name string
		is   feature.Name
		open func(*net.Interface) (Taker, error)
	}{{StealTCX, feature.TCX, openTCX}, {StealCls, feature.ClsBPF, openCls}, {StealNFT, feature.NFTNetdev, openNFT}} {
		if rung != StealAuto && rung != r.name {
			continue
		}
		t, err := r.open(dev)
		feature.Note(r.is, err)
		if err == nil {
			return t, r.name + parens(missing), nil
		}
		if rung == r.name {
			return nil, "", fmt.Errorf("steal from %s: no %s: %w", name, r.name, err)
		}
		if missing != "" {
			missing += "; "
		}
		missing += fmt.Sprintf("no %s: %v", r.name, err)
	}
	return nil, StealNone + parens(missing), nil
}

func parens(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}
