package classify

import (
	"errors"
	"fmt"
)

// MaxVmacs is how many vmacs one port may have.
const MaxVmacs = 1 << 16

// Validate reports the first thing in s that no port of the kernel can look
// like. An up vmac may have the parent's address: the kernel refuses to bring
// it up so, but not to give the parent an up vmac's address afterwards.
func (s *Spec) Validate() error {
	if len(s.Vmacs) > MaxVmacs {
		return fmt.Errorf("spec: %d vmacs, more than %d", len(s.Vmacs), MaxVmacs)
	}
	if (s.Parent|s.Broadcast)>>48 != 0 {
		return errors.New("spec: the parent's address or broadcast address is longer than six octets")
	}
	up := make(map[MAC]int, len(s.Vmacs))
	for i := range s.Vmacs {
		v := &s.Vmacs[i]
		if err := v.validate(); err != nil {
			return fmt.Errorf("vmac %s: %w", v.label(i), err)
		}
		if v.Mode == Passthru && len(s.Vmacs) > 1 {
			return fmt.Errorf("vmac %s: a passthru vmac is alone on its parent, here are %d vmacs", v.label(i), len(s.Vmacs))
		}
		if !v.Up {
			continue
		}
		if j, ok := up[v.MAC]; ok {
			return fmt.Errorf("vmac %s: address %v is in use by %s, which is up", v.label(i), v.MAC, s.Vmacs[j].label(j))
		}
		up[v.MAC] = i
	}
	listed := make(map[SourceEntry]struct{}, len(s.Sources))
	for i, e := range s.Sources {
		if e.Vmac < 0 || e.Vmac >= len(s.Vmacs) {
			return fmt.Errorf("source entry %d: no vmac %d among %d", i, e.Vmac, len(s.Vmacs))
		}
		v := &s.Vmacs[e.Vmac]
		if v.Mode != Source {
			return fmt.Errorf("vmac %s: has a source list but mode %v", v.label(e.Vmac), v.Mode)
		}
		if !e.MAC.IsValid() {
			return fmt.Errorf("vmac %s: source list has %v, which is no unicast address", v.label(e.Vmac), e.MAC)
		}
		if _, ok := listed[e]; ok {
			return fmt.Errorf("vmac %s: source list has %v twice", v.label(e.Vmac), e.MAC)
		}
		listed[e] = struct{}{}
	}
	return nil
}

func (v *Vmac) validate() error {
	if !v.Mode.IsValid() {
		return fmt.Errorf("mode %d is not exactly one of private 1, vepa 2, bridge 4, passthru 8, source 16", uint8(v.Mode))
	}
	if rest := v.Flags &^ (NoPromisc | NoDst); rest != 0 {
		return fmt.Errorf("flags %#x are neither nopromisc 1 nor nodst 2", uint16(rest))
	}
	if !v.MAC.IsValid() {
		return fmt.Errorf("address %v is no unicast address", v.MAC)
	}
	if v.Broadcast > Broadcast {
		return errors.New("broadcast address is longer than six octets")
	}
	if v.MTU < 0 {
		return fmt.Errorf("MTU %d is negative", v.MTU)
	}
	for _, g := range v.Groups {
		if g > Broadcast {
			return fmt.Errorf("group %#x is longer than six octets", uint64(g))
		}
	}
	return nil
}

// label names vmac number i in an error.
func (v *Vmac) label(i int) string {
	if v.Name != "" {
		return v.Name
	}
	return fmt.Sprintf("%d", i)
}
