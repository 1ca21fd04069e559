package lab

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/umacvlan/umacvlan/classify"
)

// sheet is one topology of testdata/macvlan.txt with its rows.
type sheet struct {
	name  string
	mtu   int
	vmacs []sheetVmac
	sets  [][]string
	rows  []row
}

type sheetVmac struct {
	Vmac
	join []string // groups, by name
	down bool
}

// row is one stimulus and what follows from it.
type row struct {
	number    int
	text      string
	at        string
	src, dst  string
	length    int
	tags      []uint32 // TPID<<16 | TCI
	etherType uint16

	vmacs    map[string][]delivery
	stack    []delivery
	tap      []delivery
	wire     []delivery
	counters map[string]Counters
	errno    string
}

// delivery is how one copy shows on one device: to taps, and to protocol
// handlers where that differs.
type delivery struct {
	typ, stack classify.PacketType
	length     int
}

var typeNames = map[string]classify.PacketType{
	"HOST": classify.TypeHost, "BCAST": classify.TypeBroadcast, "MCAST": classify.TypeMulticast,
	"OTHER": classify.TypeOther, "OUT": classify.TypeOutgoing,
}

// names of addresses that aren't a vmac's.
var names = map[string]string{
	"ext": "02:00:00:00:0e:01", "listed": "02:00:00:00:0e:02", "unknown": "02:00:00:00:77:77",
	"bcast": "ff:ff:ff:ff:ff:ff", "SUB": "01:00:5e:11:22:33", "unsub": "01:00:5e:44:55:66",
	"allhosts": "01:00:5e:00:00:01", "parent": "02:00:00:00:00:0a",
}

// address resolves a name, a vmac's name or a literal.
func (s *sheet) address(name string) (net.HardwareAddr, error) {
	for _, v := range s.vmacs {
		if v.Name == name {
			if v.MAC == nil {
				return ParentMAC, nil
			}
			return v.MAC, nil
		}
	}
	if a, ok := names[name]; ok {
		name = a
	}
	return net.ParseMAC(name)
}

// frame makes the row's frame; seq makes it unlike any other.
func (s *sheet) frame(r *row, seq uint32) ([]byte, error) {
	dst, err := s.address(r.dst)
	if err != nil {
		return nil, err
	}
	src, err := s.address(r.src)
	if err != nil {
		return nil, err
	}
	return buildFrame(dst, src, r.tags, r.etherType, seq, r.length), nil
}

func readScenarios(path string) ([]*sheet, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []*sheet
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "topology "); ok {
			list = append(list, &sheet{name: name, mtu: 1500})
			continue
		}
		if err := list[len(list)-1].parse(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	return list, in.Err()
}

func (s *sheet) parse(line string) (err error) {
	words := strings.Fields(line)
	switch words[0] {
	case "mtu":
		s.mtu, err = strconv.Atoi(words[1])
	case "set":
		s.sets = append(s.sets, words[1:])
	case "vmac":
		err = s.parseVmac(words[1:])
	default:
		var r row
		if r, err = parseRow(line); err == nil {
			s.rows = append(s.rows, r)
		}
	}
	return err
}

var modeNames = map[string]classify.Mode{
	"private": classify.Private, "vepa": classify.Vepa, "bridge": classify.Bridge,
	"passthru": classify.Passthru, "source": classify.Source,
}

// parseVmac reads "NAME MODE[,nodst] MAC|NN|- [join=…] [list=…] [down] …".
func (s *sheet) parseVmac(w []string) error {
	v := sheetVmac{join: []string{"allhosts"}}
	v.Name = w[0]
	mode, flags, _ := strings.Cut(w[1], ",")
	v.Mode = modeNames[mode]
	if flags == "nodst" {
		v.Flags = classify.NoDst
	}
	mac := w[2]
	if len(mac) == 2 {
		mac = "02:00:00:00:01:" + mac
	}
	if mac != "-" {
		v.MAC, _ = net.ParseMAC(mac)
	}
	s.vmacs = append(s.vmacs, v)
	at := &s.vmacs[len(s.vmacs)-1]
	for _, opt := range w[3:] {
		key, value, _ := strings.Cut(opt, "=")
		switch key {
		case "down":
			at.down = true
		case "join":
			at.join = append(at.join, value)
		case "list":
			mac, err := s.address(value)
			if err != nil {
				return err
			}
			at.Sources = append(at.Sources, mac)
		case "bcqueuelen":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return err
			}
			u := uint32(n)
			at.BCQueueLen = &u
		case "bclim":
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return err
			}
			i := int32(n)
			at.BCLim = &i
		default:
			return fmt.Errorf("vmac option %q", opt)
		}
	}
	return nil
}

