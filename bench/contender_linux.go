package bench

import (
	"fmt"
	"os/exec"
	"strings"
)

// Contender is one switch that takes part.
type Contender struct {
	Spec string `json:"spec"` // as ParseContender reads it
	Name string `json:"name"`

	kind    string
	options []string // key=value
	exe     string   // another build of this project
}

// kinds are all contenders, the baseline first.
var kinds = []struct {
	kind, name, what string
	needs            []string // programs
}{
	{"kernel", "kernel macvlan", "the kernel's own, with its defaults", nil},
	{"umacvlan", "umacvlan", "this project, as its daemon runs it; options follow: umacvlan:wire=mmsg:offload=off", nil},
	{"naive", "naive TAP loop", "a bridge, a TAP per vmac and a loop that moves one frame per system call", nil},
	{"ovs", "Open vSwitch netdev", "its user-space datapath with segmentation offload", []string{"ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-appctl"}},
	{"vde", "VDE", "vde_switch, its TAP bridged with the parent, and a plug per vmac", []string{"vde_switch", "vde_plug2tap"}},
	{"none", "no vmacs", "the parent alone", nil},
}

// ParseContender reads "kernel", "umacvlan", "umacvlan:KEY=VALUE…", "naive",
// "ovs", "vde" or "none".
func ParseContender(spec string) (Contender, error) {
	kind, rest, more := strings.Cut(spec, ":")
	c := Contender{Spec: spec, kind: kind}
	for _, k := range kinds {
		if k.kind == kind {
			c.Name = k.name
		}
	}
	switch {
	case c.Name == "":
		var names []string
		for _, k := range kinds {
			names = append(names, k.kind)
		}
		return c, fmt.Errorf("there is no contender %q; there are %s", kind, strings.Join(names, ", "))
	case more && kind != "umacvlan":
		return c, fmt.Errorf("%s has no options", kind)
	case more:
		for o := range strings.SplitSeq(rest, ":") {
			key, value, _ := strings.Cut(o, "=")
			if key == "exe" && value != "" {
				c.exe = value
			} else if err := checkVariant(key, value); err != nil {
				return c, err
			} else {
				c.options = append(c.options, o)
			}
		}
		c.Name += " " + strings.Join(strings.Split(rest, ":"), " ")
	}
	return c, nil
}

// titleOf is the name of a contender that is written in this package.
func titleOf(spec string) string {
	c, err := ParseContender(spec)
	if err != nil {
		panic(err)
	}
	return c.Name
}

// Missing says what keeps the contender from taking part: programs that aren't
// installed, or nil.
func (c Contender) Missing() error {
	for _, k := range kinds {
		if k.kind != c.kind {
			continue
		}
		for _, program := range k.needs {
			if _, err := exec.LookPath(program); err != nil {
				return fmt.Errorf("%s is not installed (no %s in the PATH)", c.Name, program)
			}
		}
	}
	return nil
}

// others says that the contender is somebody else's program. It may fail without
// taking the run with it.
func (c Contender) others() bool {
	for _, k := range kinds {
		if k.kind == c.kind {
			return len(k.needs) > 0
		}
	}
	return false
}

// Contenders says, for people, which there are.
func Contenders() (lines []string) {
	for _, k := range kinds {
		lines = append(lines, fmt.Sprintf("%-10s%s", k.kind, k.what))
	}
	return lines
}
