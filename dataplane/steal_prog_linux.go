package dataplane

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Offsets in struct __sk_buff.
const (
	skbPacketType  = 4
	skbVLANPresent = 20
	skbVLANTCI     = 24
	skbData        = 76
	skbDataEnd     = 80
)

// What a program answers; tcx and direct-action classifiers share the numbers.
const (
	actNext = -1 // TCX_NEXT, TC_ACT_UNSPEC: as if this program weren't there
	actDrop = 2  // TCX_DROP, TC_ACT_SHOT
)

// Flags of an address. Those of two generations stand in one value, takeShift
// apart, so that settings flips them all at once.
const (
	takeTo     = 1 << iota // unicast to it
	takeFrom               // everything from it
	takeGroups             // groups from it
	keepVLAN               // of a VLAN: it has a device of its own
)

// Flags of the port, in settings.
const (
	portUnicast = 1 << iota // take every unicast
	portFrom                // some address has takeFrom
	portGroups              // some address has takeGroups
	portVLAN                // some VLAN has keepVLAN
)

const (
	takeShift  = 8
	takeMask   = 1<<takeShift - 1
	currentBit = 16 // of settings: which generation is in force
)

// Where on the stack the key of the map of addresses is made. A key is the six
// octets of an address and two of zero, or a VLAN: its id, 0, and two octets of
// ones.
const (
	stackIndex = -4
	stackKey   = -16
)

// takeProgram decides one frame at the parent's ingress. It looks at what
// Taken says and nothing else.
func takeProgram(settings, addresses *ebpf.Map) asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		// PACKET_LOOPBACK is what the host sends to groups that it hears itself;
		// PACKET_OUTGOING never comes by.
		asm.LoadMem(asm.R2, asm.R6, skbPacketType, asm.Word),
		asm.JGT.Imm(asm.R2, 3, "pass"),
		asm.LoadMem(asm.R7, asm.R6, skbData, asm.Word),
		asm.LoadMem(asm.R8, asm.R6, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R0, asm.R7),
		asm.Add.Imm(asm.R0, 14),
		asm.JGT.Reg(asm.R0, asm.R8, "pass"),

		asm.StoreImm(asm.RFP, stackIndex, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, settings.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackIndex),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.LoadMem(asm.R9, asm.R0, 0, asm.Word),
		// R8: how far the generation in force is to be shifted; R9: its flags.
		asm.Mov.Reg(asm.R8, asm.R9),
		asm.RSh.Imm(asm.R8, currentBit),
		asm.And.Imm(asm.R8, 1),
		asm.LSh.Imm(asm.R8, 3),
		asm.RSh.Reg(asm.R9, asm.R8),
		asm.And.Imm(asm.R9, takeMask),

		// A VLAN device has taken its frames before macvlan sees any
		// (vlan_do_receive).
		asm.Mov.Reg(asm.R1, asm.R9),
		asm.And.Imm(asm.R1, portVLAN),
		asm.JEq.Imm(asm.R1, 0, "no vlan"),
		asm.LoadMem(asm.R1, asm.R6, skbVLANPresent, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "no vlan"),
		asm.LoadMem(asm.R1, asm.R6, skbVLANTCI, asm.Word),
		asm.And.Imm(asm.R1, 0xfff),
		asm.StoreMem(asm.RFP, stackKey, asm.R1, asm.Half),
		asm.StoreImm(asm.RFP, stackKey+2, 0, asm.Half),
		asm.StoreImm(asm.RFP, stackKey+4, 0, asm.Half),
		asm.StoreImm(asm.RFP, stackKey+6, -1, asm.Half),
	}
	p = append(p, lookup(addresses, "no vlan")...)
	p = append(p,
		asm.And.Imm(asm.R1, keepVLAN),
		asm.JNE.Imm(asm.R1, 0, "pass"),

		asm.LoadMem(asm.R1, asm.R7, 0, asm.Byte).WithSymbol("no vlan"),
		asm.And.Imm(asm.R1, 1),
		asm.JNE.Imm(asm.R1, 0, "group"),

		asm.Mov.Reg(asm.R1, asm.R9),
		asm.And.Imm(asm.R1, portUnicast),
		asm.JNE.Imm(asm.R1, 0, "drop"))
	p = append(p, loadAddress(0)...)
	p = append(p, lookup(addresses, "from")...)
	p = append(p,
		asm.And.Imm(asm.R1, takeTo),
		asm.JNE.Imm(asm.R1, 0, "drop"),
		asm.Mov.Reg(asm.R1, asm.R9).WithSymbol("from"),
		asm.And.Imm(asm.R1, portFrom),
		asm.JEq.Imm(asm.R1, 0, "pass"))
	p = append(p, loadAddress(6)...)
	p = append(p, lookup(addresses, "pass")...)
	p = append(p,
		asm.And.Imm(asm.R1, takeFrom),
		asm.JNE.Imm(asm.R1, 0, "drop"),
		asm.Ja.Label("pass"),

		asm.Mov.Reg(asm.R1, asm.R9).WithSymbol("group"),
		asm.And.Imm(asm.R1, portFrom|portGroups),
		asm.JEq.Imm(asm.R1, 0, "pass"))
	p = append(p, loadAddress(6)...)
	p = append(p, lookup(addresses, "pass")...)
	return append(p,
		asm.And.Imm(asm.R1, takeFrom|takeGroups),
		asm.JNE.Imm(asm.R1, 0, "drop"),

		asm.Mov.Imm(asm.R0, actNext).WithSymbol("pass"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, actDrop).WithSymbol("drop"),
		asm.Return())
}

// loadAddress makes the key of the address at that offset in the frame, in
// pieces that are aligned on every machine.
func loadAddress(off int16) (p asm.Instructions) {
	for i := int16(0); i < 6; i += 2 {
		p = append(p,
			asm.LoadMem(asm.R1, asm.R7, off+i, asm.Half),
			asm.StoreMem(asm.RFP, stackKey+i, asm.R1, asm.Half))
	}
	return append(p, asm.StoreImm(asm.RFP, stackKey+6, 0, asm.Half))
}

// lookup leaves the flags of the key in R1, or goes to miss.
func lookup(addresses *ebpf.Map, miss string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, addresses.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, miss),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.RSh.Reg(asm.R1, asm.R8),
	}
}

// gateProgram is what is attached. It goes on to the program in gate, and does
// nothing if there is none: the kernel empties such a map when the last process
// that holds it is gone, so what a killed daemon leaves attached takes nothing.
func gateProgram(gate *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R2, gate.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, actNext),
		asm.Return(),
	}
}
