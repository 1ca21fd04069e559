package main

import (
	"strings"
)

// options are those in front of the object, in the style of ip: one dash or
// two, and any beginning of the word that no other option has.
type options struct {
	socket  string
	netns   string
	batch   string
	details int
	stats   int
	color   colorChoice
	oneline bool
	brief   bool
	json    bool
	pretty  bool
	human   bool
	iec     bool
	force   bool

	help, version bool

	linkOnly string // an option that was given and says nothing to verbs other than link
}

type colorChoice int

const (
	colorUnset  colorChoice = iota
	colorAuto               // on a terminal, unless $NO_COLOR is set
	colorAlways             // asked for in so many words: -c=always
	colorNever
)

// optionTable stands in ip's order of comparison. -version and -socket, which are
// ours, may not be abbreviated.
var optionTable = []struct {
	word     string
	argument string // what it needs behind it, if anything
	set      func(o *options, arg string)
}{
	{"-human-readable", "", func(o *options, _ string) { o.human = true }},
	{"-iec", "", func(o *options, _ string) { o.iec = true }},
	{"-stats", "", func(o *options, _ string) { o.stats++ }},
	{"-statistics", "", func(o *options, _ string) { o.stats++ }},
	{"-details", "", func(o *options, _ string) { o.details++ }},
	{"-oneline", "", func(o *options, _ string) { o.oneline = true }},
	{"-Version", "", func(o *options, _ string) { o.version = true }},
	{"-version", "", func(o *options, _ string) { o.version = true }}, // not ip's, but what people type
	{"-force", "", func(o *options, _ string) { o.force = true }},
	{"-batch", "batch file", func(o *options, arg string) { o.batch = arg }},
	{"-brief", "", func(o *options, _ string) { o.brief = true }},
	{"-json", "", func(o *options, _ string) { o.json = true }},
	{"-pretty", "", func(o *options, _ string) { o.pretty = true }},
	{"-help", "", func(o *options, _ string) { o.help = true }},
	{"-netns", "netns", func(o *options, arg string) { o.netns = arg }},
	{"-socket", "socket", func(o *options, arg string) { o.socket = arg }},
}

// parseOptions reads the options and returns the rest, which begins with the
// object.
func parseOptions(args []string) (options, []string, error) {
	var o options
	for len(args) > 0 {
		opt := args[0]
		if opt == "--" {
			return o, args[1:], nil
		}
		if !strings.HasPrefix(opt, "-") {
			break
		}
		args = args[1:]
		if strings.HasPrefix(opt, "--") {
			opt = opt[1:]
		}
		if path, ok := strings.CutPrefix(opt, "-socket="); ok {
			o.socket = path
			continue
		}
		if o.readColor(opt) {
			continue
		}
		i := findOption(opt)
		if i < 0 {
			return o, nil, malformed(`Option "%s" is unknown, try "umacvlan -help".`, opt)
		}
		var arg string
		if what := optionTable[i].argument; what != "" {
			if len(args) == 0 {
				return o, nil, missarg(what)
			}
			arg, args = args[0], args[1:]
		}
		optionTable[i].set(&o, arg)
		switch optionTable[i].word {
		case "-socket", "-json", "-help", "-Version", "-version":
		default:
			o.linkOnly = opt
		}
	}
	return o, args, nil
}

// forFdb says that fdb, too, has a use for every option given. There is nothing
// more to print of an address with -d or -s, and a line each with -o: as bridge
// takes these, so do we.
func (o *options) forFdb() bool {
	return !o.brief && !o.human && !o.iec && o.color == colorUnset && !o.force
}

func findOption(opt string) int {
	for i, t := range optionTable {
		// "-" alone abbreviates everything and means nothing; "-f" is
		// somebody else's: ip takes it for -family.
		if opt == t.word || t.word != "-socket" && t.word != "-version" && opt != "-" && opt != "-f" && matches(opt, t.word) {
			return i
		}
	}
	return -1
}

func (o *options) readColor(opt string) bool {
	word, when, _ := strings.Cut(opt, "=")
	if word == "-" || !matches(word, "-color") {
		return false
	}
	switch when {
	case "", "auto":
		o.color = colorAuto
	case "always":
		o.color = colorAlways
	case "never":
		o.color = colorNever
	default:
		return false
	}
	o.linkOnly = opt
	return true
}
