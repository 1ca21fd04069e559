package main

import (
	"os"
	"strings"
)

// palette colours what ip colours; the zero value leaves text alone.
type palette struct{ ifname, lladdr, up, down string }

// Colours of iproute2 on a dark background, and on a light one.
var (
	darkPalette  = palette{"\x1b[1;36m", "\x1b[1;33m", "\x1b[1;32m", "\x1b[1;31m"}
	lightPalette = palette{"\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[31m"}
)

// choosePalette decides on colours: never without a word from the user, and
// with the simple word only on a terminal and not against $NO_COLOR.
func choosePalette(c colorChoice, terminal bool, getenv func(string) string) palette {
	on := c == colorAlways || c == colorAuto && terminal && getenv("NO_COLOR") == ""
	switch {
	case !on:
		return palette{}
	case lightBackground(getenv("COLORFGBG")):
		return lightPalette
	}
	return darkPalette
}

// lightBackground reads $COLORFGBG, whose last number is the background's.
func lightBackground(fgbg string) bool {
	i := strings.LastIndexByte(fgbg, ';')
	if i < 0 {
		return false
	}
	bg := fgbg[i+1:]
	return !(len(bg) == 1 && (bg[0] >= '0' && bg[0] <= '6' || bg[0] == '8'))
}

func (p palette) name(s string) string { return paint(p.ifname, s) }
func (p palette) mac(s string) string  { return paint(p.lladdr, s) }

func (p palette) state(state, s string) string {
	switch state {
	case "UP":
		return paint(p.up, s)
	case "DOWN":
		return paint(p.down, s)
	}
	return s
}

func paint(color, s string) string {
	if color == "" {
		return s
	}
	return color + s + "\x1b[0m"
}

// isTerminal takes any character device for a terminal, which is good enough:
// nobody reads the others.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
