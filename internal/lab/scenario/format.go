package scenario

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control/rules"
)

// Format writes a scenario as a file in its canonical form: one way of saying
// each thing, comments kept. Parse of it gives the same scenario again.
func (s *Scenario) Format() []byte {
	f := formatter{s: s}
	f.single("title", s.Title)
	if n := s.notes["profile"]; s.Profile != Current && s.Profile != "" || n.speaks() {
		f.single("profile", string(orCurrent(s.Profile)))
	}
	if len(s.Only) > 0 {
		f.single("only", s.onlyWords())
	}
	if s.Recorded != "" {
		f.single("recorded", "on "+s.Recorded)
	}
	if words := s.Parent.words(); words != "" || s.notes["parent"].speaks() {
		if words == "" {
			words = fmt.Sprintf("mtu %d", s.Parent.MTU)
		}
		f.single("parent", words)
	}
	for _, n := range s.Names {
		f.line("", fmt.Sprintf("%-7s %s %v", "name", n.Name, n.MAC), n.Note)
	}
	for i := range s.Vmacs {
		f.line("", fmt.Sprintf("%-7s %s", "vmac", s.Vmacs[i].words()), s.Vmacs[i].Note)
	}
	for i := range s.Steps {
		f.step(&s.Steps[i])
	}
	for _, c := range s.end {
		f.b.WriteString(c + "\n")
	}
	return f.b.Bytes()
}

type formatter struct {
	s *Scenario
	b bytes.Buffer
}

func (n Note) speaks() bool {
	return n.Right != "" || slices.ContainsFunc(n.Above, func(l string) bool { return l != "" })
}

func (f *formatter) single(keyword, words string) {
	f.line("", fmt.Sprintf("%-7s %s", keyword, words), f.s.notes[keyword])
}

func (f *formatter) line(indent, text string, n Note) {
	for _, c := range n.Above {
		if c != "" {
			c = indent + c
		}
		f.b.WriteString(c + "\n")
	}
	f.b.WriteString(indent + text)
	if n.Right != "" {
		f.b.WriteString("  " + n.Right)
	}
	f.b.WriteByte('\n')
}

func orCurrent(p Profile) Profile {
	if p == "" {
		return Current
	}
	return p
}

func (s *Scenario) onlyWords() string {
	var w []string
	for _, way := range s.Only {
		w = append(w, string(way))
	}
	if s.OnlyWhy != "" {
		w = append(w, "because", s.OnlyWhy)
	}
	return strings.Join(w, " ")
}

// words are what isn't as it would be unsaid.
func (p *Parent) words() string {
	var w []string
	if p.MTU != DefaultMTU {
		w = append(w, fmt.Sprintf("mtu %d", p.MTU))
	}
	if p.Address != ParentMAC {
		w = append(w, fmt.Sprintf("address %v", p.Address))
	}
	if p.Offloads {
		w = append(w, "offloads on")
	}
	return strings.Join(w, " ")
}

func (v *Vmac) words() string {
	w := []string{v.Name}
	if v.On != "" {
		w = append(w, "on "+v.On)
	}
	w = append(w, v.Link.words()...)
	if v.Address != "" {
		w = append(w, "address "+string(v.Address))
	}
	if v.MTU != nil {
		w = append(w, fmt.Sprintf("mtu %d", *v.MTU))
	}
	if v.Broadcast != "" {
		w = append(w, "broadcast "+string(v.Broadcast))
	}
	if len(v.Groups) > 0 {
		w = append(w, "join "+joined(v.Groups))
	}
	for _, o := range []struct {
		on   bool
		word string
	}{{v.Promisc, "promisc"}, {v.Allmulti, "allmulti"}, {v.Down, "down"}, {v.Netns != "", "netns " + v.Netns}} {
		if o.on {
			w = append(w, o.word)
		}
	}
	return strings.Join(w, " ")
}

func joined(list []Addr) string {
	var w []string
	for _, a := range list {
		w = append(w, string(a))
	}
	return strings.Join(w, ",")
}

