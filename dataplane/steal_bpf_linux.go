package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// takeKey and takeValue are key and value of the map of addresses. The octets of
// a value are the flags of the one generation and of the other.
type (
	takeKey   [8]byte
	takeValue [2]uint8
)

func addressKey(m classify.MAC) (k takeKey) {
	b := m.Bytes()
	copy(k[:], b[:])
	return k
}

func vlanKey(id uint16) (k takeKey) {
	binary.NativeEndian.PutUint16(k[:], id)
	k[6], k[7] = 0xff, 0xff
	return k
}

// bpfTaker is the part that tcx and cls share: the programs, and what they
// look at.
type bpfTaker struct {
	gate        *ebpf.Map
	gateProgram *ebpf.Program // the one to attach
	settings    *ebpf.Map
	addresses   *ebpf.Map
	program     *ebpf.Program

	// What is in the maps.
	room   int
	stored map[takeKey]takeValue
	active int // the generation in force
	flags  uint8
	vlans  []uint16
	last   classify.Taken

	detach func() error
}

// A map of addresses starts small, as its buckets are allocated at once, and is
// replaced by a larger one when it is full.
const leastRoom = 256

// memlock lifts the limit that kernels before 5.11 charge maps to. Who may not lift
// it learns that from the map.
var memlock = sync.OnceValue(rlimit.RemoveMemlock)

func newBPFTaker() (b *bpfTaker, err error) {
	if feature.Off(feature.BPF) {
		return nil, errOff
	}
	b = &bpfTaker{}
	defer func() {
		if err != nil {
			b.close()
			b = nil
		}
	}()
	memlock()
	b.gate, err = ebpf.NewMap(&ebpf.MapSpec{Name: "umacvlan_gate", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return b, plain(err)
	}
	if b.gateProgram, err = loadClassifier("umacvlan_gate", gateProgram(b.gate)); err != nil {
		return b, err
	}
	return b, b.rebuild(leastRoom, nil, 0)
}

// plain is the error number that bpf(2) has returned, if that is what failed:
// the library's advice about memory limits isn't for a user namespace.
func plain(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return fmt.Errorf("bpf: %w", e)
	}
	return err
}

func loadClassifier(name string, p asm.Instructions) (*ebpf.Program, error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.SchedCLS, Instructions: p, License: "none"})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, err)
	}
	feature.Note(feature.BPF, nil)
	return prog, nil
}

