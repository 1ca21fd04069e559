package control_test

import (
	"encoding/hex"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab"
)

func hexFrame(dst, src string, octets int) string {
	to, _ := net.ParseMAC(dst)
	from, _ := net.ParseMAC(src)
	b := append(append(append([]byte{}, to...), from...), 0x88, 0xb5)
	return hex.EncodeToString(append(b, make([]byte, octets-len(b))...))
}

// What the daemon says of a frame is what its switch does with it.
func TestExplain(t *testing.T) {
	b := newBed(t)
	socket := filepath.Join(t.TempDir(), "s")
	b.serve(socket)
	c := dial(t, socket)
	path := b.Parent.NS.Path()
	ask := func(r control.ExplainRequest) (classify.Explanation, error) {
		r.NetnsPath = path
		return c.Explain(t.Context(), r)
	}
	const stranger, all = "02:00:00:00:0e:01", "ff:ff:ff:ff:ff:ff"
	_, err := ask(control.ExplainRequest{From: "wire", Frame: hexFrame(all, stranger, 60)})
	var refusal *control.Refusal
	if !errors.As(err, &refusal) || refusal.Errno != int(unix.ENODEV) || refusal.Text != "No parent has a vmac" {
		t.Errorf("without a vmac: %v", err)
	}

	b1 := b.vmac(lab.Vmac{Name: "b1", NS: b.Parent.NS, MAC: net.HardwareAddr{2, 0, 0, 0, 1, 1}})
	b2 := b.vmac(lab.Vmac{Name: "b2", NS: b.Parent.NS, MAC: net.HardwareAddr{2, 0, 0, 0, 1, 2}})
	b.must(b1.Up())
	for _, tt := range []struct {
		from, dst, src string
		octets         int
		verdict        classify.Reason
		typ            classify.PacketType
		b1, b2         classify.Reason
	}{
		{"wire", "02:00:00:00:01:01", stranger, 60, classify.Unicast, classify.TypeOther, classify.Delivered, classify.NotUp},
		{"wire", "02:00:00:00:01:02", stranger, 60, classify.NoOwner, classify.TypeOther, classify.NotDestination, classify.NotUp},
		{"wire", b.Parent.MAC.String(), stranger, 60, classify.NoOwner, classify.TypeHost, classify.NotDestination, classify.NotUp},
		{"wire", all, stranger, 60, classify.Flooded, classify.TypeBroadcast, classify.Delivered, classify.NotUp},
		{"wire", "01:00:5e:00:00:01", "02:00:00:00:01:01", 60, classify.NoReceiver, classify.TypeMulticast, classify.Sender, classify.NotUp},
		{"wire", all, stranger, 14, classify.Flooded, classify.TypeBroadcast, classify.Delivered, classify.NotUp},
		{"host", all, stranger, 60, classify.OwnFrame, classify.TypeOutgoing, classify.OwnFrame, classify.OwnFrame},
		{"b1", stranger, "02:00:00:00:01:01", 60, classify.ToWire, classify.TypeOther, classify.Sender, classify.NotUp},
	} {
		x, err := ask(control.ExplainRequest{From: tt.from, Frame: hexFrame(tt.dst, tt.src, tt.octets)})
		if err != nil || len(x.Vmacs) != 2 {
			t.Errorf("%s %s > %s: %v, %d vmacs", tt.from, tt.src, tt.dst, err, len(x.Vmacs))
			continue
		}
		if host := tt.verdict == classify.NoOwner || tt.verdict == classify.Flooded || tt.verdict == classify.NoReceiver; x.Verdict.Host != host {
			t.Errorf("%+v: to the parent's stack %v", tt, x.Verdict.Host)
		}
		if wire := tt.from != "wire"; x.Verdict.Wire != wire {
			t.Errorf("%+v: to the wire %v", tt, x.Verdict.Wire)
		}
		if x.From != tt.from || x.Verdict.Reason != tt.verdict || x.Type != tt.typ || x.Vmacs[0].Reason != tt.b1 || x.Vmacs[1].Reason != tt.b2 {
			t.Errorf("%+v:\n%v", tt, x)
		}
	}
	if x, err := ask(control.ExplainRequest{From: "wire", Frame: "ffff"}); err != nil || x.Verdict.Reason != classify.Runt {
		t.Errorf("two octets: %v %v", err, x)
	}

	// No MTU holds back a super-frame, which only one longer than the sender's can be.
	b.must(b2.Up())
	b.must(b2.SetMTU(500))
	for octets, want := range map[int]classify.Reason{60: classify.Delivered, 600: classify.OverMTU, 1518: classify.OverMTU, 1519: classify.Delivered} {
		x, err := ask(control.ExplainRequest{From: "b1", Frame: hexFrame(all, "02:00:00:00:01:01", octets)})
		if err != nil || x.Vmacs[1].Reason != want {
			t.Errorf("%d octets: %v, want %v\n%v", octets, err, want, x)
		}
	}

	// What ip did a moment ago counts.
	for range 20 {
		b.must(b2.Down())
		down, err1 := ask(control.ExplainRequest{From: "wire", Frame: hexFrame(all, stranger, 60)})
		b.must(b2.Up())
		up, err2 := ask(control.ExplainRequest{From: "wire", Frame: hexFrame(all, stranger, 60)})
		if err := errors.Join(err1, err2); err != nil || down.Vmacs[1].Reason != classify.NotUp || up.Vmacs[1].Reason != classify.Delivered {
			t.Fatalf("%v, down %v, up %v", err, down, up)
		}
	}
	b.vmac(lab.Vmac{Name: "b3", NS: b.Parent.NS})
	for _, tt := range []struct {
		control.ExplainRequest
		errno error
		says  string
	}{
		{control.ExplainRequest{From: "nosuch", Frame: "ff"}, unix.ENODEV, ""},
		{control.ExplainRequest{From: "wire", Frame: "ff", Parent: "nosuch"}, unix.ENODEV, ""},
		{control.ExplainRequest{From: "wire", Frame: "ff", Parent: "lo"}, unix.ENODEV, "lo has no vmac of this daemon"},
		{control.ExplainRequest{From: "wire", Frame: "ff", Parent: "b1"}, unix.ENODEV, "b1 has no vmac of this daemon"},
		{control.ExplainRequest{From: "b1", Frame: "ff", Parent: b.Parent.Name}, unix.EINVAL, "goes with wire and host"},
		{control.ExplainRequest{From: "b3", Frame: "ff"}, unix.ENETDOWN, "b3 is down and sends nothing"},
		{control.ExplainRequest{From: b.Parent.Name, Frame: "ff"}, unix.EOPNOTSUPP, "is no vmac"},
		{control.ExplainRequest{From: "wire", Frame: "f"}, unix.EINVAL, "frame"},
		{control.ExplainRequest{From: "wire"}, unix.EINVAL, "no octets"},
		{control.ExplainRequest{Frame: "ff"}, unix.EINVAL, "from is needed"},
	} {
		_, err := ask(tt.ExplainRequest)
		if !errors.Is(err, tt.errno) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v, want %v: %s", tt.ExplainRequest, err, tt.errno, tt.says)
		}
	}
}

