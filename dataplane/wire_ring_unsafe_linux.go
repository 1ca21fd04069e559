package dataplane

import (
	"sync/atomic"
	"unsafe"
)

// slotStatus is tp_status, the first word of a slot. The kernel writes it last
// when it fills the slot, and we when we give it back: the atomic access orders
// the slot's other bytes against it.
func slotStatus(slot []byte) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(slot))))
}

func setSlotStatus(slot []byte, status uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(slot))), status)
}
