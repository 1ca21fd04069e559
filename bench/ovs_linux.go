package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// ovs is Open vSwitch with its user-space datapath and segmentation offload: an
// AF_PACKET socket on the parent and a TAP per vmac. Its daemons, their sockets
// and their database are in a directory of the run's own.
type ovs struct {
	servants
	open bool
}

func newOVS() (lab.Driver, error) {
	o := &ovs{}
	return o, o.inDir("ovs")
}

func (o *ovs) Name() string { return "ovs" }

func (o *ovs) Add(parent *lab.Device, v *lab.Vmac) error {
	if !o.open {
		if err := o.start(parent); err != nil {
			return err
		}
		o.open = true
	}
	if err := o.vsctl("add-port", "br0", v.Name, "--", "set", "interface", v.Name, "type=internal"); err != nil {
		return err
	}
	d, err := lab.Find(parent.NS, v.Name)
	if err != nil {
		return err
	}
	if v.NS.Inode() != parent.NS.Inode() {
		if err := move(d, v.NS); err != nil {
			return err
		}
	}
	return d.SetMAC(v.MAC)
}

func (o *ovs) start(parent *lab.Device) error {
	for _, name := range []string{"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"} {
		o.env = append(o.env, name+"="+o.dir)
	}
	schema := ""
	for _, path := range []string{"/usr/share/openvswitch/vswitch.ovsschema", "/usr/local/share/openvswitch/vswitch.ovsschema"} {
		if _, err := os.Stat(path); err == nil {
			schema = path
			break
		}
	}
	if schema == "" {
		return errors.New("ovs: vswitch.ovsschema is not where it belongs")
	}
	db, sock := filepath.Join(o.dir, "conf.db"), o.database()
	if _, err := o.call("ovsdb-tool", "create", db, schema); err != nil {
		return err
	}
	if err := o.serve(parent.NS, "ovsdb-server", "--remote=p"+sock, "--unixctl="+filepath.Join(o.dir, "db.ctl"), db); err != nil {
		return err
	}
	if err := appears(filepath.Join(o.dir, "db.sock")); err != nil {
		return err
	}
	if err := o.vsctl("--no-wait", "init"); err != nil {
		return err
	}
	if err := o.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true"); err != nil {
		return err
	}
	if err := o.serve(parent.NS, "ovs-vswitchd", sock, "--unixctl="+o.control()); err != nil {
		return err
	}
	if err := appears(o.control()); err != nil {
		return err
	}
	return o.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "--", "add-port", "br0", parent.Name)
}

func (o *ovs) database() string { return "unix:" + filepath.Join(o.dir, "db.sock") }
func (o *ovs) control() string  { return filepath.Join(o.dir, "vs.ctl") }

func (o *ovs) vsctl(args ...string) error {
	_, err := o.call("ovs-vsctl", append([]string{"--db=" + o.database(), "--timeout=20"}, args...)...)
	return err
}

// Counters are the device's own: the datapath forgets a port's when its device
// is in another namespace.
func (o *ovs) Counters(d *lab.Device) (lab.Counters, error) { return d.Counters() }

// handled returns how many packets the datapath has looked up.
func (o *ovs) handled() (n uint64, err error) {
	if !o.open {
		return 0, nil
	}
	out, err := o.call("ovs-appctl", "-t", o.control(), "dpctl/show")
	if err != nil {
		return 0, err
	}
	for word := range strings.FieldsSeq(out) {
		for _, key := range []string{"hit:", "missed:"} {
			if digits, ok := strings.CutPrefix(word, key); ok && !strings.Contains(digits, ".") {
				v, err := strconv.ParseUint(digits, 10, 64)
				if err != nil {
					return 0, fmt.Errorf("dpctl/show: %w", err)
				}
				n += v
			}
		}
	}
	return n, nil
}

func (o *ovs) path(*lab.Device) (string, error) {
	return "AF_PACKET → netdev datapath → TAP, TSO on", nil
}