func parseRow(line string) (row, error) {
	c := strings.Split(line, "|")
	if len(c) != 7 {
		return row{}, fmt.Errorf("%d columns", len(c))
	}
	for i := range c {
		c[i] = strings.TrimSpace(c[i])
	}
	r := row{text: c[0] + " " + c[1], length: 60, etherType: EtherType}
	var err error
	if r.number, err = strconv.Atoi(c[0]); err != nil {
		return r, err
	}
	at, rest, _ := strings.Cut(c[1], ": ")
	stim, opts, _ := strings.Cut(rest, ",")
	src, dst, ok := strings.Cut(stim, " > ")
	if !ok {
		return r, fmt.Errorf("stimulus %q", c[1])
	}
	r.at, r.src, r.dst = at, strings.TrimSpace(src), strings.TrimSpace(dst)
	if err := r.parseOptions(strings.Fields(opts)); err != nil {
		return r, err
	}
	if r.vmacs, err = parseDeliveries(c[2]); err != nil {
		return r, err
	}
	for i, to := range []*[]delivery{&r.stack, &r.tap, &r.wire} {
		m, err := parseDeliveries("x = " + c[3+i])
		if err != nil {
			return r, err
		}
		*to = m["x"]
	}
	r.counters, r.errno, err = parseCounters(c[6])
	return r, err
}

func (r *row) parseOptions(opts []string) error {
	for _, o := range opts {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "len":
			n, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			r.length = n
		case "type":
			n, err := strconv.ParseUint(value, 16, 16)
			if err != nil {
				return err
			}
			r.etherType = uint16(n)
		case "tag":
			r.length = 64
			for _, t := range strings.Split(value, "/") {
				n, err := strconv.ParseUint(strings.Replace(t, ":", "", 1), 16, 32)
				if err != nil {
					return err
				}
				r.tags = append(r.tags, uint32(n))
			}
		default:
			return fmt.Errorf("option %q", o)
		}
	}
	return nil
}

var deliveryForm = regexp.MustCompile(`^([A-Z]+) (\d+)$`)

// parseDeliveries reads "b1 b2 = BCAST 60; s1 = BCAST 60, BCAST 60".
func parseDeliveries(cell string) (map[string][]delivery, error) {
	m := map[string][]delivery{}
	if cell == "none" || cell == "x = no" {
		return m, nil
	}
	for _, part := range strings.Split(cell, ";") {
		who, what, ok := strings.Cut(part, " = ")
		if !ok {
			return nil, fmt.Errorf("deliveries %q", part)
		}
		vid := strings.Contains(what, "(stack: OTHER)")
		what, _, _ = strings.Cut(what, " (")
		what, _, _ = strings.Cut(what, " [")
		for _, one := range strings.Split(what, ",") {
			f := deliveryForm.FindStringSubmatch(strings.TrimSpace(one))
			if f == nil {
				return nil, fmt.Errorf("delivery %q", one)
			}
			d := delivery{typ: typeNames[f[1]], stack: typeNames[f[1]]}
			d.length, _ = strconv.Atoi(f[2])
			if vid {
				d.stack = classify.TypeOther
			}
			for _, name := range strings.Fields(who) {
				m[name] = append(m[name], d)
			}
		}
	}
	return m, nil
}

var (
	counterForm = regexp.MustCompile(`^(rx|tx)(\d+)/(\d+)$`)
	plainForm   = regexp.MustCompile(`^(mc|rxerr|rxdrop|txdrop)(\d+)$`)
)

// parseCounters reads "b1 parent tx1/60; b2 rx1/74 mc1", or an errno.
func parseCounters(cell string) (m map[string]Counters, errno string, err error) {
	m = map[string]Counters{}
	if strings.HasPrefix(cell, "E") {
		return m, cell, nil
	}
	for _, part := range strings.Split(cell, ";") {
		var who []string
		var c Counters
		for _, w := range strings.Fields(part) {
			if f := counterForm.FindStringSubmatch(w); f != nil {
				p, _ := strconv.ParseUint(f[2], 10, 64)
				b, _ := strconv.ParseUint(f[3], 10, 64)
				if f[1] == "rx" {
					c.RxPackets, c.RxBytes = p, b
				} else {
					c.TxPackets, c.TxBytes = p, b
				}
			} else if f := plainForm.FindStringSubmatch(w); f != nil {
				n, _ := strconv.ParseUint(f[2], 10, 64)
				*map[string]*uint64{"mc": &c.Multicast, "rxerr": &c.RxErrors, "rxdrop": &c.RxDropped, "txdrop": &c.TxDropped}[f[1]] = n
			} else {
				who = append(who, w)
			}
		}
		if len(who) == 0 {
			return nil, "", fmt.Errorf("counters %q", part)
		}
		for _, name := range who {
			m[name] = c
		}
	}
	return m, "", nil
}
