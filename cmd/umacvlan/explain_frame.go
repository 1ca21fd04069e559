package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// frameArgument is a frame from the command line.
type frameArgument struct {
	octets []byte
	origin string // which record of which file; empty for octets that were typed
}

// maxFrame bounds what a capture may say that a frame's length was.
const maxFrame = 256 << 10

// readFrameArgument reads words that are octets in hexadecimal, or the name of
// a capture file with the number of a record behind it.
func readFrameArgument(words []string) (*frameArgument, error) {
	text := strings.Join(words, " ")
	octets, err := parseHex(text)
	if err == nil {
		return &frameArgument{octets: octets}, nil
	}
	if len(words) > 1 {
		return nil, invarg(err.Error(), text)
	}
	name, n, err := splitRecord(text)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.Trim(text, "0123456789abcdefABCDEFxX:- \t\n") == "":
		_, err = parseHex(text)
		return nil, invarg(err.Error(), text)
	case errors.Is(err, fs.ErrNotExist):
		return nil, invarg("neither octets in hexadecimal nor a capture file", text)
	case err != nil:
		return nil, err
	}
	defer f.Close()
	octets, whole, err := readRecord(f, n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a := &frameArgument{octets: octets, origin: fmt.Sprintf("record %d of %s", n, name)}
	if missing := whole - len(octets); missing > 0 {
		a.origin += fmt.Sprintf("; the file has %d of %d octets, the others are taken for 0", len(octets), whole)
		a.octets = append(octets, make([]byte, missing)...)
	}
	return a, nil
}

// parseHex reads octets between blanks, colons and hyphens, any number of them
// together, with or without 0x; one digit alone is an octet too.
func parseHex(s string) ([]byte, error) {
	groups := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \t\r\n:-", r) })
	var octets []byte
	for _, g := range groups {
		digits := strings.TrimPrefix(strings.TrimPrefix(g, "0x"), "0X")
		if len(digits) == 1 {
			digits = "0" + digits
		}
		b, err := hex.DecodeString(digits)
		switch {
		case errors.Is(err, hex.ErrLength):
			return nil, fmt.Errorf("%s has an odd number of digits", g)
		case err != nil:
			return nil, fmt.Errorf("%s is not in hexadecimal", g)
		}
		octets = append(octets, b...)
	}
	if len(octets) == 0 {
		return nil, errors.New("no octets")
	}
	return octets, nil
}

// splitRecord takes the number of a record from behind a file's name.
func splitRecord(s string) (name string, n int, err error) {
	i := strings.LastIndexByte(s, ':')
	if _, err := os.Stat(s); i < 0 || err == nil {
		return s, 1, nil
	}
	n, err = strconv.Atoi(s[i+1:])
	if err != nil || n < 1 {
		return "", 0, invarg("records of a capture are counted from 1", s)
	}
	return s[:i], n, nil
}

// readRecord returns record n, from 1, of a pcap or pcapng file, and how long
// the frame was on the wire.
func readRecord(f io.ReadSeeker, n int) (octets []byte, whole int, err error) {
	next, linkType, err := openCapture(f)
	if err != nil {
		return nil, 0, err
	}
	for i := 1; ; i++ {
		data, ci, err := next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, 0, fmt.Errorf("no record %d: the file has %d", n, i-1)
		case err != nil:
			return nil, 0, fmt.Errorf("record %d: %w", i, err)
		case i < n:
			continue
		}
		if t := linkType(ci); t != layers.LinkTypeEthernet {
			return nil, 0, fmt.Errorf("record %d has link type %v, not Ethernet", n, t)
		}
		if len(data) == 0 || ci.Length > maxFrame {
			return nil, 0, fmt.Errorf("record %d has %d of %d octets, which is no frame", n, len(data), ci.Length)
		}
		return data, ci.Length, nil
	}
}

// openCapture finds out which of the two formats it is.
func openCapture(f io.ReadSeeker) (next func() ([]byte, gopacket.CaptureInfo, error), linkType func(gopacket.CaptureInfo) layers.LinkType, err error) {
	if r, err := pcapgo.NewReader(f); err == nil {
		return r.ReadPacketData, func(gopacket.CaptureInfo) layers.LinkType { return r.LinkType() }, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	r, err := pcapgo.NewNgReader(f, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		return nil, nil, errors.New("neither octets in hexadecimal nor a pcap or pcapng file")
	}
	return r.ReadPacketData, func(ci gopacket.CaptureInfo) layers.LinkType {
		i, err := r.Interface(ci.InterfaceIndex)
		if err != nil {
			return layers.LinkTypeNull
		}
		return i.LinkType
	}, nil
}
