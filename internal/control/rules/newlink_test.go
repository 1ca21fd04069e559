package rules

import (
	"strings"
	"syscall"
	"testing"

	"github.com/umacvlan/umacvlan/classify"
)

// What 3.1 of the behaviour reference calls defaults.
func TestDefaults(t *testing.T) {
	w := newWorld(t)
	w.parent[1].MaxMTU = 9000
	w.want(w.add("", nil), 0)
	v := w.vmac("macvlan0")
	if v.Mode != classify.Vepa || v.MTU != 1500 || v.MaxMTU != 9000 || v.Flags != 0 || v.Up || v.BCQueueLen != 1000 || !v.Carrier {
		t.Errorf("defaults are %+v", *v)
	}
	if v.MAC != mac("06:00:00:00:00:01") {
		t.Errorf("address is %v, not the random one", v.MAC)
	}
	spec := w.s.Spec(1)
	if spec.BCLim != 1 || len(spec.Vmacs) != 1 || spec.ParentDown {
		t.Errorf("spec is %+v", spec)
	}
	w.want(w.add("", nil), 0)
	w.vmac("macvlan1")
}

func TestNewLinkRefusals(t *testing.T) {
	lo := &Parent{ID: 9, Name: "lo", MTU: 65536, Loopback: true}
	gre := &Parent{ID: 8, Name: "gre0", MTU: 1400, NotEthernet: true}
	port := &Parent{ID: 7, Name: "eth7", MTU: 1500, Busy: "bridge br0"}
	text := func(s string) string { return s }
	for _, c := range []struct {
		name  string
		r     func(*NewLink)
		errno syscall.Errno
		text  string
	}{
		{"no link", func(r *NewLink) { r.Link = nil }, syscall.EINVAL, ""},
		{"unknown link", func(r *NewLink) { r.Link = nil; r.Missing = true }, syscall.ENODEV, ""},
		{"loopback", func(r *NewLink) { r.Link = lo }, syscall.EINVAL, ""},
		{"not ethernet", func(r *NewLink) { r.Link = gre }, syscall.EINVAL, ""},
		{"bridge port", func(r *NewLink) { r.Link = port }, syscall.EBUSY, ""},
		{"macvtap", func(r *NewLink) { r.Kind = "macvtap" }, syscall.EOPNOTSUPP, text("Unknown device type")},
		{"no kind", func(r *NewLink) { r.Kind = "" }, syscall.EOPNOTSUPP, text("Unknown device type")},
		{"mode 0", func(r *NewLink) { r.Data = mode(0) }, syscall.EINVAL, ""},
		{"mode 3", func(r *NewLink) { r.Data = mode(3) }, syscall.EINVAL, ""},
		{"mode 32", func(r *NewLink) { r.Data = mode(32) }, syscall.EINVAL, ""},
		{"mode 260", func(r *NewLink) { r.Data = &Data{Mode: ptr(uint32(260))} }, syscall.EINVAL, ""},
		{"flags 4", func(r *NewLink) { r.Data = &Data{Flags: ptr(uint16(4))} }, syscall.EINVAL, ""},
		{"flags 1 in vepa", func(r *NewLink) { r.Data = &Data{Flags: ptr(uint16(1))} }, 0, ""},
		{"flags 3 in bridge", func(r *NewLink) { r.Data = mode(classify.Bridge); r.Data.Flags = ptr(uint16(3)) }, 0, ""},
		{"good address, bad mode", func(r *NewLink) { r.Address = hw("02:00:00:00:01:09"); r.Data = mode(3) }, syscall.EINVAL, ""},
		{"address zero", func(r *NewLink) { r.Address = make([]byte, 6) }, syscall.EADDRNOTAVAIL, ""},
		{"address group", func(r *NewLink) { r.Address = hw("01:00:5e:00:00:01") }, syscall.EADDRNOTAVAIL, ""},
		{"address broadcast", func(r *NewLink) { r.Address = hw("ff:ff:ff:ff:ff:ff") }, syscall.EADDRNOTAVAIL, ""},
		{"address short", func(r *NewLink) { r.Address = make([]byte, 5) }, syscall.EINVAL, ""},
		{"address long", func(r *NewLink) { r.Address = hw("02:00:00:00:00:00:00:01") }, syscall.EINVAL, ""},
		{"address of the parent", func(r *NewLink) { r.Address = hw("02:00:00:00:00:0a") }, 0, ""},
		{"address of a sibling", func(r *NewLink) { r.Address = hw("02:00:00:00:01:01") }, 0, ""},
		{"name taken by a vmac", func(r *NewLink) { r.Name = "old" }, syscall.EEXIST, ""},
		{"name taken by another device", func(r *NewLink) { r.Name = "eth0"; r.Taken = func(n string) bool { return n == "eth0" } }, syscall.EEXIST, ""},
		{"name free, other devices there", func(r *NewLink) { r.Taken = func(string) bool { return false } }, 0, ""},
		{"name taken in an earlier namespace", func(r *NewLink) { r.Name = "old"; r.Netns = netA - 1 }, 0, ""},
		{"name taken in another namespace", func(r *NewLink) { r.Name = "old"; r.Netns = netB }, 0, ""},
		{"name with a slash", func(r *NewLink) { r.Name = "a/b" }, syscall.EINVAL, ""},
		{"name .", func(r *NewLink) { r.Name = "." }, syscall.EINVAL, ""},
		{"name ..", func(r *NewLink) { r.Name = ".." }, syscall.EINVAL, ""},
		{"name with two %d", func(r *NewLink) { r.Name = "x%d%d" }, syscall.EINVAL, ""},
		{"name with %", func(r *NewLink) { r.Name = "x%" }, syscall.EINVAL, ""},
		{"name of 16", func(r *NewLink) { r.Name = "0123456789abcdef" }, syscall.EINVAL, ""},
		{"name of 15", func(r *NewLink) { r.Name = "0123456789abcde" }, 0, ""},
		{"name with %s", func(r *NewLink) { r.Name = "a%s" }, syscall.EINVAL, ""},
		{"mtu above the parent's", func(r *NewLink) { r.MTU = ptr(uint32(1501)) }, syscall.EINVAL, ""},
		{"mtu of the parent", func(r *NewLink) { r.MTU = ptr(uint32(1500)) }, 0, ""},
		{"mtu 65535", func(r *NewLink) { r.Link = &Parent{ID: 3, Name: "big", MTU: 65535}; r.MTU = ptr(uint32(65535)) }, 0, ""},
		{"mtu 67", func(r *NewLink) { r.MTU = ptr(uint32(67)) }, syscall.EINVAL, "mtu less than device minimum"},
		{"mtu 68", func(r *NewLink) { r.MTU = ptr(uint32(68)) }, 0, ""},
		{"mtu 65536", func(r *NewLink) { r.MTU = ptr(uint32(65536)) }, syscall.EINVAL, "mtu greater than device maximum"},
		{"macaddr add in vepa", func(r *NewLink) { r.Data = &Data{MacaddrMode: ptr(MacaddrAdd), Macaddr: hw("02:00:00:00:0e:01")} }, syscall.EINVAL, ""},
		{"macaddr without a macaddr mode", func(r *NewLink) { r.Data = &Data{Macaddr: hw("02:00:00:00:0e:01")} }, 0, ""},
		{"macaddr mode 4", func(r *NewLink) { r.Data = mode(classify.Source); r.Data.MacaddrMode = ptr(uint32(4)) }, syscall.EINVAL, ""},
		{"macaddr add without address", func(r *NewLink) { r.Data = mode(classify.Source); r.Data.MacaddrMode = ptr(MacaddrAdd) }, syscall.EINVAL, ""},
		{"macaddr group", func(r *NewLink) { r.Data = &Data{Macaddr: hw("01:00:00:00:0e:01")} }, syscall.EADDRNOTAVAIL, ""},
		{"macaddr short", func(r *NewLink) { r.Data = &Data{Macaddr: []byte{2, 0}} }, syscall.EINVAL, ""},
		{"validation comes before the parent", func(r *NewLink) { r.Missing = true; r.Data = mode(3) }, syscall.EINVAL, ""},
		{"a taken name comes before the parent", func(r *NewLink) { r.Name = "old"; r.Missing = true }, syscall.EEXIST, ""},
		{"passthru beside another", func(r *NewLink) { r.Data = mode(classify.Passthru) }, syscall.EINVAL, ""},
		{"passthru beside another, through a vmac", func(r *NewLink) { r.Link = nil; r.Upper = 1; r.Data = mode(classify.Passthru) }, syscall.EINVAL, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.addr("old", "02:00:00:00:01:01", classify.Bridge)
			before := len(w.s.Port(1).Vmacs)
			a := w.add("new", c.r)
			w.want(a, c.errno)
			if a.Text != c.text {
				t.Errorf("text is %q, want %q", a.Text, c.text)
			}
			if a.OK() != (c.errno == 0) || !a.OK() && (len(w.s.Port(1).Vmacs) != before || len(w.s.Ports()) != 1) {
				t.Error("a refused request left something behind")
			}
		})
	}
}