func (l *Link) words() []string {
	var w []string
	if l.Mode != nil {
		m := strconv.FormatUint(uint64(*l.Mode), 10)
		if *l.Mode <= uint32(classify.Source) && classify.Mode(*l.Mode).IsValid() {
			m = classify.Mode(*l.Mode).String()
		}
		w = append(w, "mode "+m)
	}
	if l.Flags != nil {
		w = append(w, "flag "+flagWords(*l.Flags))
	}
	if l.BCQueueLen != nil {
		w = append(w, fmt.Sprintf("bcqueuelen %d", *l.BCQueueLen))
	}
	if l.BCLim != nil {
		w = append(w, fmt.Sprintf("bclim %d", *l.BCLim))
	}
	if l.MacaddrMode == nil {
		return w
	}
	mac := "nothing"
	if l.Macaddr != "" {
		mac = string(l.Macaddr)
	}
	switch *l.MacaddrMode {
	case rules.MacaddrSet:
		list := joined(l.List)
		if list == "" {
			list = "none"
		}
		return append(w, "list "+list)
	case rules.MacaddrAdd:
		return append(w, "macaddr add "+mac)
	case rules.MacaddrDel:
		return append(w, "macaddr del "+mac)
	case rules.MacaddrFlush:
		return append(w, "macaddr flush")
	}
	return append(w, fmt.Sprintf("macaddr %d", *l.MacaddrMode))
}

// flagWords writes flags as the language and a Shown do.
func flagWords(f uint16) string {
	if f > uint16(classify.NoDst|classify.NoPromisc) {
		return strconv.Itoa(int(f))
	}
	if f == 0 {
		return "null"
	}
	return strings.ReplaceAll(classify.Flags(f).String(), " ", ",")
}

func (f *formatter) step(s *Step) {
	text := ""
	if s.Send != nil {
		text = fmt.Sprintf("%-7s %s", "send", s.Send.words())
	} else {
		text = fmt.Sprintf("%-7s %s", s.Control.Verb, s.Control.words())
	}
	f.line("", text, s.Note)
	if s.Stated {
		f.outcome(&s.Expect, s.Send != nil)
	}
}

// String says what the step does, as a file would.
func (s *Step) String() string {
	if s.Send != nil {
		return "send " + s.Send.words()
	}
	return string(s.Control.Verb) + " " + s.Control.words()
}

func (s *Send) words() string {
	var w []string
	switch {
	case s.Bytes != nil:
		w = append(w, "bytes "+hex.EncodeToString(s.Bytes))
	case s.Capture != "":
		w = append(w, fmt.Sprintf("pcap %s:%d", s.Capture, s.Record))
	default:
		w = append(w, string(s.Src), ">", string(s.Dst))
	}
	w = append(w, s.Kind...)
	if s.Len != 0 {
		w = append(w, fmt.Sprintf("len %d", s.Len))
	}
	if s.Type != nil {
		w = append(w, fmt.Sprintf("type %#04x", *s.Type))
	}
	for _, t := range s.Tags {
		w = append(w, t.words())
	}
	if s.Payload != nil {
		w = append(w, "payload "+hex.EncodeToString(s.Payload))
	}
	if s.Times > 1 {
		w = append(w, fmt.Sprintf("times %d", s.Times))
	}
	return s.From + ": " + strings.Join(w, " ")
}

func (t Tag) words() string {
	word := map[uint16]string{0x8100: "vlan", 0x88a8: "svlan"}[t.TPID]
	if word == "" || t.TCI&0x1000 != 0 {
		return fmt.Sprintf("tag %04x:%04x", t.TPID, t.TCI)
	}
	if pcp := t.TCI >> 13; pcp != 0 {
		return fmt.Sprintf("%s %d pcp %d", word, t.TCI&0xfff, pcp)
	}
	return fmt.Sprintf("%s %d", word, t.TCI&0xfff)
}

func (c *Control) words() string {
	switch {
	case c.Vmac != nil:
		return c.Vmac.words()
	case c.Link != nil:
		return c.Who + " " + strings.Join(c.Link.words(), " ")
	case c.Verb == Delete && c.Attr == AttrNetns:
		return "netns " + c.Value
	case c.Verb == Fdb:
		return string(c.Attr) + " " + c.Who + " " + c.Value
	case c.Attr == AttrNetns && c.Value == "":
		return c.Who + " netns parent"
	case c.Attr != "":
		return strings.TrimRight(c.Who+" "+string(c.Attr)+" "+c.Value, " ")
	case len(c.Groups) > 0:
		return c.Who + " " + joined(c.Groups)
	}
	return c.Who
}
