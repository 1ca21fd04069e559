package dataplane_test

import (
	"testing"

	"github.com/umacvlan/umacvlan/dataplane"
	"github.com/umacvlan/umacvlan/dataplane/wiretest"
)

func TestWires(t *testing.T) {
	for _, c := range []struct {
		name string
		o    dataplane.WireOptions
	}{
		{"ring", dataplane.WireOptions{Backend: dataplane.BackendRing}},
		{"mmsg", dataplane.WireOptions{Backend: dataplane.BackendMmsg}},
		{"ring, no header", dataplane.WireOptions{Backend: dataplane.BackendRing, NoHeader: true}},
		{"mmsg, no header", dataplane.WireOptions{Backend: dataplane.BackendMmsg, NoHeader: true}},
		{"ring of 128", dataplane.WireOptions{Backend: dataplane.BackendRing, Slots: 128}},
		{"ring, small buffer", dataplane.WireOptions{Backend: dataplane.BackendRing, ReceiveBuffer: 200_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wiretest.Run(t, wiretest.OnVeth(func() (dataplane.Wire, error) {
				w, _, err := dataplane.Open(wiretest.Parent, c.o)
				return w, err
			}))
		})
	}
}