// The reason why a kind isn't there says what is: macvtap has one of its own.
func TestKindHints(t *testing.T) {
	w := newWorld(t)
	for kind, want := range map[string]string{"macvtap": "macvtap is not emulated", "ipvlan": "only type macvlan is emulated, not \"ipvlan\""} {
		if a := w.add("a", func(r *NewLink) { r.Kind = kind }); !strings.Contains(a.Hint, want) {
			t.Errorf("%s: %q", kind, a.Hint)
		}
	}
}

// What data says is there from the start.
func TestNewLinkData(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("a", func(r *NewLink) {
		r.Data = source(MacaddrSet, "02:00:00:00:0e:01", "02:00:00:00:0e:02")
		r.Data.Mode, r.Data.Flags = ptr(uint32(classify.Source)), ptr(uint16(2))
	}), 0)
	w.wantActions(Action{Kind: SetCarrier, Vmac: w.named["a"], On: true})
	if v := w.s.Spec(1).Vmacs[0]; v.Mode != classify.Source || v.Flags != classify.NoDst || len(w.s.Spec(1).Sources) != 2 {
		t.Errorf("spec is %+v", w.s.Spec(1))
	}
}

// Row 186.
func TestPassthruIsAlone(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("pt", func(r *NewLink) { r.Data = mode(classify.Passthru); r.Address = hw("02:00:00:00:01:01") }), 0)
	if got := w.vmac("pt").MAC; got != w.parent[1].MAC {
		t.Errorf("passthru has address %v, not the parent's", got)
	}
	for _, m := range []classify.Mode{classify.Private, classify.Vepa, classify.Bridge, classify.Passthru, classify.Source} {
		w.want(w.add("x", func(r *NewLink) { r.Data = mode(m) }), syscall.EINVAL)
	}
	w.want(w.add("y", func(r *NewLink) { r.Link = nil; r.Upper = w.named["pt"] }), syscall.EINVAL)
}

