package lab

import (
	"errors"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// filterParent drops what the parent receives or sends.
func (t *take) filterParent(attr scenario.Attr, value string) error {
	return errors.ErrUnsupported
}
