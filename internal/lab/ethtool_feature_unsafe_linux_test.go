package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// features are the names of what "ethtool -K" switches, by its own short names.
var features = []struct {
	name string
	of   []string
}{
	{"tx", []string{"tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-sctp"}},
	{"rx", []string{"rx-checksum"}},
	{"sg", []string{"tx-scatter-gather", "tx-scatter-gather-fraglist"}},
	{"tso", []string{"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation"}},
	{"gso", []string{"tx-generic-segmentation"}},
	{"gro", []string{"rx-gro"}},
	{"lro", []string{"rx-lro"}},
	{"tx-udp-segmentation", []string{"tx-udp-segmentation"}},
	{"rx-gro-list", []string{"rx-gro-list"}},
	{"rx-udp-gro-forwarding", []string{"rx-udp-gro-forwarding"}},
	{"txvlan", []string{"tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"}},
	{"rxvlan", []string{"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"}},
}

// flip turns those of the named features that can be changed to the other side
// of what they are, and reports whether there were any.
func (d *Device) flip(names []string) (changed bool, err error) {
	err = d.NS.Do(func() error {
		all, err := d.featureNames()
		if err != nil {
			return err
		}
		ne := binary.NativeEndian
		blocks := (len(all) + 31) / 32
		get := make([]byte, 8+16*blocks) // struct ethtool_gfeatures
		ne.PutUint32(get, unix.ETHTOOL_GFEATURES)
		ne.PutUint32(get[4:], uint32(blocks))
		if err := d.ethtool(get); err != nil {
			return err
		}
		set := make([]byte, 8+8*blocks) // struct ethtool_sfeatures
		ne.PutUint32(set, unix.ETHTOOL_SFEATURES)
		ne.PutUint32(set[4:], uint32(blocks))
		for i, name := range all {
			if !slices.Contains(names, name) {
				continue
			}
			have, want, bit := get[8+16*(i/32):], set[8+8*(i/32):], uint32(1)<<(i%32)
			available, active := ne.Uint32(have), ne.Uint32(have[8:])
			if available&bit == 0 {
				continue
			}
			changed = true
			ne.PutUint32(want, ne.Uint32(want)|bit)
			ne.PutUint32(want[4:], ne.Uint32(want[4:])|^active&bit)
		}
		if !changed {
			return nil
		}
		return d.ethtool(set)
	})
	if err != nil {
		return false, fmt.Errorf("features %s of %s: %w", names, d.Name, err)
	}
	return changed, nil
}

// featureNames asks the kernel for the names of its feature bits.
func (d *Device) featureNames() ([]string, error) {
	const inSet, nameLen = 4, 32 // ETH_SS_FEATURES, ETH_GSTRING_LEN
	ne := binary.NativeEndian
	info := make([]byte, 20) // struct ethtool_sset_info
	ne.PutUint32(info, unix.ETHTOOL_GSSET_INFO)
	ne.PutUint64(info[8:], 1<<inSet)
	if err := d.ethtool(info); err != nil {
		return nil, err
	}
	n := ne.Uint32(info[16:])
	text := make([]byte, 12+nameLen*n) // struct ethtool_gstrings
	ne.PutUint32(text, unix.ETHTOOL_GSTRINGS)
	ne.PutUint32(text[4:], inSet)
	ne.PutUint32(text[8:], n)
	if err := d.ethtool(text); err != nil {
		return nil, err
	}
	var names []string
	for i := range n {
		names = append(names, unix.ByteSliceToString(text[12+nameLen*i:][:nameLen]))
	}
	return names, nil
}

// ethtool makes one request on the device, in the thread's namespace.
func (d *Device) ethtool(request []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req := ifreqPtr{ptr: unsafe.Pointer(&request[0])}
	copy(req.name[:unix.IFNAMSIZ-1], d.Name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 && !errors.Is(errno, unix.EOPNOTSUPP) {
		return errno
	}
	return nil
}
