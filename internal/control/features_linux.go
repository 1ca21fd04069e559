package control

import (
	"errors"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/tap"
)

// Kernel is the running kernel's release.
func Kernel() string {
	var uts unix.Utsname
	if unix.Uname(&uts) != nil {
		return ""
	}
	return unix.ByteSliceToString(uts.Release[:])
}

// features are what is known so far.
func features() []FeatureState {
	list := []FeatureState{}
	for _, f := range feature.List {
		s := FeatureState{Name: string(f.Name), Since: f.Since, For: f.For, State: "in use"}
		if err, known := feature.Why(f.Name); !known {
			s.State = "unknown"
		} else if err != nil {
			s.State, s.Why, s.Instead = "not in use", err.Error(), f.Without
		} else if better, ok := betterThan[f.Name]; ok && slices.ContainsFunc(better, inUse) {
			s.State = "not needed"
		}
		list = append(list, s)
	}
	return list
}

// betterThan are the upper rungs of a ladder of which one is in use.
var betterThan = map[feature.Name][]feature.Name{
	feature.ClsBPF:    {feature.TCX},
	feature.NFTNetdev: {feature.TCX, feature.ClsBPF},
}

func inUse(n feature.Name) bool {
	err, known := feature.Why(n)
	return known && err == nil
}

// Features tries every optional kernel feature, in network namespaces of its
// own, of which nothing is left. The error says why some stay unknown.
func Features() ([]FeatureState, error) {
	err := probe()
	return features(), err
}

// probeName is what the device is called that is tried.
const probeName = "umac-probe"

func probe() error {
	if ns, err := OpenNamespace("/proc/thread-self/ns/net"); err == nil { // asks what it is
		ns.Close()
	}
	h, err := newHub()
	if err != nil {
		return err
	}
	defer h.close()
	said := make(chan *netdev, 16)
	h.event = func(_ place, last *netdev) {
		if last != nil && last.name == probeName {
			select {
			case said <- last:
			default:
			}
		}
	}
	h.lost, h.gone = func() {}, func(uint64) {}
	if h.hears {
		done := make(chan struct{})
		go func() { defer close(done); h.run() }()
		defer func() { h.file.Close(); <-done }()
	}
	away, err := newNamespace()
	if err != nil {
		return err
	}
	defer away.Close()
	if err := h.watch(away); err != nil {
		return err
	}
	var d *tap.Device
	if err := away.Do(func() (err error) {
		if d, err = tap.Create(tap.Config{Name: probeName, MAC: [6]byte{2, 0, 0, 0, 0, 1}}); err != nil {
			return err
		}
		return errors.Join(d.SetUp(true), probeParent())
	}); err != nil {
		return err
	}
	defer d.Close()
	if err := d.SetCarrier(true); err != nil {
		return err
	}
	if !h.hears {
		return nil
	}
	c, err := away.dial()
	if err != nil {
		return err
	}
	defer c.close()
	index, err := d.Index()
	if err == nil {
		err = c.set(index, 0, 0, nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(h.home.FD()))))
	}
	if err != nil {
		return err
	}
	select {
	case last := <-said:
		noteKnown(feature.NewNetns, last.hasNewNetns)
	case <-time.After(time.Second):
	}
	return nil
}

// probeParent opens the device as if it were a parent.
func probeParent() error {
	w, _, err := dataplane.Open(probeName, dataplane.WireOptions{})
	if err != nil {
		return err
	}
	defer w.Close()
	bpf := false
	for _, rung := range []struct {
		name string
		is   feature.Name
	}{{dataplane.StealTCX, feature.TCX}, {dataplane.StealCls, feature.ClsBPF}, {dataplane.StealNFT, feature.NFTNetdev}} {
		t, _, err := dataplane.OpenSteal(probeName, rung.name)
		if err == nil {
			t.Close()
		}
		if rung.is != feature.NFTNetdev && !feature.Off(rung.is) && !bpf {
			bpf = err == nil
			feature.Note(feature.BPF, err)
		}
	}
	return nil
}

// noteKnown notes whether the kernel has told something.
func noteKnown(n feature.Name, told bool) {
	if told {
		feature.Note(n, nil)
	} else {
		feature.Note(n, feature.ErrOld)
	}
}
