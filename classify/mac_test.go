package classify

import (
	"encoding/json"
	"fmt"
	"net"
	"testing"
)

func TestParseMAC(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string // empty: refused
	}{
		{"02:00:00:00:0e:01", "02:00:00:00:0e:01"},
		{"2:0:0:0:E:1", "02:00:00:00:0e:01"},
		{"FF:ff:Ff:fF:ff:FF", "ff:ff:ff:ff:ff:ff"},
		{"a0:A9:0a:fA:Af:90", "a0:a9:0a:fa:af:90"},
		{"00-00-5e-00-01-01", "00:00:5e:00:01:01"},
		{"0200.0000.0e01", "02:00:00:00:0e:01"},
		{in: ""}, {in: "02"}, {in: "02:00:00:00:0e"}, {in: "02:00:00:00:0e:01:02"}, {in: "02:00:00:00:0e:"},
		{in: "02:00:00:00:0e:001"}, {in: "02:00:00:00:0e:0g"}, {in: "2-0-0-0-e-1"}, {in: "200.0.e01"},
		{in: "02:00:00-00:0e:01"}, {in: " 02:00:00:00:0e:01"}, {in: "02:00:00:00:00:00:0e:01"}, {in: "+2:0:0:0:0:1"},
		{in: "127.0.0.1"}, {in: "020000000e01"},
	} {
		m, err := ParseMAC(c.in)
		if (err == nil) != (c.want != "") || err == nil && m.String() != c.want || err != nil && m != 0 {
			t.Errorf("ParseMAC(%q) = %v, %v, want %q", c.in, m, err, c.want)
		}
	}
}

func TestMAC(t *testing.T) {
	m := named("02:01:5e:7f:0e:fd")
	b := m.Bytes()
	if want := (net.HardwareAddr{2, 1, 0x5e, 0x7f, 0xe, 0xfd}); net.HardwareAddr(b[:]).String() != want.String() || m.String() != want.String() {
		t.Errorf("Bytes %x, String %v, want %v", b, m, want)
	}
	put := make([]byte, 8)
	m.Put(put)
	if MACFrom(put) != m || put[6] != 0 {
		t.Errorf("Put wrote %x", put)
	}
	if Broadcast.String() != "ff:ff:ff:ff:ff:ff" || !Broadcast.IsGroup() || Broadcast.IsValid() {
		t.Error("Broadcast is not the broadcast address")
	}
	for _, c := range []struct {
		mac                MAC
		group, zero, valid bool
	}{{0, false, true, false}, {m, false, false, true}, {m | 1, true, false, false}, {m | 1<<48, false, false, false}} {
		if c.mac.IsGroup() != c.group || c.mac.IsZero() != c.zero || c.mac.IsValid() != c.valid {
			t.Errorf("%#x: group %v zero %v valid %v", uint64(c.mac), c.mac.IsGroup(), c.mac.IsZero(), c.mac.IsValid())
		}
	}
}

func TestText(t *testing.T) {
	type all struct {
		MAC   MAC
		Mode  Mode
		Flags Flags
		Keys  map[MAC]int
	}
	in := all{named("ext"), Passthru, NoPromisc | NoDst, map[MAC]int{named("virt"): 1}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"MAC":"02:00:00:00:0e:01","Mode":"passthru","Flags":"nopromisc nodst","Keys":{"00:00:5e:00:01:01":1}}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var out all
	if err := json.Unmarshal(b, &out); err != nil || out.MAC != in.MAC || out.Mode != in.Mode || out.Flags != in.Flags || out.Keys[named("virt")] != 1 {
		t.Errorf("read back %+v, %v", out, err)
	}
	for _, bad := range []string{`{"MAC":"x"}`, `{"Mode":"macvtap"}`, `{"Flags":"nodst,nopromisc"}`} {
		if err := json.Unmarshal([]byte(bad), &out); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if out.MAC != in.MAC || out.Mode != in.Mode || out.Flags != in.Flags {
		t.Error("a refused text has changed the value")
	}
	if m, err := ParseMode("macvtap"); m != 0 || err == nil {
		t.Errorf("mode macvtap: %v, %v", m, err)
	}
	if f, err := ParseFlags("nodst x"); f != 0 || err == nil {
		t.Errorf("flags nodst x: %v, %v", f, err)
	}
	if f, err := ParseFlags("null"); f != 0 || err != nil {
		t.Errorf("flags null: %v, %v", f, err)
	}
	for _, m := range []Mode{0, 3, 32, 128} {
		if m.IsValid() {
			t.Errorf("mode %d is valid", m)
		}
	}
	for _, c := range []struct {
		v    fmt.Stringer
		want string
	}{
		{Mode(3), "mode(3)"},
		{Flags(0), ""}, {NoPromisc, "nopromisc"}, {NoDst, "nodst"}, {Flags(9), "nopromisc flags(0x8)"},
		{TypeLoopback, "loopback"}, {PacketType(6), "type(6)"},
		{Echo, "echo"}, {Path(5), "path(5)"},
		{ClassDelivered, "delivered"}, {ClassDropped, "dropped"}, {Class(5), "class(5)"},
	} {
		if got := c.v.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