// With several parents one has to be named.
func TestExplainSeveralParents(t *testing.T) {
	b := newBed(t)
	b.vmac(lab.Vmac{Name: "one", NS: b.Parent.NS})
	other := &lab.Device{NS: b.Parent.NS, Name: "other", MAC: net.HardwareAddr{2, 0, 0, 0, 2, 0x0a}}
	b.must(lab.Veth(other, &lab.Device{NS: b.Wire.NS, Name: "otherend", MAC: net.HardwareAddr{2, 0, 0, 0, 2, 0x0b}}, 1500))
	up := true
	b.done(b.Parent.NS, control.LinkRequest{Op: "add", Name: "two", Parent: "other", Kind: "macvlan", Up: &up})
	h, err := control.OpenNamespace(b.Parent.NS.Path())
	b.must(err)
	defer h.Close()
	frame := hexFrame("ff:ff:ff:ff:ff:ff", "02:00:00:00:0e:01", 60)
	for parent, vmac := range map[string]string{b.Parent.Name: "one", "other": "two"} {
		for _, from := range []string{"wire", "host"} {
			x, refusal := b.em.Engine.Explain(t.Context(), control.ExplainRequest{From: from, Frame: frame, Parent: parent}, h)
			if refusal != nil || len(x.Vmacs) != 1 || x.Vmacs[0].Name != vmac {
				t.Errorf("%s of %s: %v %+v", from, parent, refusal, x.Vmacs)
			}
			_, refusal = b.em.Engine.Explain(t.Context(), control.ExplainRequest{From: from, Frame: frame}, h)
			if refusal == nil || refusal.Errno != int(unix.EINVAL) || refusal.Text != "Several parents have vmacs" ||
				!strings.HasPrefix(refusal.Hint, "say which with --parent DEV: "+b.Parent.Name+" (in net:[") || !strings.Contains(refusal.Hint, "), other (in net:[") {
				t.Errorf("%s of an unnamed parent: %v", from, refusal)
			}
		}
	}
	if x, refusal := b.em.Engine.Explain(t.Context(), control.ExplainRequest{From: "two", Frame: frame}, h); refusal != nil || x.Vmacs[0].Name != "two" || x.From != "two" {
		t.Errorf("from two: %v %+v", refusal, x)
	}
}
