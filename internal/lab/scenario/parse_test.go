package scenario

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestFormatGolden has everything that the language can say, in a file that is
// nowhere as Format writes it.
func TestFormatGolden(t *testing.T) {
	src, err := os.ReadFile("testdata/everything.txt")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse("everything", src)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/everything.golden")
	if got := s.Format(); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v\n%s", err, got)
	}
	roundTrip(t, s)
}

// roundTrip wants the canonical form to be read as the same scenario, and to be
// written again as it is.
func roundTrip(t *testing.T, s *Scenario) {
	t.Helper()
	text := s.Format()
	again, err := Parse(s.File, text)
	if err != nil {
		t.Fatalf("canonical form: %v\n%s", err, text)
	}
	if second := again.Format(); !bytes.Equal(second, text) {
		t.Fatalf("written again:\n%s\nfirst:\n%s", second, text)
	}
	if a, b := bare(s), bare(again); !reflect.DeepEqual(a, b) {
		t.Fatalf("read again it is another scenario:\n%+v\n%+v\n%s", a, b, text)
	}
}

// bare is a scenario without what its text only looks like: notes and lines.
func bare(s *Scenario) Scenario {
	b := *s
	b.notes, b.end = nil, nil
	b.Names = append([]Name(nil), s.Names...)
	for i := range b.Names {
		b.Names[i].Note = Note{}
	}
	b.Vmacs = append([]Vmac(nil), s.Vmacs...)
	for i := range b.Vmacs {
		b.Vmacs[i].Note = Note{}
	}
	b.Steps = append([]Step(nil), s.Steps...)
	for i := range b.Steps {
		b.Steps[i].Line, b.Steps[i].Note, b.Steps[i].Expect.notes = 0, Note{}, nil
	}
	return b
}

// head makes a file in which the vmacs b1 and b2, and SUB, are known.
const head = "title x\nname SUB 01:00:5e:11:22:33\nvmac b1\nvmac b2\n"

