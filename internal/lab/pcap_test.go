package lab

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/google/gopacket/pcapgo"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Each end's interface has what it sent and got, byte for byte.
func TestWritePcap(t *testing.T) {
	s := parse(t, "title Capture\nvmac b1 mode bridge\nvmac b2 mode bridge\nsend b1: b1 > broadcast vlan 5 times 2\nset b2 down\nsend wire: ext > b1\n")
	r, err := scenario.NewModel().Play(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WritePcap(&b, s, r); err != nil {
		t.Fatal(err)
	}
	ng, err := pcapgo.NewNgReader(&b, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := s.Frame(0)
	third, _ := s.Frame(2)
	got := map[string]int{}
	for {
		data, ci, err := ng.ReadPacketData()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		end, err := ng.Interface(ci.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		want := map[int64][]byte{1: first, 3: third}[ci.Timestamp.Unix()]
		if !bytes.Equal(data, want) {
			t.Errorf("%s at %v: %x, want %x", end.Name, ci.Timestamp, data, want)
		}
		got[end.Name]++
	}
	for end, want := range map[string]int{"b1": 3, "b2": 2, "wire": 3, "parent": 3, "stack": 0} {
		if got[end] != want {
			t.Errorf("%s has %d frames, want %d", end, got[end], want)
		}
	}
}
