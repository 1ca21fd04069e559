package control_test

import (
	"fmt"
	"testing"

	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab"
)

// The accounts stay balanced when vmacs go, by request, by ip, or with their
// namespace, and keep what those have sent.
func TestLedgerKeepsTheDead(t *testing.T) {
	b := newBed(t)
	b.must(b.Wire.AddAddr("10.1.1.9/24"))
	stay := b.ns()
	dies, err := lab.NewNS()
	b.must(err)
	for i, ns := range []*lab.NS{stay, b.ns(), b.ns(), dies} {
		d := b.vmac(lab.Vmac{Name: fmt.Sprintf("vmac%d", i), NS: ns})
		b.must(d.AddAddr(fmt.Sprintf("10.1.1.%d/24", i+1)))
		b.must(d.Up())
		b.echo(ns, b.Wire.NS, "10.1.1.9")
	}
	sent := func() uint64 { return b.em.Engine.Ledgers()[0].Equations[4].Left }
	b.soon("the accounts balance", func() bool { return len(b.em.Unbalanced()) == 0 })
	before := sent()
	if before < 4 {
		t.Fatalf("the vmacs sent %d frames", before)
	}
	b.done(b.Vmacs["vmac1"].NS, control.LinkRequest{Op: "delete", Name: "vmac1"})
	b.must(b.Vmacs["vmac2"].Delete())
	b.soon("two are left", func() bool { return b.em.Engine.Status().Vmacs == 2 })
	b.soon("the accounts balance", func() bool { return len(b.em.Unbalanced()) == 0 })
	// What one had sent that ip deleted is only known from its last message.
	if after := sent(); after < before && !feature.Off(feature.ListenAll) {
		t.Errorf("%d frames sent, %d before two vmacs went", after, before)
	}
	b.must(dies.Close())
	b.soon("one is left", func() bool { return b.em.Engine.Status().Vmacs == 1 })
	b.soon("the accounts balance", func() bool { return len(b.em.Unbalanced()) == 0 })
	if f := b.em.Engine.Ledgers()[0]; len(f.Sent) == 0 || len(f.Frames) == 0 {
		t.Errorf("ledger is %+v", f)
	}
}
