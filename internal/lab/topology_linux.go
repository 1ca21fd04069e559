package lab

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// The addresses of every topology's parent and wire.
var (
	ParentMAC = net.HardwareAddr{2, 0, 0, 0, 0, 0x0a}
	WireMAC   = net.HardwareAddr{2, 0, 0, 0, 0, 0x0b}
)

// Options of a topology; the zero value is a parent with MTU 1500, offloads
// and IPv6 off.
type Options struct {
	Offloads bool
	IPv6     bool
	MTU      int
	Parent   string // name of the parent, "va" if empty
	Wire     string // name of the wire's end, "vb" if empty
}

// Topology is one parent and its wire, the two ends of a veth pair in a
// namespace each, with vmacs on the parent. One goroutine at a time.
type Topology struct {
	Driver Driver
	Parent *Device
	Wire   *Device
	Vmacs  map[string]*Device

	options   Options
	own       []*NS
	injectors map[string]*Injector
}

// NewTopology makes the parent and the wire. Close deletes everything; the
// driver is not the topology's and stays open.
func NewTopology(driver Driver, o Options) (*Topology, error) {
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.Parent == "" {
		o.Parent = "va"
	}
	if o.Wire == "" {
		o.Wire = "vb"
	}
	t := &Topology{Driver: driver, Vmacs: map[string]*Device{}, options: o, injectors: map[string]*Injector{}}
	host, err := t.NewNS()
	if err != nil {
		return nil, err
	}
	wire, err := t.NewNS()
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.Parent = &Device{Name: o.Parent, MAC: ParentMAC, NS: host}
	t.Wire = &Device{Name: o.Wire, MAC: WireMAC, NS: wire}
	if err := t.connect(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Topology) connect() error {
	if err := Veth(t.Parent, t.Wire, t.options.MTU); err != nil {
		return err
	}
	for _, d := range []*Device{t.Parent, t.Wire} {
		if !t.options.Offloads {
			if err := d.SetOffloads(false); err != nil {
				return err
			}
		}
		err := poll(patience, d.Operational)
		if err != nil {
			return fmt.Errorf("%s has no carrier: %w", d.Name, err)
		}
	}
	return nil
}

// NewNS makes a namespace that lives as long as the topology, IPv6 off unless
// the options say otherwise.
func (t *Topology) NewNS() (*NS, error) {
	ns, err := NewNS()
	if err != nil {
		return nil, err
	}
	t.own = append(t.own, ns)
	if !t.options.IPv6 {
		// Where /proc/sys is read-only the neighbour discovery of IPv6 goes on;
		// it disturbs counters but no captured frame of the lab's own type.
		for _, which := range []string{"all", "default"} {
			_ = Sysctl(ns, "ipv6/conf/"+which+"/disable_ipv6", "1")
		}
	}
	return ns, nil
}

// Add makes a vmac, down.
func (t *Topology) Add(v Vmac) (*Device, error) {
	if v.NS == nil {
		v.NS = t.Parent.NS
	}
	if err := t.Driver.Add(t.Parent, &v); err != nil {
		return nil, err
	}
	d, err := Find(v.NS, v.Name)
	if err != nil {
		return nil, err
	}
	t.Vmacs[v.Name] = d
	return d, nil
}

// Device returns the parent, the wire or a vmac by name.
func (t *Topology) Device(name string) *Device {
	switch name {
	case t.Parent.Name:
		return t.Parent
	case t.Wire.Name:
		return t.Wire
	}
	return t.Vmacs[name]
}

// Injector returns the device's injector, which lives as long as the topology.
func (t *Topology) Injector(name string) (*Injector, error) {
	if i := t.injectors[name]; i != nil {
		return i, nil
	}
	d := t.Device(name)
	if d == nil {
		return nil, fmt.Errorf("no device %s", name)
	}
	i, err := d.Inject()
	if err == nil {
		t.injectors[name] = i
	}
	return i, err
}

// Join subscribes a device to a group for the topology's lifetime.
func (t *Topology) Join(name string, group net.HardwareAddr) error {
	i, err := t.Injector(name)
	if err != nil {
		return err
	}
	return i.Join(t.Device(name).Index, group)
}

// Close deletes the namespaces and with them every device.
func (t *Topology) Close() error {
	var errs []error
	for _, i := range t.injectors {
		errs = append(errs, i.Close())
	}
	for _, ns := range t.own {
		errs = append(errs, ns.Close())
	}
	t.injectors, t.own = nil, nil
	return errors.Join(errs...)
}

// poll asks until the answer is yes, an error, or time is up.
func poll(timeout time.Duration, ask func() (bool, error)) error {
	for end := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		ok, err := ask()
		if ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return ErrTimeout
		}
	}
}
