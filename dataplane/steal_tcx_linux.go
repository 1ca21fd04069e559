package dataplane

import (
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/umacvlan/umacvlan/internal/feature"
)

// openTCX attaches behind whatever is attached to the device already.
func openTCX(dev *net.Interface) (Taker, error) {
	if feature.Off(feature.TCX) {
		return nil, errOff
	}
	b, err := newBPFTaker()
	if err != nil {
		return nil, err
	}
	if b.detach, err = attachTCX(dev.Index, b.gateProgram); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// attachTCX attaches to the ingress of a device, behind what is there. The link
// goes with the descriptor that detach closes, or with the device; it stays when
// the device moves to another namespace.
func attachTCX(index int, p *ebpf.Program) (detach func() error, err error) {
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: ebpf.AttachTCXIngress, Anchor: link.Tail()})
	if err != nil {
		return nil, plain(fmt.Errorf("attach: %w", err))
	}
	return l.Close, nil
}
