package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// testResolver knows a parent va and a vmac mv0, and a namespace blue.
var testResolver = resolver{
	device: func(name string) bool { return name == "va" || name == "mv0" },
	netns: func(s string) (string, bool) {
		if s == "blue" {
			return "/run/netns/blue", true
		}
		return "", false
	},
}

// localErrors are command lines that ip refuses before it asks the kernel. The
// same table is put to ip itself by TestLocalErrorsAreThoseOfIP.
var localErrors = []struct {
	line string // words between blanks; "" is the empty word
	code int
	text string // what stands on stderr in front of a usage
	ours bool   // ip 6.1 doesn't know this, or says nothing
}{
	{line: "foo", code: 255, text: `Command "foo" is unknown, try "umacvlan link help".`},
	{line: "help", code: 255},
	{line: "help foo", code: 255},
	{line: "add", code: 1, text: `Not enough information: "type" argument is required`},
	{line: "add help", code: 255},
	{line: "add link", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "add name", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "add type", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "add dev", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "add link nope name x type macvlan", code: 1, text: `Cannot find device "nope"`},
	{line: `add link "" name x type macvlan`, code: 1, text: `Cannot find device ""`},
	{line: "add link nope name x type macvlan mode bogus", code: 1, text: `Cannot find device "nope"`},
	{line: "add link va name x", code: 1, text: `Not enough information: "type" argument is required`},
	{line: "add link va name sixteencharacter type macvlan", code: 255, text: `Error: argument "sixteencharacter" is wrong: "name" not a valid ifname`},
	{line: "add link va name a/b type macvlan", code: 255, text: `Error: argument "a/b" is wrong: "name" not a valid ifname`},
	{line: `add link va name "" type macvlan`, code: 255, text: `Error: argument "" is wrong: "name" not a valid ifname`},
	{line: `add link va "" type macvlan`, code: 255, text: `Error: argument "" is wrong: "dev" not a valid ifname`},
	{line: "add link va " + strings.Repeat("n", 128) + " type macvlan", code: 255, text: `Error: argument "` + strings.Repeat("n", 128) + `" is wrong: "dev" not a valid ifname`, ours: true},
	{line: "add link va x y type macvlan", code: 255, text: `Error: either "dev" is duplicate, or "y" is a garbage.`},
	{line: "add link va name x dev y type macvlan", code: 255, text: `both "name" and "dev" cannot be used when creating devices.`},
	{line: "add link va name x name y type macvlan", code: 255, text: `Error: duplicate "name": "y" is the second value.`},
	{line: "add link va name x mtu 1x type macvlan", code: 255, text: `Error: argument "1x" is wrong: Invalid "mtu" value`},
	{line: "add link va name x mtu 2147483648 type macvlan", code: 255, text: `Error: argument "2147483648" is wrong: Invalid "mtu" value`},
	{line: "add link va name x mtu 08 type macvlan", code: 255, text: `Error: argument "08" is wrong: Invalid "mtu" value`},
	{line: `add link va name x mtu "" type macvlan`, code: 255, text: `Error: argument "" is wrong: Invalid "mtu" value`},
	{line: "add link va name x mtu 1 mtu 2 type macvlan", code: 255, text: `Error: duplicate "mtu": "2" is the second value.`},
	{line: "add link va name x txq -5x type macvlan", code: 255, text: `Error: argument "-5x" is wrong: Invalid "txqueuelen" value`},
	{line: "add link va name x qlen 5 txqueuelen 6 type macvlan", code: 255, text: `Error: duplicate "txqueuelen": "6" is the second value.`},
	{line: "add link va name x address zz type macvlan", code: 1, text: `"zz" is invalid lladdr.`},
	{line: "add link va name x address 02:00:100:00:00:00 type macvlan", code: 1, text: `"100" is invalid lladdr.`},
	{line: "add link va name x address 02::00:00:00:00 type macvlan", code: 1, text: `"" is invalid lladdr.`},
	{line: "add link va name x address 1.2.3.x type macvlan", code: 1, text: `"1.2.3.x" is invalid lladdr.`},
	{line: "add link va name x address -1:00:00:00:00:00 type macvlan", code: 1, text: `"-1" is invalid lladdr.`},
	{line: "add link va name x netns nonsuch type macvlan", code: 255, text: `Error: argument "nonsuch" is wrong: Invalid "netns" value`},
	{line: "add link va name x promisc maybe type macvlan", code: 1, text: `Error: argument of "promisc" must be "on" or "off", not "maybe"`},
	{line: "add link va name x alias " + strings.Repeat("a", 256) + " type macvlan", code: 255, text: `Error: argument "` + strings.Repeat("a", 256) + `" is wrong: alias too long`},
	{line: "add link va name x type macvlan mode", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "add link va name x type macvlan mode bogus", code: 1, text: `Error: argument of "mode" must be "private", "vepa", "bridge", "passthru" or "source", not "bogus"`},
	{line: "add link va name x type macvlan mode br", code: 1, text: `Error: argument of "mode" must be "private", "vepa", "bridge", "passthru" or "source", not "br"`},
	{line: "add link va name x type macvlan foo", code: 1, text: `macvlan: unknown option "foo"?`},
	{line: "add link va name x type macvtap foo", code: 1, text: `macvtap: unknown option "foo"?`},
	{line: "add link va name x type macvlan modes", code: 1, text: `macvlan: unknown option "modes"?`},
	{line: "add link va name x type macvlan bcl 1", code: 1, text: `macvlan: unknown option "bcl"?`},
	{line: "add link va name x type macvlan help", code: 1},
	{line: "add link va name x type macvlan nopromisc", code: 1, text: "macvlan: nopromisc flag only valid in passthru mode"},
	{line: "add link va name x type macvlan flag nopromisc", code: 1, text: "macvlan: nopromisc flag only valid in passthru mode"},
	{line: "add link va name x type macvlan mode bridge nopromisc flag null", code: 1, text: "macvlan: nopromisc flag only valid in passthru mode"},
	{line: "add link va name x type macvlan mode passthru mode bridge nop", code: 1, text: "macvlan: nopromisc flag only valid in passthru mode"},
	{line: "set mv0 type macvlan nopromisc", code: 1, text: "macvlan: nopromisc flag only valid in passthru mode"},
	{line: "add link va name x type macvlan flag foo", code: 1, text: `Error: argument of "flag" must be "nopromisc", "nodst" or "null", not "foo"`},
	{line: "add link va name x type macvlan bcqueuelen -1", code: 1, text: `Error: argument of "bcqueuelen" must be a positive integer [0-4294967295], not "-1"`},
	{line: "add link va name x type macvlan bcq 4294967296", code: 1, text: `Error: argument of "bcqueuelen" must be a positive integer [0-4294967295], not "4294967296"`},
	{line: "add link va name x type macvlan b x", code: 1, text: `Error: argument of "bcqueuelen" must be a positive integer [0-4294967295], not "x"`},
	{line: "add link va name x type macvlan bclim x", code: 1, text: `Error: illegal value for "bclim": "x"`, ours: true},
	{line: "add link va name x type macvlan bclim 2147483648", code: 1, text: `Error: illegal value for "bclim": "2147483648"`, ours: true},
	{line: "add link va name x type macvlan macaddr", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "add link va name x type macvlan macaddr foo", code: 1},
	{line: "add link va name x type macvlan macaddr ad 02:00:00:00:00:01", code: 1},
	{line: "add link va name x type macvlan macaddr add", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "add link va name x type macvlan macaddr add zz", code: 1, text: `"zz" is invalid lladdr.`},
	{line: "add link va name x type macvlan macaddr add 02:00", code: 1, text: `umacvlan: "02:00" is not a MAC address of six octets`, ours: true},
	{line: "add link va name x type macvlan mode source macaddr set 02:00", code: 1, text: `macvlan: unknown option "02"?`},
	{line: "add link va name x type macvlan mode source macaddr set q", code: 1, text: "\"q\" is invalid lladdr.\nmacvlan: unknown option \"q\"?"},
	{line: "add link va name x type macvlan mode source macaddr set 02:00:00:00:00:01 mode vepa foo", code: 1, text: "\"mode\" is invalid lladdr.\nmacvlan: unknown option \"foo\"?"},
	{line: "set nope up", code: 1, text: `Cannot find device "nope"`},
	{line: "set up", code: 255, text: `Not enough information: "dev" argument is required.`},
	{line: "change", code: 255, text: `Not enough information: "dev" argument is required.`},
	{line: "set dev nope name y", code: 1, text: `Cannot find device "nope"`},
	{line: "set name y", code: 1, text: `Cannot find device "y"`},
	{line: "set mv0 va", code: 255, text: `Error: either "dev" is duplicate, or "va" is a garbage.`},
	{line: "set mv0 address 02:00", code: 1, text: "Invalid address length 2 - must be 6 bytes"},
	{line: "set nope address 02:00", code: 1, text: `Cannot find device "nope"`},
	{line: "set mv0 allmulticast yes", code: 1, text: `Error: argument of "allmulticast" must be "on" or "off", not "yes"`},
	{line: "set mv0 alias", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "set mv0 name a/b", code: 255, text: `Error: argument "a/b" is wrong: "name" not a valid ifname`},
	{line: "set mv0 type macvlan mode", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "set mv0 netns nonsuch", code: 255, text: `Error: argument "nonsuch" is wrong: Invalid "netns" value`},
	{line: "del", code: 255, text: `Not enough information: "dev" argument is required.`},
	{line: "del nope", code: 1, text: `Cannot find device "nope"`},
	{line: "d nope", code: 1, text: `Cannot find device "nope"`},
	{line: "replace link va name x", code: 1, text: `Not enough information: "type" argument is required`},
	{line: "show nope", code: 1, text: `Device "nope" does not exist.`},
	{line: "sh dev nope", code: 1, text: `Device "nope" does not exist.`},
	{line: "show dev", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "list type", code: 255, text: `Command line is not complete. Try option "help"`},
	{line: "lst va mv0", code: 255, text: `Error: either "dev" is duplicate, or "mv0" is a garbage.`},
	{line: "show help", code: 255},
	{line: "show master va", code: 1, text: `umacvlan: link show cannot select by "master"; try: ip link show master ...`, ours: true},
	{line: "set mv0 master va", code: 1, text: `umacvlan: "master" is nothing that umacvlan sets; once the device exists try: ip link set dev NAME master ...`, ours: true},
	{line: "add link va name x index 7 type macvlan", code: 1, text: `umacvlan: "index" is nothing that umacvlan can choose`, ours: true},
	{line: "add link va name x link-netns blue type macvlan", code: 1, text: `umacvlan: "link-netns" is not needed: name the parent's namespace with -n, and the device's own with netns`, ours: true},
	{line: "add link va name x mode bridge type macvlan", code: 1, text: `umacvlan: "mode" belongs behind the type: type macvlan mode MODE`, ours: true},
}

