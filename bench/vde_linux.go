package bench

import (
	"path/filepath"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// vde is VDE as its manual joins it with a network card: the parent and the
// switch's TAP are ports of a bridge, and each vmac is a TAP with a plug.
type vde struct {
	servants
	open bool
}

func newVDE() (lab.Driver, error) {
	v := &vde{}
	return v, v.inDir("vde")
}

const vdeUplink = "vup0"

func (v *vde) Name() string { return "vde" }

func (v *vde) Add(parent *lab.Device, m *lab.Vmac) error {
	sock := filepath.Join(v.dir, "switch")
	if !v.open {
		if err := v.serve(parent.NS, "vde_switch", "-s", sock, "-tap", vdeUplink); err != nil {
			return err
		}
		if err := appears(filepath.Join(sock, "ctl")); err != nil {
			return err
		}
		if err := parent.NS.Do(func() error { return bridgeTogether("vbr0", parent.Name, vdeUplink) }); err != nil {
			return err
		}
		v.open = true
	}
	if err := v.serve(m.NS, "vde_plug2tap", "-s", sock, m.Name); err != nil {
		return err
	}
	d, err := eventually(func() (*lab.Device, error) { return lab.Find(m.NS, m.Name) })
	if err != nil {
		return err
	}
	return d.SetMAC(m.MAC)
}

// Counters are the device's own: the switch keeps none.
func (v *vde) Counters(d *lab.Device) (lab.Counters, error) { return d.Counters() }

func (v *vde) path(*lab.Device) (string, error) {
	return "bridge → TAP → vde_switch → plug → TAP", nil
}