func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"", `f:1: expected the statement title, with one sentence, got the end of the line`},
		{"# only this", "f:1: expected the statement title"},
		{"vmac b1", `f:1: expected the statement title, with one sentence, got "vmac"`},
		{"title", "f:1: expected a sentence, got the end of the line"},
		{"title x\ntitle y", `f:2: expected one statement title, not two, got "title"`},
		{"title \xff", "f:1: expected UTF-8 text"},
		{"title a\x00b", "f:1: expected text without control characters"},
		{"title x\nfrob", "f:2: expected one of title, profile, only"},
		{"title x\nprofile 2.6", `f:2: expected one of the profiles current, 5.4, 4.4, 3.10, got "2.6"`},
		{"title x\nprofile current now", `f:2: expected the end of the line, got "now"`},
		{"title x\nonly", "f:2: expected model, emulator or kernel"},
		{"title x\nonly paper", `f:2: expected model, emulator, kernel, or because, got "paper"`},
		{"title x\nonly model model", "f:2: expected each way once"},
		{"title x\nonly because", "f:2: expected model, emulator or kernel"},
		{"title x\nonly model because", "f:2: expected a reason"},
		{"title x\nrecorded Linux", `f:2: expected "on", and a kernel, got "Linux"`},
		{"title x\nrecorded on", "f:2: expected a kernel"},
		{"title x\nparent", "f:2: expected mtu, address or offloads"},
		{"title x\nparent up", `f:2: expected mtu, address or offloads, got "up"`},
		{"title x\nparent mtu 67", `f:2: expected an MTU, 68 to 65535, got "67"`},
		{"title x\nparent mtu many", "f:2: expected an MTU"},
		{"title x\nparent address 01:00:00:00:00:01", "f:2: expected six octets, no group"},
		{"title x\nparent offloads maybe", `f:2: expected on or off, got "maybe"`},
		{"title x\nname wire 02:00:00:00:00:01", "f:2: expected a name of 1 to 15 letters"},
		{"title x\nname gets 02:00:00:00:00:01", "f:2: expected a name of 1 to 15 letters"},
		{"title x\nname a 02:00", "f:2: expected six octets"},
		{head + "name SUB 02:00:00:00:00:01", "f:5: expected a name that no address has yet"},
		{head + "name b1 02:00:00:00:00:01", `expected an address with a name that no vmac has, got "b1"`},
		{head + "vmac b1", `f:5: expected a name that no vmac has yet, got "b1"`},
		{head + "vmac", "f:5: expected a vmac's name"},
		{head + "vmac a:b", "f:5: expected a vmac's name of 1 to 15"},
		{head + "vmac averyverylongname", "f:5: expected a vmac's name of 1 to 15"},
		{head + "vmac x frob", "f:5: expected mode, flag, bcqueuelen"},
		{head + "vmac x down down", "f:5: expected down once"},
		{head + "vmac x mode loud", "f:5: expected a mode: private, vepa"},
		{head + "vmac x mode", "f:5: expected a mode: private, vepa"},
		{head + "vmac x flag loud", "f:5: expected nodst, nopromisc, null, or a number"},
		{head + "vmac x flag nodst nodst", "f:5: expected flag once"},
		{head + "vmac x bcqueuelen -1", "f:5: expected a number of frames"},
		{head + "vmac x bclim 1.5", "f:5: expected a number, maybe negative"},
		{head + "vmac x list ext,", "f:5: expected addresses with commas"},
		{head + "vmac x list zz:1", "f:5: expected addresses with commas"},
		{head + "vmac x list none macaddr flush", "f:5: expected either list or macaddr, once"},
		{head + "vmac x macaddr sub", "f:5: expected add, del, flush, or a number"},
		{head + "vmac x macaddr 3", "f:5: expected add, del, flush, list, or a number above 3"},
		{head + "vmac x address later", "f:5: expected an address, or a name that has been given to one above"},
		{head + "vmac x broadcast 02:00", `f:5: expected six octets`},
		{head + "vmac x join nobodys", `f:5: expected an address, or the name of one, got "nobodys"`},
		{head + "vmac x on earth", "f:5: expected a vmac, none, missing, lo or busy"},
		{head + "vmac x netns wire", "f:5: expected a namespace's name"},
		{head + "vmac x mtu -5", "f:5: expected an MTU"},
		{head + "set b1 up\nvmac x", "f:6: expected vmac before the first action, or add"},
		{head + "set b1 up\nparent mtu 1400", "f:6: expected parent before the first action, or set parent"},
		{head + "set b1 up\nname y 02:00:00:00:00:01", "f:6: expected name before the first action"},
		{head + "set b9 up", `f:5: expected parent, or a vmac that has been made above, got "b9"`},
		{head + "set b1", "f:5: expected mode, flag, bcqueuelen, bclim, list or macaddr, up, down"},
		{head + "set b1 loud", "f:5: expected mode, flag"},
		{head + "set b1 mode private up", `f:5: expected mode, flag, bcqueuelen, bclim, list or macaddr; the rest takes a set of its own, got "up"`},
		{head + "set b1 mode private mode vepa", "f:5: expected each of mode"},
		{head + "set b1 up down", "f:5: expected the end of the line"},
		{head + "set parent mode private", "f:5: expected up, down, address, mtu"},
		{head + "set parent or", "f:5: expected up, down, address, mtu"},
		{head + "set b1 ingress drop", "f:5: expected mode, flag"},
		{head + "set parent ingress nobodys", "f:5: expected an address, or the name of one"},
		{head + "set parent egress ext", "f:5: expected pass or drop"},
		{head + "set b1 promisc yes", "f:5: expected on or off"},
		{head + "delete netns parent", "f:5: expected another namespace than the parent's"},
		{head + "join parent SUB", "f:5: expected a vmac that has been made above"},
		{head + "join b1", "f:5: expected groups with commas"},
		{head + "show wire", "f:5: expected parent, or a vmac"},
		{head + "send b1 ext > b1", `f:5: expected wire:, host: or a vmac with a colon, got "b1"`},
		{head + "send b9: ext > b1", "f:5: expected wire:, host: or a vmac"},
		{head + "send wire:", "f:5: expected a source address, bytes or pcap"},
		{head + "send wire: ext b1", `f:5: expected ">", got "b1"`},
		{head + "send wire: ext >", "f:5: expected a destination address"},
		{head + "send wire: ext > nobodys", `f:5: expected an address, or the name of one, got "nobodys"`},
		{head + "send wire: ext > 02:00", `f:5: expected six octets, got 2`},
		{head + "send wire: ext > b1 loud", `f:5: expected len, type, vlan, svlan, tag, payload, times, or a frame's name, got "loud"`},
		{head + "send wire: ext > b1 len 0", "f:5: expected a length of 1 to 65535"},
		{head + "send wire: ext > b1 len 60 len 60", "f:5: expected len once"},
		{head + "send wire: ext > b1 type 0x10000", "f:5: expected an ethertype"},
		{head + "send wire: ext > b1 vlan 4096", "f:5: expected a VLAN id"},
		{head + "send wire: ext > b1 vlan 1 pcp 8", "f:5: expected a priority"},
		{head + "send wire: ext > b1 tag 8100", "f:5: expected a tag's TPID and TCI"},
		{head + "send wire: ext > b1 payload 0", "f:5: expected bytes in hexadecimal"},
		{head + "send wire: ext > b1 times 0", "f:5: expected a number of 1 to 1000000"},
		{head + "send wire: ext > b1 times 1000001", "f:5: expected a number of 1 to 1000000"},
		{head + "send wire: ext > b1\n  b1 gets host times 1000001", "f:6: expected how often"},
		{head + "send wire: bytes zz", "f:5: expected bytes in hexadecimal"},
		{head + "send wire: bytes 00 len 3", "f:5: expected times"},
		{head + "send wire: pcap a.pcap", "f:5: expected a capture file, a colon, and the number"},
		{head + "send wire: pcap a.pcap:0", "f:5: expected a capture file, a colon, and the number"},
		{head + "send wire: ext > b1 arp hello", `f:5: expected a frame: the form "arp request|reply|gratuitous|probe IP [from IP | to IP]"`},
		{head + "send wire: ext > b1 arp request fe80::1", "f:5: expected a frame: the form"},
		{head + "send wire: ext > b1 udp 10.0.0.1:1 [fe80::1]:1", "f:5: expected a frame: the form"},
		{head + "send wire: ext > b1 arp request 10.0.0.1 payload 00", "f:5: expected a frame: arp carries no payload"},
		{head + "send wire: ext > b1 stp len 20", "f:5: expected a frame: stp has 52 octets, more than len 20"},
		{head + "send wire: ext > b1 stp type 5", "f:5: expected a named frame without type"},
		{head + "send wire: ext > b1 stp arp", "f:5: expected a frame: the form"},
		{head + "  nobody", "f:5: expected an action before what follows from it"},
		{head + "send wire: ext > b1\n  b1", "f:6: expected get, gets, counts, shows, or another name"},
		{head + "send wire: ext > b1\n  b9 gets host", "f:6: expected a vmac that has been made above, wire, stack, tap or parent; or nobody"},
		{head + "send wire: ext > b1\n  b1 b1 get host", "f:6: expected each name once"},
		{head + "send wire: ext > b1\n  b1 sees host", `f:6: expected get, gets, counts, shows, or another name, got "sees"`},
		{head + "send wire: ext > b1\n  gets host", "f:6: expected vmacs, wire, stack or tap before gets"},
		{head + "send wire: ext > b1\n  parent gets host", "f:6: expected vmacs, wire, stack or tap before gets"},
		{head + "send wire: ext > b1\n  b1 gets it", `f:6: expected host, broadcast, multicast, other or out, got "it"`},
		{head + "send wire: ext > b1\n  b1 gets host loud", "f:6: expected stack-type, len, bytes or times"},
		{head + "send wire: ext > b1\n  b1 gets host len 5 len 6", "f:6: expected len once"},
		{head + "send wire: ext > b1\n  b1 gets host bytes 00 len 6", "f:6: expected a length of 1 to 65557, and no bytes"},
		{head + "send wire: ext > b1\n  b1 gets host len 6 bytes 00", "f:6: expected no bytes beside len"},
		{head + "send wire: ext > b1\n  b1 gets host times 3..2", "f:6: expected how often"},
		{head + "send wire: ext > b1\n  b1 gets host times 0", "f:6: expected how often"},
		{head + "send wire: ext > b1\n  nobody\n  nobody", "f:7: expected one such line below an action"},
		{head + "send wire: ext > b1\n  nobody\n  b1 gets host", "f:7: expected nothing that anybody gets below nobody"},
		{head + "send wire: ext > b1\n  b1 gets host\n  nobody", "f:7: expected nobody below a send only"},
		{head + "send wire: ext > b1\n  in time", "f:6: expected order"},
		{head + "send wire: ext > b1\n  answers", "f:6: expected ok, or an errno"},
		{head + "send wire: ext > b1\n  answers busy", "f:6: expected ok, or an errno"},
		{head + "send wire: ext > b1\n  answers EBUSY because", "f:6: expected a text in double quotes"},
		{head + "send wire: ext > b1\n  answers EBUSY \"because", "f:6: expected text that ends with a double quote"},
		{head + "send wire: ext > b1\n  answers EBUSY \"\"", "f:6: expected a text in double quotes"},
		{head + "send wire: ext > b1\n  answers ok\n  answers ok", "f:7: expected one such line"},
		{head + "send wire: ext > b1\n  b1 shows mode vepa", "f:6: expected shows below show only"},
		{head + "send wire: ext > b1\n  b1 counts", "f:6: expected rx P/B, multicast N"},
		{head + "send wire: ext > b1\n  b1 counts rx 5", "f:6: expected packets/bytes"},
		{head + "send wire: ext > b1\n  b1 counts rx 1/2 rx 1/2", "f:6: expected rx P/B"},
		{head + "send wire: ext > b1\n  wire counts rx 1/2", "f:6: expected vmacs or parent before counts"},
		{head + "send wire: ext > b1\n  b1 counts nothing\n  b1 counts nothing", "f:7: expected one line that says what b1 counts"},
		{head + "set b1 up\n  b1 gets host", "f:6: expected what an action gives: answers or shows"},
		{head + "set b1 up\n  nobody", "f:6: expected nobody below a send only"},
		{head + "set b1 up\n  b1 shows mode vepa", "f:6: expected shows below show only"},
		{head + "show b1\n  b1 b2 shows mode vepa", "f:6: expected one vmac, or parent, before shows"},
		{head + "show b1\n  b1 shows", "f:6: expected one of exists, mode"},
		{head + "show b1\n  b1 shows colour", "f:6: expected one of exists, mode"},
		{head + "show b1\n  b1 shows mode", "f:6: expected a value of mode"},
		{head + "show b1\n  b1 shows mode vepa mode vepa", "f:6: expected one of exists"},
		{head + "show b1\n  b1 shows list a,,b", "f:6: expected a value of list"},
	} {
		s, err := Parse("f", []byte(c.src))
		var e *SyntaxError
		if s != nil || !errors.As(err, &e) {
			t.Errorf("%q: %v, want an error: %s", c.src, err, c.want)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n   %v\nwant %s", c.src, err, c.want)
		}
		if e.File != "f" || e.Line < 1 || e.Got == "" || e.Want == "" {
			t.Errorf("%q: %+v", c.src, e)
		}
	}
}

// FuzzParse wants no panic, and Format∘Parse to be a fixed point.
func FuzzParse(f *testing.F) {
	src, err := os.ReadFile("testdata/everything.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src)
	f.Add([]byte(head + "send wire: ext > b1 frag 10.0.0.1 224.1.1.1 7 8 more 16\n  b1 gets host # x\n  b2 gets host\nset b1 list ext,b2\n"))
	f.Add([]byte(head + "# x\nprofile current\n\n# y\nparent mtu 1500\nsend b1: b1 > broadcast nd ns fe80::2 from fe80::1 vlan 0x5\n  answers ok\n\n# z"))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Parse("f", src)
		if err != nil {
			var e *SyntaxError
			if !errors.As(err, &e) || e.Got == "" || e.Want == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		roundTrip(t, s)
	})
}