// fields splits a test's command line; "" stands for an empty word.
func fields(line string) []string {
	list := strings.Fields(line)
	for i := range list {
		if list[i] == `""` {
			list[i] = ""
		}
	}
	return list
}

// aboveUsage is what stands in front of the usage text.
func aboveUsage(s string) string {
	s, _, _ = strings.Cut(s, "Usage:")
	return strings.TrimSpace(s)
}

func TestLocalErrors(t *testing.T) {
	for _, tt := range localErrors {
		_, err := parseLink(fields(tt.line), testResolver)
		var f *failure
		if !errors.As(err, &f) {
			t.Errorf("link %s: %v, want a failure", tt.line, err)
			continue
		}
		if f.code != tt.code || aboveUsage(f.Error()) != tt.text {
			t.Errorf("link %s:\n%d %q, want\n%d %q", tt.line, f.code, aboveUsage(f.Error()), tt.code, tt.text)
		}
		if wantUsage := tt.text == "" || strings.HasPrefix(tt.text, "macv"); wantUsage && !strings.Contains(f.Error(), "Usage:") {
			t.Errorf("link %s: no usage", tt.line)
		}
	}
}

func TestRequests(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"add link va name x type macvlan", `{"op":"add","name":"x","parent":"va","kind":"macvlan"}`},
		{"a l va x type macvlan", `{"op":"add","name":"x","parent":"va","kind":"macvlan"}`},
		{"add link va type macvlan", `{"op":"add","parent":"va","kind":"macvlan"}`},
		{"add type macvlan", `{"op":"add","kind":"macvlan"}`},
		{"add x link va ty macvlan m bridge", `{"op":"add","name":"x","parent":"va","kind":"macvlan","data":{"mode":4}}`},
		{"add dev x link va type macvlan mode private", `{"op":"add","name":"x","parent":"va","kind":"macvlan","data":{"mode":1}}`},
		{"add name x dev x link va type macvlan mode vepa", `{"op":"add","name":"x","parent":"va","kind":"macvlan","data":{"mode":2}}`},
		{"replace link va name x type macvlan mode passthru nopromisc", `{"op":"replace","name":"x","parent":"va","kind":"macvlan","data":{"mode":8,"flags":1}}`},
		{"add link va name x type macvlan nopromisc mode passthru", `{"op":"add","name":"x","parent":"va","kind":"macvlan","data":{"mode":8,"flags":1}}`},
		{"add link va name x type macvlan mode source nodst", `{"op":"add","name":"x","parent":"va","kind":"macvlan","data":{"mode":16,"flags":2}}`},
		{"add link va name x type macvlan mode passthru flag nopromisc flag nodst", `{"op":"add","name":"x","parent":"va","kind":"macvlan","data":{"mode":8,"flags":3}}`},
		{"set mv0 type macvlan flag null", `{"op":"set","name":"mv0","kind":"macvlan","data":{"flags":0}}`},
		{"set mv0 type macvlan nod", `{"op":"set","name":"mv0","kind":"macvlan","data":{"flags":2}}`},
		{"set mv0 type macvlan macaddr add 2:0:0:0:0:A", `{"op":"set","name":"mv0","kind":"macvlan","data":{"macaddr_mode":0,"macaddr":"02:00:00:00:00:0a"}}`},
		{"set mv0 type macvlan maca del 02:00:00:00:00:0a", `{"op":"set","name":"mv0","kind":"macvlan","data":{"macaddr_mode":1,"macaddr":"02:00:00:00:00:0a"}}`},
		{"set mv0 type macvlan macaddr flush", `{"op":"set","name":"mv0","kind":"macvlan","data":{"macaddr_mode":2}}`},
		{"set mv0 type macvlan macaddr set", `{"op":"set","name":"mv0","kind":"macvlan","data":{"macaddr_mode":3}}`},
		{"set mv0 type macvlan macaddr set 02:00:00:00:00:01 02:00:00:00:00:02 mode source", `{"op":"set","name":"mv0","kind":"macvlan","data":{"mode":16,"macaddr_mode":3,"macaddr_data":["02:00:00:00:00:01","02:00:00:00:00:02"]}}`},
		{"set mv0 type macvlan macaddr set 02:00:00:00:00:01 bclim 5", `{"op":"set","name":"mv0","kind":"macvlan","data":{"bclim":5,"macaddr_mode":3,"macaddr_data":["02:00:00:00:00:01"]}}`},
		{"add link va name x type macvlan bcqueuelen 0x10 bclim -1", `{"op":"add","name":"x","parent":"va","kind":"macvlan","data":{"bcqueuelen":16,"bclim":-1}}`},
		{"add link va name x type macvlan bcqueuelen 4294967295 bclim -2147483648", `{"op":"add","name":"x","parent":"va","kind":"macvlan","data":{"bcqueuelen":4294967295,"bclim":-2147483648}}`},
		{"add link va name x address 02:0:0:0:1:1 mtu 1400 txqueuelen 7 up type macvlan", `{"op":"add","name":"x","parent":"va","kind":"macvlan","address":"02:00:00:00:01:01","mtu":1400,"txqlen":7,"up":true}`},
		{"add link va name x address 02:00 type macvlan", `{"op":"add","name":"x","parent":"va","kind":"macvlan","address":"02:00"}`},
		{"add link va name x address 10.1 type macvlan", `{"op":"add","name":"x","parent":"va","kind":"macvlan","address":"0a:01:00:00"}`},
		{"add link va name x mtu -1 type macvlan", `{"op":"add","name":"x","parent":"va","kind":"macvlan","mtu":4294967295}`},
		{"add link va name x netns blue type macvlan", `{"op":"add","name":"x","parent":"va","kind":"macvlan","to_netns":"/run/netns/blue"}`},
		{"set mv0 up", `{"op":"set","name":"mv0","up":true}`},
		{"change dev mv0 up down", `{"op":"set","name":"mv0","up":false}`},
		{"set dev mv0 name va", `{"op":"set","name":"mv0","new_name":"va"}`},
		{"set name new dev mv0", `{"op":"set","name":"mv0","new_name":"new"}`},
		{"set mv0 name mv0", `{"op":"set","name":"mv0"}`},
		{"set mv0 promisc on allmulticast off", `{"op":"set","name":"mv0","promisc":true,"allmulticast":false}`},
		{"set mv0 al hello", `{"op":"set","name":"mv0","alias":"hello"}`},
		{`set mv0 alias ""`, `{"op":"set","name":"mv0","alias":""}`},
		{"set mv0 netns blue", `{"op":"set","name":"mv0","to_netns":"/run/netns/blue"}`},
		{"set mv0 link va", `{"op":"set","name":"mv0"}`},
		{"del mv0", `{"op":"delete","name":"mv0"}`},
		{"delete dev mv0 type macvlan", `{"op":"delete","name":"mv0","kind":"macvlan"}`},
	} {
		cmd, err := parseLink(fields(tt.line), testResolver)
		if err != nil || cmd.request == nil {
			t.Errorf("link %s: %v", tt.line, err)
			continue
		}
		got, err := json.Marshal(cmd.request)
		if err != nil || string(got) != tt.want {
			t.Errorf("link %s:\n%s, want\n%s", tt.line, got, tt.want)
		}
	}
}

