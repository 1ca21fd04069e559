package dataplane

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/feature"
)

// Types gives unicast copies the packet type that macvlan gives them, where a
// TAP's own is another: HOST for everything on a passthru port, and for what a
// source-mode vmac gets of its parent's own unicast. It is a program at the
// ingress of the vmac's device; packet sockets see a frame before that.
//
// Its methods may be called from any goroutine.
type Types struct {
	mu       sync.Mutex
	closed   bool
	settings *ebpf.Map
	program  *ebpf.Program
	cls      bool
	last     uint64
}

// everyUnicast in settings stands for all addresses, as the port is a passthru
// one; else there is the parent's address.
const everyUnicast = ^uint64(0)

// OpenTypes makes the program for the vmacs of one port, or says what the kernel
// lacks.
func OpenTypes() (t *Types, err error) {
	if feature.Off(feature.BPF) || feature.Off(feature.TCX) && feature.Off(feature.ClsBPF) {
		return nil, errOff
	}
	memlock()
	t = &Types{}
	defer func() {
		if err != nil {
			t.Close()
			t = nil
		}
	}()
	t.settings, err = ebpf.NewMap(&ebpf.MapSpec{Name: "umacvlan_type", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return t, plain(err)
	}
	t.program, err = loadClassifier("umacvlan_type", typeProgram(t.settings))
	return t, err
}

// Set tells all vmacs of the port what s says of their parent.
func (t *Types) Set(s *classify.Spec) error {
	value := everyUnicast - 1 // no address
	if len(s.Vmacs) == 1 && s.Vmacs[0].Mode == classify.Passthru {
		value = everyUnicast
	} else if s.Parent != 0 {
		key := addressKey(s.Parent)
		value = binary.NativeEndian.Uint64(key[:])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if value == t.last || t.closed {
		return nil
	}
	if err := t.settings.Put(uint32(0), value); err != nil {
		return fmt.Errorf("packet types: %w", err)
	}
	t.last = value
	return nil
}

// Attach attaches the program to a vmac's device, by its index in the namespace
// of the calling thread, behind what is attached there. It goes with the device.
// again says that it is lost when the device moves to another namespace.
func (t *Types) Attach(index int) (again bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false, fmt.Errorf("packet types: %w", net.ErrClosed)
	}
	err = errOff
	if !t.cls && !feature.Off(feature.TCX) {
		err = link.RawAttachProgram(link.RawAttachProgramOptions{Target: index, Program: t.program, Attach: ebpf.AttachTCXIngress, Anchor: link.Tail()})
	}
	if err != nil && !feature.Off(feature.ClsBPF) {
		var c *classifier
		if c, err = attachCls(index, t.program); err == nil {
			t.cls = true
			err = c.nl.close()
		}
	}
	if err != nil {
		return false, fmt.Errorf("packet types: %w", plain(err))
	}
	return t.cls, nil
}

// Close lets go of the program, which stays where it is attached.
func (t *Types) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.program != nil {
		t.program.Close()
	}
	if t.settings != nil {
		t.settings.Close()
	}
}

// typeProgram changes the packet type of the unicast that settings speaks of to
// HOST.
func typeProgram(settings *ebpf.Map) asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, skbPacketType, asm.Word),
		asm.JNE.Imm(asm.R2, int32(classify.TypeOther), "done"),
		asm.LoadMem(asm.R7, asm.R6, skbData, asm.Word),
		asm.LoadMem(asm.R8, asm.R6, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R0, asm.R7),
		asm.Add.Imm(asm.R0, 14),
		asm.JGT.Reg(asm.R0, asm.R8, "done"),

		asm.StoreImm(asm.RFP, stackIndex, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, settings.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackIndex),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "done"),
		asm.LoadMem(asm.R9, asm.R0, 0, asm.DWord),
		asm.JEq.Imm(asm.R9, -1, "host"),
	}
	p = append(p, loadAddress(0)...)
	return append(p,
		asm.LoadMem(asm.R1, asm.RFP, stackKey, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R9, "done"),

		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("host"),
		asm.Mov.Imm(asm.R2, int32(classify.TypeHost)),
		asm.FnSkbChangeType.Call(),
		asm.Mov.Imm(asm.R0, actNext).WithSymbol("done"),
		asm.Return())
}
