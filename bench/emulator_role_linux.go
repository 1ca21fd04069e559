package bench

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/pprof"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/tap"
)

// profileVariable names a file that an emulator's CPU profile is written to.
const profileVariable = "UMACVLAN_BENCH_CPUPROFILE"

// port is the switch of an emulator process.
type port struct {
	sw    *dataplane.Switch
	why   string
	spec  classify.Spec
	vmacs []*dataplane.Vmac

	stop context.CancelFunc
	done chan error
}

// emulatorRole opens the parent that the first order names and answers orders
// until there are no more.
func emulatorRole(in *json.Decoder, out *json.Encoder) (err error) {
	if path := os.Getenv(profileVariable); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var p port
	defer func() { err = errors.Join(err, p.close()) }()
	for {
		var o emulatorOrder
		if err := in.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var a emulatorAnswer
		if err := p.serve(&o); err != nil {
			a.Error = err.Error()
		}
		if p.sw != nil {
			a.Why, a.Port, a.Vmacs = p.why, p.sw.Stats(), map[string]dataplane.VmacStats{}
			for _, v := range p.vmacs {
				a.Vmacs[v.Name()] = v.Stats()
			}
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func (p *port) serve(o *emulatorOrder) error {
	if p.sw == nil {
		return p.open(o)
	}
	if o.Add != "" {
		return p.add(o)
	}
	return nil
}

func (p *port) open(o *emulatorOrder) error {
	var w dataplane.Wire
	err := within(o.ParentNS, func() (err error) {
		w, p.why, err = dataplane.Open(o.Parent, dataplane.WireOptions{Backend: o.Wire})
		return err
	})
	if err != nil {
		return err
	}
	sw, err := dataplane.New(w, dataplane.Options{})
	if err != nil {
		return errors.Join(err, w.Close())
	}
	p.sw, p.done = sw, make(chan error, 1)
	p.spec = classify.Spec{Parent: classify.MACFrom(o.ParentMAC[:]), BCLim: classify.DefaultBCLim}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() { p.done <- sw.Run(ctx) }()
	return nil
}

func (p *port) add(o *emulatorOrder) error {
	var d *tap.Device
	err := within(o.NS, func() (err error) {
		d, err = tap.Create(tap.Config{Name: o.Add, MAC: o.MAC})
		return err
	})
	if err != nil {
		return err
	}
	p.spec.Vmacs = append(p.spec.Vmacs, classify.Vmac{
		Name: o.Add, Mode: classify.Mode(o.Mode), MAC: classify.MACFrom(o.MAC[:]), MTU: 1500,
		Up: true, UpSeq: uint64(len(p.vmacs) + 1), BCQueueLen: classify.DefaultBCQueueLen,
	})
	p.vmacs = append(p.vmacs, dataplane.NewVmac(o.Add, dataplane.NewTap(d)))
	return p.sw.Swap(&p.spec, p.vmacs)
}

func (p *port) close() error {
	if p.sw == nil {
		return nil
	}
	p.stop()
	return <-p.done
}

// within runs fn in the network namespace at path.
func within(path string, fn func() error) error {
	ns, err := control.OpenNamespace(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(fn)
}
