package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// report has a series of every kind of figure.
func report() *Report {
	find := func(key string) Case {
		cases, err := Select(true, []string{key})
		if err != nil {
			panic(err)
		}
		return cases[0]
	}
	two := func(c Case, a, b float64) Result {
		r := Result{Case: c, Series: []Series{series("kernel macvlan", a, a+1, a+2), series("umacvlan", b, b+1, b+2)}}
		r.Series[1].Path = "ring → tap"
		for i := range r.Series {
			s := r.Series[i].with("Gbit/s", a/10, b/10, a/10).with(Loss, 0, 1, 2)
			for k := range s.Samples {
				s.Samples[k].Latency = latencies([]uint32{3000, 1000 * uint32(k+1), 9000})
			}
		}
		return r
	}
	results := []Result{
		two(find("tcp-in"), 20, 10), two(find("frames-in"), 600, 400), two(find("frames-in-512"), 500, 400), two(find("frames-in-mix"), 400, 400),
		two(find("request-in"), 60, 30), two(find("loss-in-100k"), 100, 99), two(find("loss-in-200k"), 200, 199),
		two(find("frames-in-vmacs-16"), 3, 2), two(find("frames-in-vmacs-256"), 2, 2),
	}
	results[0].Series[1].Samples[0].Drops = map[string]uint64{"tap_down": 2}
	results[0].Series[1].Samples[1].Drops = map[string]uint64{"tap_down": 5, "wire_busy": 0}
	r := NewReport(Quick(), "umacvlan bench <x>", time.Unix(1e9, 0).UTC(), results, []string{"VDE is not installed & so on"})
	r.Machine = Machine{"6.18", "a <CPU>", 2, "amd64", "go1.26"}
	return r
}