// rebuild puts a new program with maps of its own in the old one's place.
func (b *bpfTaker) rebuild(room int, want map[takeKey]uint8, flags uint8) (err error) {
	n := &bpfTaker{room: room, stored: map[takeKey]takeValue{}}
	defer func() {
		if err != nil {
			n.closeProgram()
		}
	}()
	n.settings, err = ebpf.NewMap(&ebpf.MapSpec{Name: "umacvlan_port", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("make map: %w", err)
	}
	n.addresses, err = ebpf.NewMap(&ebpf.MapSpec{Name: "umacvlan_macs", Type: ebpf.Hash, KeySize: 8, ValueSize: 4, MaxEntries: uint32(room), Flags: bpfNoPrealloc})
	if err != nil {
		return fmt.Errorf("make map: %w", err)
	}
	if n.program, err = loadClassifier("umacvlan_steal", takeProgram(n.settings, n.addresses)); err != nil {
		return err
	}
	if err = n.fill(want, flags); err != nil {
		return err
	}
	if err = b.gate.Update(uint32(0), n.program, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("put program in its place: %w", err)
	}
	b.closeProgram()
	b.settings, b.addresses, b.program = n.settings, n.addresses, n.program
	b.room, b.stored, b.active, b.flags = n.room, n.stored, n.active, n.flags
	return nil
}

const bpfNoPrealloc = 1 // BPF_F_NO_PREALLOC

// fill writes the generation that isn't in force, then makes it the one that
// is.
func (b *bpfTaker) fill(want map[takeKey]uint8, flags uint8) error {
	idle := 1 - b.active
	put := func(k takeKey, f uint8) error {
		v, there := b.stored[k]
		if v[idle] == f && (there || f == 0) {
			return nil
		}
		v[idle] = f
		word := uint32(v[0]) | uint32(v[1])<<takeShift
		if err := b.addresses.Put(k[:], word); err != nil {
			return fmt.Errorf("write map: %w", err)
		}
		b.stored[k] = v
		return nil
	}
	for k, f := range want {
		if err := put(k, f); err != nil {
			return err
		}
	}
	for k := range b.stored {
		if want[k] != 0 {
			continue
		}
		if err := put(k, 0); err != nil {
			return err
		}
	}
	word := uint32(idle)<<currentBit | uint32(flags)<<(takeShift*idle)
	if err := b.settings.Put(uint32(0), word); err != nil {
		return fmt.Errorf("write map: %w", err)
	}
	b.active, b.flags = idle, flags
	return nil
}

// tidy removes addresses that are no longer in force. A frame that was being
// judged by an older generation when that changed is long done.
func (b *bpfTaker) tidy() {
	for k, v := range b.stored {
		if v[b.active] == 0 && b.addresses.Delete(k[:]) == nil {
			delete(b.stored, k)
		}
	}
}

// Take costs a system call for each address that has changed.
func (b *bpfTaker) Take(k classify.Taken) error {
	b.last = k
	return b.take()
}

// Keep is as Take for VLANs.
func (b *bpfTaker) Keep(ids []uint16) error {
	b.vlans = ids
	return b.take()
}

// Rename does nothing: a program is attached to the device.
func (b *bpfTaker) Rename(string) error { return nil }

func (b *bpfTaker) take() error {
	k := &b.last
	want := make(map[takeKey]uint8, len(k.To)+len(k.From)+len(k.Groups)+len(b.vlans))
	var flags uint8
	if k.Unicast {
		flags |= portUnicast
	}
	for _, m := range k.To {
		want[addressKey(m)] |= takeTo
	}
	for _, m := range k.From {
		want[addressKey(m)] |= takeFrom
		flags |= portFrom
	}
	for _, m := range k.Groups {
		want[addressKey(m)] |= takeGroups
		flags |= portGroups
	}
	for _, v := range b.vlans {
		want[vlanKey(v)] = keepVLAN
		flags |= portVLAN
	}
	if b.inForce(want, flags) {
		return nil
	}
	b.tidy()
	// Both what is and what will be have to find room.
	if n := len(want) + len(b.stored); n > b.room {
		room := b.room
		for room < n {
			room *= 2
		}
		return b.rebuild(room, want, flags)
	}
	return b.fill(want, flags)
}

func (b *bpfTaker) inForce(want map[takeKey]uint8, flags uint8) bool {
	if flags != b.flags {
		return false
	}
	n := 0
	for k, v := range b.stored {
		if v[b.active] == 0 {
			continue
		}
		if want[k] != v[b.active] {
			return false
		}
		n++
	}
	return n == len(want)
}

// Close first takes nothing any more: what is closed is detached only when the last
// copy of its descriptor is gone, and a child process that is being started has one.
func (b *bpfTaker) Close() error {
	var err error
	if b.gate != nil {
		if err = b.gate.Delete(uint32(0)); errors.Is(err, ebpf.ErrKeyNotExist) {
			err = nil
		}
	}
	if b.detach != nil {
		err = errors.Join(err, b.detach())
		b.detach = nil
	}
	return errors.Join(err, b.close())
}

func (b *bpfTaker) close() (err error) {
	b.closeProgram()
	if b.gateProgram != nil {
		err = b.gateProgram.Close()
	}
	if b.gate != nil {
		err = errors.Join(err, b.gate.Close())
	}
	b.gate, b.gateProgram = nil, nil
	return err
}

func (b *bpfTaker) closeProgram() {
	if b.program != nil {
		b.program.Close()
	}
	if b.settings != nil {
		b.settings.Close()
	}
	if b.addresses != nil {
		b.addresses.Close()
	}
	b.program, b.settings, b.addresses = nil, nil, nil
}
