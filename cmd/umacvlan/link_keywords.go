package main

import "fmt"

// keyword is one entry of the grammar of iplink_parse.
type keyword struct {
	word string
	// short: any beginning of the word will do.
	short bool
	read  func(*modify) error // nil: ip knows it, an emulated device does not
}

// linkKeywords stand in the order in which ip compares, which decides whose
// abbreviation "a" or "t" is.
var linkKeywords = []keyword{
	{"up", false, func(m *modify) error { return m.setUp(true) }},
	{"down", false, func(m *modify) error { return m.setUp(false) }},
	{"name", false, (*modify).readName},
	{"index", false, nil},
	{"link", true, (*modify).readLink},
	{"address", true, (*modify).readAddress},
	{"broadcast", true, nil},
	{"brd", false, nil},
	{"txqueuelen", true, (*modify).readTxQLen},
	{"qlen", false, (*modify).readTxQLen},
	{"txqlen", true, (*modify).readTxQLen},
	{"mtu", false, (*modify).readMTU},
	{"inet", false, nil},
	{"xdpgeneric", false, nil},
	{"xdpdrv", false, nil},
	{"xdpoffload", false, nil},
	{"xdp", false, nil},
	{"netns", false, (*modify).readNetns},
	{"multicast", false, nil},
	{"allmulticast", false, func(m *modify) (err error) { m.req.Allmulti, err = m.onOff("allmulticast"); return }},
	{"promisc", false, func(m *modify) (err error) { m.req.Promisc, err = m.onOff("promisc"); return }},
	{"trailers", false, nil},
	{"arp", false, nil},
	{"carrier", false, nil},
	{"vf", false, nil},
	{"master", true, nil},
	{"vrf", false, nil},
	{"nomaster", true, nil},
	{"dynamic", true, nil},
	{"type", true, (*modify).readType},
	{"alias", true, (*modify).readAlias},
	{"group", false, nil},
	{"mode", false, nil},
	{"state", false, nil},
	{"numtxqueues", true, nil},
	{"numrxqueues", true, nil},
	{"addrgenmode", true, nil},
	{"link-netns", true, nil},
	{"link-netnsid", true, nil},
	{"protodown", false, nil},
	{"protodown_reason", false, nil},
	{"gso_max_size", false, nil},
	{"gso_max_segs", false, nil},
	{"gro_max_size", false, nil},
	{"gso_ipv4_max_size", false, nil},
	{"gro_ipv4_max_size", false, nil},
	{"parentdev", false, nil},
}

func (m *modify) readKeyword() error {
	w := m.word()
	for _, k := range linkKeywords {
		if w != k.word && !(k.short && matches(w, k.word)) {
			continue
		}
		if k.read == nil {
			return m.notOurs(k.word)
		}
		return k.read(m)
	}
	if matches(w, "help") {
		return malformed("%s", linkUsage)
	}
	return m.readDev()
}

// notOurs refuses a keyword of ip's by name, rather than take it for a device.
func (m *modify) notOurs(word string) error {
	switch word {
	case "mode":
		return usageError(`umacvlan: "mode" belongs behind the type: type macvlan mode MODE`)
	case "link-netns", "link-netnsid":
		return usageError(`umacvlan: "%s" is not needed: name the parent's namespace with -n, and the device's own with netns`, word)
	case "index", "numtxqueues", "numrxqueues", "parentdev":
		return usageError(`umacvlan: "%s" is nothing that umacvlan can choose`, word)
	}
	return usageError(`umacvlan: "%s" is nothing that umacvlan sets; once the device exists try: ip link set dev NAME %s ...`, word, word)
}

func (m *modify) readDev() error {
	if m.word() == "dev" {
		if _, err := m.next(); err != nil {
			return err
		}
	}
	if m.dev != m.name {
		return duparg2("dev", m.word())
	}
	// check_altifname: a name that is too long for a device may be an
	// alternative one; the kernel has the last word.
	if w := m.word(); w == "" || len(w) >= 128 {
		return invarg(`"dev" not a valid ifname`, w)
	}
	m.dev = m.ptr()
	return nil
}

func (m *modify) readName() error {
	w, err := m.next()
	if err != nil {
		return err
	}
	if m.name != nil {
		return duparg("name", w)
	}
	if !checkIfname(w) {
		return invarg(`"name" not a valid ifname`, w)
	}
	m.name = m.ptr()
	if m.dev == nil {
		m.dev = m.name
	}
	return nil
}

func (m *modify) setUp(up bool) error {
	m.req.Up = &up
	return nil
}

func (m *modify) readAddress() error {
	w, err := m.next()
	if err != nil {
		return err
	}
	addr, err := parseLLAddr(w, maxLLAddr)
	if err != nil {
		return err
	}
	m.addressLen = len(addr)
	s := formatLLAddr(addr)
	m.req.Address = &s
	return nil
}

func (m *modify) readLink() error {
	if _, err := m.next(); err != nil {
		return err
	}
	m.link = m.ptr()
	return nil
}

func (m *modify) readTxQLen() error { return m.once("txqueuelen", &m.txqlen, &m.req.TxQLen) }
func (m *modify) readMTU() error    { return m.once("mtu", &m.mtu, &m.req.MTU) }

// once reads an int that may be given once. Netlink carries it as a u32, so a
// negative one reaches the kernel as something large, and is refused there.
func (m *modify) once(key string, seen *bool, to **uint32) error {
	w, err := m.next()
	if err != nil {
		return err
	}
	// ip compares with -1, and so takes a second one after a -1.
	if *seen {
		return duparg(key, w)
	}
	v, err := parseS32(w)
	if err != nil {
		return invarg(fmt.Sprintf(`Invalid "%s" value`, key), w)
	}
	u := uint32(v)
	*seen, *to = v != -1, &u
	return nil
}

func (m *modify) readNetns() error {
	w, err := m.next()
	if err != nil {
		return err
	}
	if m.netns {
		return duparg("netns", w)
	}
	path, ok := m.resolver.netns(w)
	if !ok {
		return invarg(`Invalid "netns" value`, w)
	}
	m.netns, m.req.ToNetns = true, &path
	return nil
}

func (m *modify) onOff(key string) (*bool, error) {
	w, err := m.next()
	if err != nil {
		return nil, err
	}
	on := w == "on"
	if !on && w != "off" {
		return nil, usageError(`Error: argument of "%s" must be "on" or "off", not "%s"`, key, w)
	}
	return &on, nil
}

func (m *modify) readAlias() error {
	w, err := m.next()
	if err != nil {
		return err
	}
	if len(w) >= 256 {
		return invarg("alias too long", w)
	}
	m.req.Alias = &w
	return nil
}

func (m *modify) readType() error {
	if _, err := m.next(); err != nil {
		return err
	}
	m.kind = m.ptr()
	return nil
}
