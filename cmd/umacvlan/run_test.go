package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseRun(t *testing.T) {
	for line, want := range map[string]string{
		"vmac0": `{"op":"add","name":"vmac0","parent":"va","kind":"macvlan","up":true}`,
		"vmac0 mode bridge vmac1 mode private address 2:0:0:0:0:1": `{"op":"add","name":"vmac0","parent":"va","kind":"macvlan","up":true,"data":{"mode":4}} ` +
			`{"op":"add","name":"vmac1","parent":"va","kind":"macvlan","address":"02:00:00:00:00:01","up":true,"data":{"mode":1}}`,
		"a bclim -1 mtu 1400 netns blue nodst b flag null": `{"op":"add","name":"a","parent":"va","kind":"macvlan","mtu":1400,"up":true,"to_netns":"/run/netns/blue","data":{"flags":2,"bclim":-1}} ` +
			`{"op":"add","name":"b","parent":"va","kind":"macvlan","up":true,"data":{"flags":0}}`,
		"a mode source macaddr set 2:0:0:0:0:1 2:0:0:0:0:2 b macaddr flush c macaddr add 2:0:0:0:0:1": `{"op":"add","name":"a","parent":"va","kind":"macvlan","up":true,"data":{"mode":16,"macaddr_mode":3,"macaddr_data":["02:00:00:00:00:01","02:00:00:00:00:02"]}} ` +
			`{"op":"add","name":"b","parent":"va","kind":"macvlan","up":true,"data":{"macaddr_mode":2}} ` +
			`{"op":"add","name":"c","parent":"va","kind":"macvlan","up":true,"data":{"macaddr_mode":0,"macaddr":"02:00:00:00:00:01"}}`,
	} {
		requests, err := parseRun("va", fields(line), testResolver)
		if err != nil {
			t.Errorf("run %s: %v", line, err)
			continue
		}
		var got []string
		for _, r := range requests {
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(b))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("run %s:\n%s, want\n%s", line, strings.Join(got, " "), want)
		}
	}
}

func TestRunErrors(t *testing.T) {
	for _, e := range []expect{
		{line: "run", code: 1, stderr: "umacvlan: run needs a parent; try: umacvlan run --parent eth0 vmac0 mode bridge"},
		{line: "run --parent lo", code: 1, stderr: "umacvlan: run needs a name for a device; try: umacvlan run --parent lo vmac0 mode bridge"},
		{line: "run --parent nosuchdevice v", code: 1, stderr: `Cannot find device "nosuchdevice"`},
		{line: "run --parent lo mode bridge", code: 255, stderr: `Error: "mode" stands where the name of a device belongs`},
		{line: "run --parent lo v mode bridge toolongforadevice", code: 255, stderr: `Error: "toolongforadevice" stands where the name of a device belongs`},
		{line: "run --parent lo v mode bridge --json", code: 255, stderr: `Error: "--json" stands where the name of a device belongs; options stand before the first name`},
		{line: "run --parent lo v mode", code: 255, stderr: `Command line is not complete. Try option "help"`},
		{line: "run --parent lo v macaddr", code: 255, stderr: `Command line is not complete. Try option "help"`},
		{line: "run --parent lo v mode x", code: 1, stderr: `Error: argument of "mode" must be "private", "vepa", "bridge", "passthru" or "source", not "x"`},
		{line: "daemon --log-level loud", code: 1, stderr: `umacvlan: --log-level "loud": not one of debug, info, warn, error`},
	} {
		stdout, stderr, code := runLine(t, "", e.line)
		if code != e.code || stdout != "" || strings.TrimSpace(stderr) != e.stderr {
			t.Errorf("umacvlan %s: %d %q %q, want %d %q", e.line, code, stdout, stderr, e.code, e.stderr)
		}
	}
}
