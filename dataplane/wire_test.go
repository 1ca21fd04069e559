package dataplane_test

import (
	"testing"

	"github.com/umacvlan/umacvlan/dataplane/wiretest"
)

func TestMemWire(t *testing.T)          { wiretest.Run(t, wiretest.Memory(true)) }
func TestMemWireNoOffload(t *testing.T) { wiretest.Run(t, wiretest.Memory(false)) }
