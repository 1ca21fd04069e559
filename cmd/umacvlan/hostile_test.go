package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// FuzzCapture: any file is a capture that is read, or refused.
func FuzzCapture(f *testing.F) {
	header := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0}
	record := append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 14, 0, 0, 0, 60, 0, 0, 0}, make([]byte, 14)...)
	f.Add(append(header, record...), 1)
	f.Add([]byte{0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0}, 2)
	f.Fuzz(func(t *testing.T, file []byte, n int) {
		octets, whole, err := readRecord(bytes.NewReader(file), n%100)
		if err == nil && (len(octets) == 0 || len(octets) > len(file) || whole > maxFrame) {
			t.Errorf("%d of %d octets, of a file of %d", len(octets), whole, len(file))
		}
	})
}

// FuzzHex: octets are read or refused, and mean the same written plainly.
func FuzzHex(f *testing.F) {
	for _, s := range []string{"ff ff", "0x01:2-3", "f", "fff", "zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		octets, err := parseHex(s)
		if err == nil && (len(octets) == 0 || len(octets) > len(s)) {
			t.Errorf("%q is %d octets", s, len(octets))
		}
	})
}

// FuzzParseOthers: the words of fdb and of run are read or refused as link's are.
func FuzzParseOthers(f *testing.F) {
	for _, s := range []string{"02:00:00:00:00:01 dev mv0 self", "dev mv0 01:00:5e:00:00:01 vlan 7 master", "vmac0 mode bridge macaddr set 02:00:00:00:00:01 vmac1"} {
		f.Add(strings.ReplaceAll(s, " ", "\x00"))
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		before := slices.Clone(args)
		check := func(err error) {
			var f *failure
			if err != nil && (!errors.As(err, &f) || len(f.lines) == 0) {
				t.Errorf("%q: %v", args, err)
			}
			if !slices.Equal(args, before) {
				t.Fatalf("%q was changed to %q", before, args)
			}
		}
		q, err := parseFdb("add", args, testResolver)
		check(err)
		if err == nil && (q.Dev == "" || q.MAC == "") {
			t.Errorf("%q: %+v", args, q)
		}
		_, err = parseFdbShow(args, testResolver)
		check(err)
		requests, err := parseRun("va", args, testResolver)
		check(err)
		if err == nil && len(requests) == 0 {
			t.Errorf("%q asks for nothing", args)
		}
	})
}
