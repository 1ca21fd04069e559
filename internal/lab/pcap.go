package lab

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// WritePcap writes what a way observed as pcapng, an interface for every end:
// wire, parent, stack, and each vmac. An end has what was sent from it, too. Step
// N has the timestamp of N seconds, and what followed one microsecond each, in
// the order observed.
func WritePcap(w io.Writer, s *scenario.Scenario, r *scenario.Result) error {
	out := bufio.NewWriter(w)
	ends := endsOf(s, r)
	at := map[string]int{}
	var ng *pcapgo.NgWriter
	for i, name := range ends {
		end := pcapgo.NgInterface{Name: name, LinkType: layers.LinkTypeEthernet, SnapLength: 0, TimestampResolution: 6, Description: fmt.Sprintf("%s on the %s", name, r.Way)}
		var err error
		if i == 0 {
			ng, err = pcapgo.NewNgWriterInterface(out, end, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "umacvlan lab", Comment: s.Title}})
		} else {
			at[name], err = ng.AddInterface(end)
		}
		if err != nil {
			return fmt.Errorf("write pcapng: %w", err)
		}
	}
	for i, o := range r.Outcomes {
		now := time.Unix(int64(i)+1, 0)
		write := func(end string, frame []byte) error {
			ci := gopacket.CaptureInfo{Timestamp: now, CaptureLength: len(frame), Length: len(frame), InterfaceIndex: at[end]}
			now = now.Add(time.Microsecond)
			if err := ng.WritePacket(ci, frame); err != nil {
				return fmt.Errorf("write pcapng: %w", err)
			}
			return nil
		}
		send := s.Steps[i].Send
		if send == nil {
			continue
		}
		frame, err := s.Frame(i)
		if err != nil {
			return err
		}
		if o.Answer.OK() {
			for range max(1, send.Times) {
				if err := write(endOf(send.From), frame); err != nil {
					return err
				}
			}
		}
		for _, d := range o.Gets {
			if d.Frame == nil {
				d.Frame = frame
			}
			if d.Who == scenario.Tap && send.From == scenario.Host {
				continue // it is there already
			}
			for range max(1, d.Times) {
				if err := write(endOf(d.Who), d.Frame); err != nil {
					return err
				}
			}
		}
	}
	if err := ng.Flush(); err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	return out.Flush()
}

// endOf is the interface that a place has: the host sends, and the tap listens,
// at the parent.
func endOf(place string) string {
	if place == scenario.Host || place == scenario.Tap {
		return scenario.Port
	}
	return place
}

func endsOf(s *scenario.Scenario, r *scenario.Result) []string {
	ends := []string{scenario.Wire, scenario.Port, scenario.Stack}
	note := func(name string) {
		if name = endOf(name); !slices.Contains(ends, name) {
			ends = append(ends, name)
		}
	}
	for _, v := range s.Vmacs {
		note(v.Name)
	}
	for i, o := range r.Outcomes {
		if send := s.Steps[i].Send; send != nil {
			note(send.From)
		}
		for _, d := range o.Gets {
			note(d.Who)
		}
	}
	return ends
}
