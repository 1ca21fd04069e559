package scenario

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRows plays what the kernel was observed to do, the table of
// ../testdata/macvlan.txt, on the model.
func TestRows(t *testing.T) {
	rows := 0
	for _, text := range rowScenarios(t) {
		s, err := Parse("rows", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		t.Run(s.Title, func(t *testing.T) {
			roundTrip(t, s)
			r := play(t, s)
			for _, d := range Check(s, r) {
				t.Errorf("%s: %s %s: %s", s.Steps[d.Step].String(), d.Kind, d.Who, d.What)
			}
			for i := range s.Steps {
				if s.Steps[i].Send != nil {
					rows++
					everyVmacExplained(t, s, r, i)
				}
			}
		})
	}
	if rows < 150 {
		t.Errorf("%d rows only", rows)
	}
}

func play(t *testing.T, s *Scenario) *Result {
	t.Helper()
	r, err := NewModel().Play(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Outcomes) != len(s.Steps) {
		t.Fatalf("%d outcomes of %d steps", len(r.Outcomes), len(s.Steps))
	}
	return r
}

// everyVmacExplained wants each vmac to have got something, or a reason.
func everyVmacExplained(t *testing.T, s *Scenario, r *Result, step int) {
	t.Helper()
	out := &r.Outcomes[step]
	for _, v := range s.Vmacs {
		got := repeats(out.Gets, v.Name)
		why := slices.ContainsFunc(out.Why, func(w Why) bool { return w.Who == v.Name && w.Text != "" && w.Text != "delivered" })
		if got == why {
			t.Errorf("%s: %s got the frame: %v, has a reason why not: %v", s.Steps[step].String(), v.Name, got, why)
		}
	}
}

// rowScenarios makes a scenario of each topology of the table.
func rowScenarios(t *testing.T) []string {
	t.Helper()
	src, err := os.ReadFile("../testdata/macvlan.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	var b *strings.Builder
	var vmacs []string
	for _, line := range strings.Split(string(src), "\n") {
		line = strings.TrimSpace(line)
		w := strings.Fields(line)
		switch {
		case line == "" || line[0] == '#':
		case w[0] == "topology":
			if b != nil {
				list = append(list, b.String())
			}
			b, vmacs = &strings.Builder{}, nil
			fmt.Fprintf(b, "title %s\n", strings.TrimPrefix(line, "topology "))
			if strings.Contains(line, "mtu 9000") {
				fmt.Fprintln(b, "parent mtu 9000")
			}
			fmt.Fprintln(b, "name SUB 01:00:5e:11:22:33\nname unsub 01:00:5e:44:55:66")
		case w[0] == "mtu":
		case w[0] == "vmac":
			vmacs = append(vmacs, w[1])
			fmt.Fprintln(b, rowVmac(w[1:]))
		case w[0] == "set":
			text := strings.Replace(line, "wire down", "parent carrier off", 1)
			if w[2] == "promisc" || w[2] == "allmulti" {
				text += " on"
			}
			fmt.Fprintln(b, text)
		default:
			b.WriteString(rowStep(t, line, vmacs))
		}
	}
	return append(list, b.String())
}

func rowVmac(w []string) string {
	out := "vmac " + w[0] + " mode " + strings.Replace(w[1], ",nodst", " flag nodst", 1)
	if len(w[2]) == 2 {
		out += " address 02:00:00:00:01:" + w[2]
	} else if w[2] != "-" {
		out += " address " + w[2]
	}
	for _, o := range w[3:] {
		out += " " + strings.Replace(o, "=", " ", 1)
	}
	return out
}

var (
	rowTypes = map[string]string{"HOST": "host", "BCAST": "broadcast", "MCAST": "multicast", "OTHER": "other", "OUT": "out"}
	rowCount = regexp.MustCompile(`^(rx|tx|mc|rxerr|rxdrop|txdrop)(\d.*)$`)
)

func rowStep(t *testing.T, line string, vmacs []string) string {
	t.Helper()
	c := strings.Split(line, "|")
	for i := range c {
		c[i] = strings.TrimSpace(c[i])
	}
	from, what, _ := strings.Cut(c[1], ": ")
	what, options, _ := strings.Cut(what, ",")
	if from == "parent" {
		from = Host
	}
	var b strings.Builder
	fmt.Fprintf(&b, "send %s: %s", from, strings.ReplaceAll(what, "bcast", "broadcast"))
	for _, o := range strings.Fields(options) {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "type":
			value = "0x" + value
		case "tag":
			value = strings.ReplaceAll(value, "/", " tag ")
		}
		fmt.Fprintf(&b, " %s %s", key, value)
	}
	fmt.Fprintf(&b, "  # row %s\n", c[0])
	if strings.HasPrefix(c[6], "E") {
		return b.String() + "  answers " + c[6] + "\n  nobody\n"
	}
	vlan := strings.Contains(c[2], "(stack: OTHER)")
	if c[2] != "none" {
		for _, part := range strings.Split(c[2], ";") {
			who, types, _ := strings.Cut(part, " = ")
			rowGets(&b, strings.TrimSpace(who), types, vlan)
		}
	}
	rowGets(&b, Stack, c[3], false)
	rowGets(&b, Tap, c[4], false)
	rowGets(&b, Wire, c[5], false)
	if c[2] == "none" && c[3] == "no" && c[4] == "no" && c[5] == "no" {
		b.WriteString("  nobody\n")
	}
	moved := map[string]string{}
	for _, part := range strings.Split(c[6], ";") {
		var who []string
		counts := ""
		for _, w := range strings.Fields(part) {
			if f := rowCount.FindStringSubmatch(w); f != nil {
				word := map[string]string{"rx": "rx", "tx": "tx", "mc": "multicast", "rxerr": "rx-errors", "rxdrop": "rx-dropped", "txdrop": "tx-dropped"}[f[1]]
				counts += " " + word + " " + f[2]
			} else {
				who = append(who, w)
			}
		}
		for _, n := range who {
			moved[n] = counts
		}
	}
	for _, n := range append(slices.Clone(vmacs), Port) {
		if moved[n] == "" {
			moved[n] = " nothing"
		}
		fmt.Fprintf(&b, "  %s counts%s\n", n, moved[n])
	}
	return b.String()
}

func rowGets(b *strings.Builder, who, cell string, vlan bool) {
	if cell == "no" {
		return
	}
	cell, _, _ = strings.Cut(cell, " (")
	cell, _, _ = strings.Cut(cell, " [")
	for _, one := range strings.Split(cell, ",") {
		typ, _, _ := strings.Cut(strings.TrimSpace(one), " ")
		fmt.Fprintf(b, "  %s get %s", who, rowTypes[typ])
		if vlan {
			b.WriteString(" stack-type other")
		}
		b.WriteByte('\n')
	}
}