func TestText(t *testing.T) {
	r := report()
	r.Results = r.Results[:1]
	r.Verdicts = r.Results[0].Verdicts()
	var out strings.Builder
	if err := r.WriteText(&out, false); err != nil {
		t.Fatal(err)
	}
	const want = `Linux 6.18, 2 × a <CPU>, amd64, go1.26
Medians of 5 repetitions of 250 ms, taking turns; in brackets the smallest and the largest.
VDE is not installed & so on

traffic        contender                                ratio
TCP wire→vmac  kernel macvlan  21.0 (20.0–22.0) Gbit/s  
               umacvlan        11.0 (10.0–12.0) Gbit/s  0.52 (0.50–0.55)

  TCP wire→vmac, kernel macvlan: loss % 1.00 (0.00–2.00)
  TCP wire→vmac, umacvlan: loss % 1.00 (0.00–2.00), dropped 7 tap_down

goal, against kernel macvlan unless said        measured  must    aim     
TCP 1 stream wire→vmac                          0.524     ≥ 0.78  ≥ 0.95  missed
CPU seconds per GB of the whole system, TCP in  -         ≤ 1.6   ≤ 1.2   not measured: there is no CPU s/GB
TCP in, against Open vSwitch netdev (TSO on)    -         ≥ 1.3           not measured: ovs took no part
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	out.Reset()
	if err := r.WriteText(&out, true); err != nil || !strings.Contains(out.String(), "umacvlan: ring → tap, Gbit/s 2.00 (1.00–2.00), loss %") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// Somebody else's switch that failed is named in every form, without figures.
func TestFailed(t *testing.T) {
	r := report()
	for i := range r.Results {
		r.Results[i].Series = append(r.Results[i].Series, Series{Contender: "Open vSwitch netdev", Failed: "no answer <within> 15s"})
	}
	r = NewReport(Quick(), r.Command, r.Started, r.Results, nil)
	r.Broken = "the end"
	var text, js, stat strings.Builder
	if err := errors.Join(r.WriteText(&text, false), r.WriteJSON(&js), r.WriteBenchstat(&stat)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`               Open vSwitch netdev  failed`,
		"\nThe run ended early, these are the cases that it had finished: the end\n",
		"\n  TCP wire→vmac, Open vSwitch netdev: failed: no answer <within> 15s\n",
		"not measured: Open vSwitch netdev failed\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if !strings.Contains(js.String(), `"failed": "no answer <within> 15s"`) || strings.Contains(stat.String(), "Open") {
		t.Errorf("%s\n%s", js.String(), stat.String())
	}
	dir := t.TempDir()
	if err := r.WritePictures(dir); err != nil {
		t.Fatal(err)
	}
	if page, err := os.ReadFile(filepath.Join(dir, "index.html")); err != nil || !strings.Contains(string(page), "<td>Open vSwitch netdev<td>failed<td>\n") {
		t.Errorf("%v\n%s", err, page)
	}
}

// The JSON form has every key it had, and reads back as what it was.
func TestJSON(t *testing.T) {
	var out bytes.Buffer
	r := report()
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var back Report
	dec := json.NewDecoder(bytes.NewReader(out.Bytes()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&back, r) {
		t.Errorf("read back:\n%+v\nwas:\n%+v", &back, r)
	}
	var raw map[string]any
	if err := json.Unmarshal(out.Bytes(), &raw); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"version", "command", "started", "repetitions", "warmup_ms", "last_ms", "absent",
		"machine.kernel", "machine.cpu", "machine.cpus", "machine.arch", "machine.go",
		"results.case.key", "results.case.title", "results.case.unit", "results.case.kind", "results.case.way", "results.case.scene.vmacs", "results.case.scene.mode",
		"results.case.goals.row", "results.case.goals.must", "results.series.contender", "results.series.samples.value", "results.series.samples.metrics",
		"results.series.samples.latency.share", "results.series.samples.latency.µs",
		"verdicts.goal.row", "verdicts.case", "verdicts.value", "verdicts.word",
	} {
		var at any = raw
		for key := range strings.SplitSeq(path, ".") {
			if list, ok := at.([]any); ok && len(list) > 0 {
				at = list[0]
			}
			m, _ := at.(map[string]any)
			if at = m[key]; at == nil {
				t.Errorf("no %s", path)
				break
			}
		}
	}
}

func TestBenchstat(t *testing.T) {
	var out bytes.Buffer
	if err := report().WriteBenchstat(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	n := 0
	for _, line := range lines {
		if !strings.HasPrefix(line, "Benchmark") {
			if !regexp.MustCompile(`^[a-z]+: .`).MatchString(line) {
				t.Errorf("%q is no setting", line)
			}
			continue
		}
		n++
		fields := strings.Fields(line)
		if len(fields)%2 != 0 || fields[1] != "1" { // name, count, pairs of value and unit
			t.Errorf("%q", line)
		}
		units := map[string]bool{}
		for i := 3; i < len(fields); i += 2 {
			if units[fields[i]] {
				t.Errorf("%s twice: %q", fields[i], line)
			}
			units[fields[i]] = true
		}
	}
	if n != 9*2*3 {
		t.Errorf("%d lines", n)
	}
	if want := "BenchmarkForwarding/traffic=tcp/way=in/streams=1/contender=kernel_macvlan-2\t1\t20 Gbit/s\t0 loss-pct"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
}

func TestPictures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if err := report().WritePictures(dir); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.Name(), ".svg") {
			wellFormed(t, f.Name(), b)
		}
	}
	if got, want := strings.Join(names, " "), "index.html loss-in.svg request-in.svg size-in.svg vmacs.svg"; got != want {
		t.Errorf("wrote %s, want %s", got, want)
	}
	page, _ := os.ReadFile(filepath.Join(dir, "index.html"))
	for _, want := range []string{
		"umacvlan bench &lt;x&gt;", "a &lt;CPU&gt;", "VDE is not installed &amp; so on", "TCP wire→vmac", "0.52", "missed", "21.0 (20.0–22.0) Gbit/s",
	} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page has no %q", want)
		}
	}
	if n := bytes.Count(page, []byte("<svg")); n != 4 {
		t.Errorf("%d pictures in the page", n)
	}
	if m := regexp.MustCompile(`(?i)(src|href|url|@import)\s*[=(]`).Find(page); m != nil {
		t.Errorf("the page is not self-contained: %s", m)
	}
	one := report()
	one.Results[1].Series = append(one.Results[1].Series, series("VDE", 5).with("Gbit/s", 5))
	for _, p := range one.Pictures() {
		if bytes.Contains(p.SVG, []byte("VDE")) {
			t.Errorf("%s has a line of one point", p.Name)
		}
	}
	empty := report()
	empty.Results = empty.Results[:1]
	if err := empty.WritePictures(dir); err != nil {
		t.Fatal(err)
	}
	if page, _ := os.ReadFile(filepath.Join(dir, "index.html")); !bytes.Contains(page, []byte("--full --svg DIR")) {
		t.Error("the page without pictures doesn't say how to get them")
	}
}

func wellFormed(t *testing.T, name string, b []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}
