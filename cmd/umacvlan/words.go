package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// failure is an error with the words and the exit code of ip: the lines go to
// stderr as they are.
type failure struct {
	code  int
	lines []string
}

func (f *failure) Error() string { return strings.Join(f.lines, "\n") }

// Exit codes of ip: what it returns for a command that it understood but could
// not use, for one that it could not read, and for one that the kernel refused.
const (
	exitUsage     = 1
	exitRefused   = 2
	exitMalformed = 255
)

func usageError(format string, a ...any) error {
	return &failure{exitUsage, []string{fmt.Sprintf(format, a...)}}
}

func malformed(format string, a ...any) error {
	return &failure{exitMalformed, []string{fmt.Sprintf(format, a...)}}
}

// The functions below speak the words of lib/utils.c in iproute2, under its
// names.

func incompleteCommand() error {
	return malformed(`Command line is not complete. Try option "help"`)
}

func invarg(msg, arg string) error {
	return malformed(`Error: argument "%s" is wrong: %s`, arg, msg)
}

func missarg(key string) error {
	return malformed(`Error: argument "%s" is required`, key)
}

func duparg(key, arg string) error {
	return malformed(`Error: duplicate "%s": "%s" is the second value.`, key, arg)
}

func duparg2(key, arg string) error {
	return malformed(`Error: either "%s" is duplicate, or "%s" is a garbage.`, key, arg)
}

func nodev(name string) error {
	return usageError(`Cannot find device "%s"`, name)
}

// matches says whether word abbreviates keyword, as matches() does: any
// beginning of it, the shortest too, but not the empty word.
func matches(word, keyword string) bool {
	return word != "" && strings.HasPrefix(keyword, word)
}

// words is a command line being read. at is the word under consideration.
type words struct {
	list []string
	at   int
}

func (w *words) more() bool    { return w.at < len(w.list) }
func (w *words) word() string  { return w.list[w.at] }
func (w *words) ptr() *string  { return &w.list[w.at] }
func (w *words) hasNext() bool { return w.at+1 < len(w.list) }

// next moves to the argument of the keyword under consideration (NEXT_ARG).
func (w *words) next() (string, error) {
	if !w.hasNext() {
		return "", incompleteCommand()
	}
	w.at++
	return w.list[w.at], nil
}

// checkIfname is check_ifname without its newest rule: ip 6.1 leaves "." and
// ".." to the kernel, which refuses them with the same EINVAL as any bad name.
func checkIfname(name string) bool {
	return name != "" && len(name) < 16 && !strings.ContainsAny(name, "/ \t\n\v\f\r")
}

var errNumber = errors.New("not a number")

// parseC reads what strtol and strtoul with base 0 read: blanks, a sign,
// 0x or 0 in front. The answer is the magnitude and whether a minus stood there.
func parseC(s string) (magnitude uint64, minus bool, err error) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s != "" && (s[0] == '-' || s[0] == '+') {
		minus = s[0] == '-'
		s = s[1:]
	}
	base := 10
	switch {
	case len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X"):
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	magnitude, err = strconv.ParseUint(s, base, 64)
	if err != nil {
		return 0, false, errNumber
	}
	return magnitude, minus, nil
}

// parseS32 is get_integer and get_s32.
func parseS32(s string) (int32, error) {
	m, minus, err := parseC(s)
	switch {
	case err != nil:
		return 0, err
	case minus && m <= -math.MinInt32:
		return int32(-int64(m)), nil
	case !minus && m <= math.MaxInt32:
		return int32(m), nil
	}
	return 0, errNumber
}

// parseU32 is get_u32: a minus wraps around at 64 bits, as strtoul's does, and
// is out of range then, but for -0.
func parseU32(s string) (uint32, error) {
	m, minus, err := parseC(s)
	if minus {
		m = -m
	}
	if err != nil || m > math.MaxUint32 {
		return 0, errNumber
	}
	return uint32(m), nil
}

const maxLLAddr = 32 // room that iplink.c gives ll_addr_a2n; netlink's MAX_ADDR_LEN

// parseLLAddr is ll_addr_a2n: octets in hexadecimal between colons, or a dotted
// IPv4 address. Its length is the caller's business. On error the first bad
// octet is the one complained of.
func parseLLAddr(s string, room int) ([]byte, error) {
	if strings.Contains(s, ".") {
		parts := strings.Split(s, ".")
		addr := make([]byte, 0, 4)
		for _, p := range parts {
			m, minus, err := parseC(p)
			if err != nil || minus || m > 255 || len(addr) == 4 {
				return nil, invalidLLAddr(s)
			}
			addr = append(addr, byte(m))
		}
		if room < 4 {
			return nil, &failure{code: exitUsage}
		}
		// get_addr_ipv4 fills missing octets at the end with zeros.
		return append(addr, 0, 0, 0, 0)[:4], nil
	}
	var addr []byte
	for part := range strings.SplitSeq(s, ":") {
		if len(addr) == room {
			return append(addr, 0), nil // one too many: no length that anybody accepts
		}
		octet, ok := scanHex(part)
		if !ok || octet > 255 {
			return nil, invalidLLAddr(part)
		}
		addr = append(addr, byte(octet))
	}
	return addr, nil
}

func invalidLLAddr(s string) error { return usageError(`"%s" is invalid lladdr.`, s) }

// scanHex is sscanf("%x"): it stops at the first thing that is no digit, and
// needs one digit at least.
func scanHex(s string) (uint64, bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	s = strings.TrimPrefix(s, "+")
	if len(s) > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s = s[2:]
	}
	end := 0
	for end < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[end]) >= 0 {
		end++
	}
	v, err := strconv.ParseUint(s[:end], 16, 64)
	return v, err == nil
}

// formatLLAddr is ll_addr_n2a for Ethernet.
func formatLLAddr(b []byte) string {
	var s strings.Builder
	for i, o := range b {
		if i > 0 {
			s.WriteByte(':')
		}
		fmt.Fprintf(&s, "%02x", o)
	}
	return s.String()
}
