package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/umacvlan/umacvlan/internal/control"
)

// Numbers of linux/if_link.h.
var macvlanModes = map[string]uint32{"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16}

const (
	modePassthru  = 8
	flagNoPromisc = 1
	flagNoDst     = 2

	macaddrAdd = 0
	macaddrDel = 1
	macaddrSet = 3
)

var macaddrModes = map[string]uint32{"add": macaddrAdd, "del": macaddrDel, "flush": 2, "set": macaddrSet}

// macvlanOptions is the data of a request being read.
type macvlanOptions struct {
	words
	kind  string
	data  control.MacvlanData
	flags uint16
	given bool // a flag was named, "null" too
	note  string
}

// macvlanKeywords are those of macvlan_parse_opt, in its order.
var macvlanKeywords = []struct {
	word  string
	short bool
	read  func(*macvlanOptions) error
}{
	{"mode", true, (*macvlanOptions).readMode},
	{"flag", true, (*macvlanOptions).readFlag},
	{"macaddr", true, (*macvlanOptions).readMacaddr},
	{"nopromisc", true, func(o *macvlanOptions) error { return o.setFlag(flagNoPromisc) }},
	{"nodst", true, func(o *macvlanOptions) error { return o.setFlag(flagNoDst) }},
	{"bcqueuelen", true, (*macvlanOptions).readBCQueueLen},
	{"bclim", false, (*macvlanOptions).readBCLim},
	{"help", true, func(o *macvlanOptions) error { return usageError("%s", macvlanUsage(o.kind)) }},
}

// parseMacvlan mirrors macvlan_parse_opt; kind names it in messages.
func parseMacvlan(kind string, args []string) (*control.MacvlanData, error) {
	o := &macvlanOptions{words: words{list: slices.Clone(args)}, kind: kind}
	for ; o.more(); o.at++ {
		if err := o.readKeyword(); err != nil {
			return nil, o.explain(err)
		}
	}
	if o.given {
		if o.flags&flagNoPromisc != 0 && (o.data.Mode == nil || *o.data.Mode != modePassthru) {
			return nil, o.explain(o.complain("nopromisc flag only valid in passthru mode"))
		}
		o.data.Flags = &o.flags
	}
	return &o.data, nil
}

func (o *macvlanOptions) readKeyword() error {
	w := o.word()
	for _, k := range macvlanKeywords {
		if w == k.word || k.short && matches(w, k.word) {
			return k.read(o)
		}
	}
	return o.complain(`unknown option "%s"?`, w)
}

// complain is pfx_err followed by explain().
func (o *macvlanOptions) complain(format string, a ...any) error {
	return &failure{exitUsage, []string{o.kind + ": " + fmt.Sprintf(format, a...), macvlanUsage(o.kind)}}
}

// explain puts in front of an error what ip said about a word that ended a list
// of addresses. It says so on success too, where it only confuses.
func (o *macvlanOptions) explain(err error) error {
	if f, ok := err.(*failure); ok && o.note != "" {
		f.lines = append([]string{o.note}, f.lines...)
	}
	return err
}

func (o *macvlanOptions) readMode() error {
	w, err := o.next()
	if err != nil {
		return err
	}
	mode, ok := macvlanModes[w]
	if !ok {
		return usageError(`Error: argument of "mode" must be "private", "vepa", "bridge", "passthru" or "source", not "%s"`, w)
	}
	o.data.Mode = &mode
	return nil
}

func (o *macvlanOptions) readFlag() error {
	w, err := o.next()
	if err != nil {
		return err
	}
	switch w {
	case "nopromisc":
		return o.setFlag(flagNoPromisc)
	case "nodst":
		return o.setFlag(flagNoDst)
	case "null":
		return o.setFlag(0)
	}
	return usageError(`Error: argument of "flag" must be "nopromisc", "nodst" or "null", not "%s"`, w)
}

func (o *macvlanOptions) setFlag(f uint16) error {
	o.flags |= f
	o.given = true
	return nil
}

func (o *macvlanOptions) readMacaddr() error {
	w, err := o.next()
	if err != nil {
		return err
	}
	mode, ok := macaddrModes[w]
	if !ok {
		return usageError("%s", macvlanUsage(o.kind))
	}
	o.data.MacaddrMode = &mode
	switch mode {
	case macaddrAdd, macaddrDel:
		return o.readOneMacaddr()
	case macaddrSet:
		o.readMacaddrs()
	}
	return nil
}

func (o *macvlanOptions) readOneMacaddr() error {
	w, err := o.next()
	if err != nil {
		return err
	}
	addr, err := parseLLAddr(w, 6)
	if err != nil {
		return err
	}
	if len(addr) != 6 {
		// ip says nothing at all here, which helps nobody.
		return usageError(`umacvlan: "%s" is not a MAC address of six octets`, w)
	}
	s := formatLLAddr(addr)
	o.data.Macaddr = &s
	return nil
}

// readMacaddrs reads addresses up to the first word that is none. What it has
// cut that word down to is what ip goes on with: ll_addr_a2n ends it at its
// first colon.
func (o *macvlanOptions) readMacaddrs() {
	o.data.MacaddrData = []string{}
	for o.hasNext() {
		w := o.list[o.at+1]
		addr, err := parseLLAddr(w, 6)
		if err != nil {
			o.note = err.Error()
		}
		if err != nil || len(addr) != 6 {
			o.list[o.at+1], _, _ = strings.Cut(w, ":")
			return
		}
		o.data.MacaddrData = append(o.data.MacaddrData, formatLLAddr(addr))
		o.at++
	}
}

func (o *macvlanOptions) readBCQueueLen() error {
	w, err := o.next()
	if err != nil {
		return err
	}
	v, err := parseU32(w)
	if err != nil {
		return usageError(`Error: argument of "bcqueuelen" must be a positive integer [0-4294967295], not "%s"`, w)
	}
	o.data.BCQueueLen = &v
	return nil
}

func (o *macvlanOptions) readBCLim() error {
	w, err := o.next()
	if err != nil {
		return err
	}
	v, err := parseS32(w)
	if err != nil {
		return usageError(`Error: illegal value for "bclim": "%s"`, w)
	}
	o.data.BCLim = &v
	return nil
}
