package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/songgao/water"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// naiveLoop is the whole switch.
type naiveLoop struct {
	uplink *water.Interface

	mu    sync.RWMutex
	vmacs map[string]*naiveVmac // by address
	names map[string]*naiveVmac
}

type naiveVmac struct {
	tap                                    *water.Interface
	rxPackets, rxBytes, txPackets, txBytes atomic.Uint64
}

func naiveRole(in *json.Decoder, out *json.Encoder) error {
	n := &naiveLoop{vmacs: map[string]*naiveVmac{}, names: map[string]*naiveVmac{}}
	for {
		var o naiveOrder
		if err := in.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var a naiveAnswer
		var err error
		switch {
		case o.Uplink != "":
			if n.uplink, err = openTAP(o.Uplink); err == nil {
				go n.fromUplink()
			}
		case o.Add != "":
			err = n.add(&o)
		default:
			a.Counters, err = n.show(o.Show)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func openTAP(name string) (*water.Interface, error) {
	return water.New(water.Config{DeviceType: water.TAP, PlatformSpecificParams: water.PlatformSpecificParams{Name: name}})
}

func (n *naiveLoop) add(o *naiveOrder) error {
	v := &naiveVmac{}
	err := within(o.NS, func() (err error) {
		v.tap, err = openTAP(o.Add)
		return err
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.vmacs[string(o.MAC[:])] = v
	n.names[o.Add] = v
	n.mu.Unlock()
	go n.fromVmac(v)
	return nil
}

func (n *naiveLoop) show(name string) (c lab.Counters, err error) {
	n.mu.RLock()
	v := n.names[name]
	n.mu.RUnlock()
	if v == nil {
		return c, fmt.Errorf("there is no %s", name)
	}
	return lab.Counters{
		RxPackets: v.rxPackets.Load(), RxBytes: v.rxBytes.Load(), TxPackets: v.txPackets.Load(), TxBytes: v.txBytes.Load(),
	}, nil
}

// fromUplink passes on what comes from the parent.
func (n *naiveLoop) fromUplink() {
	n.forEach(n.uplink, func(eth *layers.Ethernet, frame []byte) {
		n.toVmacs(eth, frame, nil)
	})
}

// fromVmac passes on what a vmac sends.
func (n *naiveLoop) fromVmac(v *naiveVmac) {
	n.forEach(v.tap, func(eth *layers.Ethernet, frame []byte) {
		v.txPackets.Add(1)
		v.txBytes.Add(uint64(len(frame)))
		if !n.toVmacs(eth, frame, v) {
			_, _ = n.uplink.Write(frame)
		}
	})
}

// forEach reads frames until the device is gone.
func (n *naiveLoop) forEach(tap *water.Interface, fn func(eth *layers.Ethernet, frame []byte)) {
	buf := make([]byte, 1<<16)
	for {
		size, err := tap.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue // it is still down
		}
		packet := gopacket.NewPacket(buf[:size], layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		if eth, ok := packet.LinkLayer().(*layers.Ethernet); ok {
			fn(eth, buf[:size])
		}
	}
}

// toVmacs reports whether the frame was for a vmac alone.
func (n *naiveLoop) toVmacs(eth *layers.Ethernet, frame []byte, from *naiveVmac) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if eth.DstMAC[0]&1 == 0 {
		v := n.vmacs[string(eth.DstMAC)]
		if v != nil {
			v.write(frame)
		}
		return v != nil
	}
	for _, v := range n.vmacs {
		if v != from {
			v.write(frame)
		}
	}
	return false
}

func (v *naiveVmac) write(frame []byte) {
	if _, err := v.tap.Write(frame); err == nil {
		v.rxPackets.Add(1)
		v.rxBytes.Add(uint64(len(frame)))
	}
}
