package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// capability is a bit of CapEff, and what it is needed for.
type capability struct {
	bit  uint
	name string
	why  string
}

var (
	capNetAdmin = capability{12, "CAP_NET_ADMIN", "to make devices and to listen on their parent's behalf"}
	capNetRaw   = capability{13, "CAP_NET_RAW", "to open the parent's packet socket"}
	capSysAdmin = capability{21, "CAP_SYS_ADMIN", "to make and to enter network namespaces"}

	// capabilities are what daemon and run need.
	capabilities = []capability{capNetAdmin, capNetRaw, capSysAdmin}
)

const tunDevice = "/dev/net/tun"

// checkPrivilege says what this process lacks to move frames, before it tries.
func checkPrivilege(need []capability) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	if err := missingCapability(string(status), need); err != nil {
		return err
	}
	f, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	if err != nil {
		return tunTrouble(err)
	}
	return f.Close()
}

func missingCapability(status string, need []capability) error {
	_, rest, _ := strings.Cut(status, "\nCapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	have, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for _, c := range need {
		if have&(1<<c.bit) == 0 {
			return fmt.Errorf("%s is missing (needed %s); run it as root", c.name, c.why)
		}
	}
	return nil
}

func tunTrouble(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing; get it with: modprobe tun, or in a container: --device %s", tunDevice, tunDevice)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be opened (%s); give this container the device with: --device %s", tunDevice, cause(err), tunDevice)
	}
	return fmt.Errorf("%s does not open (%s); is the tun module loaded? try: modprobe tun", tunDevice, cause(err))
}