func TestShowFilters(t *testing.T) {
	for line, want := range map[string]showFilter{
		"":                  {},
		"show":              {},
		"sh up":             {up: true},
		"l mv0":             {dev: "mv0"},
		"lst dev mv0 up":    {dev: "mv0", up: true},
		"list type macvlan": {kind: "macvlan"},
		"lst down":          {down: true},
	} {
		cmd, err := parseLink(fields(line), testResolver)
		if err != nil || cmd.show == nil || *cmd.show != want {
			t.Errorf("link %s: %+v, %v, want %+v", line, cmd.show, err, want)
		}
	}
}

// FuzzParseLink: any command line is a request, a listing, a help text, or an
// error with a code of ip's; and it is left as it was.
func FuzzParseLink(f *testing.F) {
	for _, tt := range localErrors {
		f.Add(strings.Join(fields(tt.line), "\x00"))
	}
	f.Add(strings.ReplaceAll("set mv0 type macvlan macaddr set 02:00:00:00:00:01 bclim 5", " ", "\x00"))
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		before := slices.Clone(args)
		cmd, err := parseLink(args, testResolver)
		if !slices.Equal(args, before) {
			t.Fatalf("%q was changed to %q", before, args)
		}
		if err != nil {
			var f *failure
			if !errors.As(err, &f) || f.code != exitUsage && f.code != exitMalformed || len(f.lines) == 0 {
				t.Fatalf("%q: %v", args, err)
			}
			return
		}
		n := 0
		for _, set := range []bool{cmd.request != nil, cmd.show != nil, cmd.help != ""} {
			if set {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%q: %+v", args, cmd)
		}
		if r := cmd.request; r != nil && r.Op != "add" && r.Op != "replace" && r.Name == "" {
			t.Fatalf("%q: a request about no device", args)
		}
	})
}
