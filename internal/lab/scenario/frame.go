package scenario

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/umacvlan/umacvlan/classify"
)

// EtherType is what test frames carry: a local experimental one, so that no
// stack answers.
const EtherType = 0x88b5

// Lengths of frames: what Ethernet has at least, without the checksum, and what
// its header and a tag take.
const (
	minFrame  = 60
	headerLen = 14
	tagLen    = 4
)

// Frame makes the bytes of a step's send, its VLAN tags in place. Every way of
// running sends the same. It reads a capture file if the step names one, and
// fails if the step sends nothing.
func (s *Scenario) Frame(step int) ([]byte, error) {
	send := s.Steps[step].Send
	switch {
	case send == nil:
		return nil, fmt.Errorf("%s:%d: sends no frame", s.File, s.Steps[step].Line)
	case send.Bytes != nil:
		return slices.Clone(send.Bytes), nil
	case send.Capture != "":
		return s.captured(send.Capture, send.Record)
	}
	return s.build(send, uint32(step)+1)
}

// build makes a frame of addresses and options; seq tells test frames apart.
func (s *Scenario) build(send *Send, seq uint32) ([]byte, error) {
	dst, err := s.MAC(send.Dst)
	if err != nil {
		return nil, err
	}
	src, err := s.MAC(send.Src)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 12)
	dst.Put(b)
	src.Put(b[6:])
	for _, t := range send.Tags {
		b = binary.BigEndian.AppendUint16(b, t.TPID)
		b = binary.BigEndian.AppendUint16(b, t.TCI)
	}
	if send.Kind != nil {
		typ, body, err := namedFrame(send, dst, src)
		if err != nil {
			return nil, err
		}
		b = append(binary.BigEndian.AppendUint16(b, typ), body...)
		least := max(minFrame+tagLen*min(1, len(send.Tags)), send.Len)
		if send.Len != 0 && len(b) > send.Len {
			return nil, fmt.Errorf("%s has %d octets, more than len %d", send.Kind[0], len(b), send.Len)
		}
		return pad(b, least), nil
	}
	typ := uint16(EtherType)
	if send.Type != nil {
		typ = *send.Type
	}
	b = binary.BigEndian.AppendUint16(b, typ)
	length := send.Len
	if send.Payload != nil {
		b = append(b, send.Payload...)
		if length == 0 {
			length = len(b)
		}
		return pad(b, length)[:length], nil
	}
	if length == 0 {
		length = minFrame + tagLen*min(1, len(send.Tags))
	}
	b = binary.BigEndian.AppendUint32(b, seq)
	for len(b) < length {
		b = append(b, byte(len(b)*7+int(seq)))
	}
	return b[:length], nil
}

func pad(b []byte, length int) []byte {
	if n := length - len(b); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	return b
}

// namedFrame makes a frame by name: its ethertype, or its length if it is one
// of 802.3, and what follows.
func namedFrame(send *Send, dst, src classify.MAC) (uint16, []byte, error) {
	kind, ok := frameKinds[send.Kind[0]]
	if !ok {
		return 0, nil, fmt.Errorf("no frame has the name %q", send.Kind[0])
	}
	if send.Payload != nil && !kind.payload {
		return 0, nil, fmt.Errorf("%s carries no payload", send.Kind[0])
	}
	m := &maker{args: send.Kind[1:], dst: dst, src: src, payload: send.Payload}
	typ, body := kind.make(m)
	if m.bad || len(m.args) > 0 {
		return 0, nil, fmt.Errorf("the form %q", strings.TrimSpace(send.Kind[0]+" "+kind.form))
	}
	return typ, body, nil
}

// frames finds what is wrong with the frames of a file that has been read.
func (p *parser) frames() {
	for i := range p.s.Steps {
		send := p.s.Steps[i].Send
		if send == nil || send.Capture != "" {
			continue
		}
		p.line = p.s.Steps[i].Line
		if _, err := p.s.Frame(i); err != nil {
			p.failGot(fmt.Sprintf("%q", send.words()), "a frame: %v", err)
		}
	}
}

// captured reads a record of a pcap or pcapng file.
func (s *Scenario) captured(name string, record int) (frame []byte, err error) {
	dir := s.FS
	if dir == nil {
		dir = osDir(filepath.Dir(s.File))
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in, err := OpenCapture(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	for n := 1; ; n++ {
		data, _, err := in.ReadPacketData()
		switch {
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read %s: record %d of %d", name, record, n-1)
		case err != nil:
			return nil, fmt.Errorf("read %s: record %d: %w", name, n, err)
		case n == record:
			return data, nil
		}
	}
}

// osDir is a directory whose files may also be named by absolute paths.
type osDir string

func (d osDir) Open(name string) (fs.File, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(string(d), name)
	}
	return os.Open(name)
}

// OpenCapture reads a pcap or pcapng file of Ethernet frames, whichever it is.
func OpenCapture(r io.Reader) (gopacket.PacketDataSource, error) {
	magic := make([]byte, 4)
	if _, err := io.ReadFull(r, magic); err != nil {
		return nil, fmt.Errorf("no capture file: %w", err)
	}
	r = io.MultiReader(strings.NewReader(string(magic)), r)
	type source interface {
		gopacket.PacketDataSource
		LinkType() layers.LinkType
	}
	var in source
	var err error
	if binary.BigEndian.Uint32(magic) == 0x0a0d0d0a {
		in, err = pcapgo.NewNgReader(r, pcapgo.DefaultNgReaderOptions)
	} else {
		in, err = pcapgo.NewReader(r)
	}
	if err != nil {
		return nil, err
	}
	if t := in.LinkType(); t != layers.LinkTypeEthernet {
		return nil, fmt.Errorf("link type %v, not Ethernet", t)
	}
	return in, nil
}
