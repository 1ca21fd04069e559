package classify

import (
	"fmt"
	"slices"
)

// UnmarshalText reads what MarshalText writes, so that a decision that was
// explained elsewhere can be read.
func (r *Reason) UnmarshalText(b []byte) error {
	for i := range reasons {
		if reasons[i].key == string(b) {
			*r = Reason(i)
			return nil
		}
	}
	return fmt.Errorf("parse reason %q: no such reason", b)
}

// UnmarshalText reads what MarshalText writes.
func (p *PacketType) UnmarshalText(b []byte) error {
	i := slices.Index(packetTypes[:], string(b))
	if i < 0 {
		return fmt.Errorf("parse packet type %q: no such type", b)
	}
	*p = PacketType(i)
	return nil
}

// UnmarshalText reads what MarshalText writes.
func (p *Path) UnmarshalText(b []byte) error {
	i := slices.Index(paths[:], string(b))
	if i < 0 {
		return fmt.Errorf("parse path %q: no such path", b)
	}
	*p = Path(i)
	return nil
}