// Row 187.
func TestVmacOnVmac(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("lower", nil), 0)
	w.want(w.add("upper", func(r *NewLink) { r.Link = nil; r.Upper = w.named["lower"] }), 0)
	if _, p := w.s.Vmac(w.named["upper"]); p.Parent.Name != "va" || len(p.Vmacs) != 2 {
		t.Errorf("upper stands on %s", p.Parent.Name)
	}
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("macvlan1", nil), 0)
	w.want(w.add("", func(r *NewLink) { r.Taken = func(n string) bool { return n == "macvlan0" } }), 0)
	w.vmac("macvlan2")
	w.want(w.add("x%dy", nil), 0)
	w.vmac("x0y")
	w.want(w.add("", func(r *NewLink) { r.Netns = netB }), 0)
	w.vmac("macvlan0")
}

// A name that another namespace has is free here.
func TestTemplateAndNamespaces(t *testing.T) {
	w := newWorld(t)
	for _, netns := range []uint64{netA - 1, netA - 1, netB, netB, netA, netA, netB} {
		w.want(w.add("", func(r *NewLink) { r.Netns = netns }), 0)
	}
	names := map[uint64]string{}
	for _, v := range w.s.Port(1).Vmacs {
		names[v.Netns] += v.Name + " "
	}
	for netns, want := range map[uint64]string{
		netA: "macvlan0 macvlan1 ", netB: "macvlan0 macvlan1 macvlan2 ", netA - 1: "macvlan0 macvlan1 ",
	} {
		if names[netns] != want {
			t.Errorf("in %d: %s, want %s", netns, names[netns], want)
		}
	}
}

// A template has as many names as the kernel tries: 32,768 (8 bits a byte of a
// page), or what fits in 15 characters.
func TestTemplateFull(t *testing.T) {
	for template, want := range map[string]int{"x%d": 32768, "abcdefghijklm%d": 100} {
		w := newWorld(t)
		asked := map[string]bool{}
		w.want(w.add(template, func(r *NewLink) {
			r.Taken = func(name string) bool {
				if name != template {
					asked[name] = true
				}
				return name != template
			}
		}), syscall.ENFILE)
		if len(asked) != want {
			t.Errorf("%s: %d names are tried, want %d", template, len(asked), want)
		}
		if len(w.s.Ports()) != 0 {
			t.Error("a port without a vmac is left")
		}
	}
}

// bclim is the port's, survives the vmac that set it, and goes with the last.
func TestBCLimAndQueue(t *testing.T) {
	w := newWorld(t)
	w.want(w.add("a", func(r *NewLink) { r.Data = &Data{BCLim: ptr(int32(-1)), BCQueueLen: ptr(uint32(5000))} }), 0)
	w.want(w.add("b", func(r *NewLink) { r.Data = &Data{BCQueueLen: ptr(uint32(3))} }), 0)
	if got := w.s.Spec(1).BCLim; got != -1 {
		t.Errorf("bclim is %d", got)
	}
	if got := w.s.Port(1).UsedBCQueueLen(); got != 5000 {
		t.Errorf("used queue length is %d", got)
	}
	w.do(DelLink{w.named["a"]})
	if got := w.s.Spec(1).BCLim; got != -1 {
		t.Errorf("bclim went with the vmac that set it: %d", got)
	}
	if got := w.s.Port(1).UsedBCQueueLen(); got != 3 {
		t.Errorf("used queue length is %d", got)
	}
	w.do(DelLink{w.named["b"]})
	w.want(w.add("c", nil), 0)
	if got := w.s.Spec(1).BCLim; got != 1 {
		t.Errorf("bclim of a new port is %d", got)
	}
}
