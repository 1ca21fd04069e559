package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// ReportVersion is that of the JSON form. It changes when a key is renamed or
// taken away.
const ReportVersion = 1

// Report is a run: what was measured, on what, and what became of the goals.
type Report struct {
	Version     int       `json:"version"`
	Command     string    `json:"command"`
	Started     time.Time `json:"started"`
	Machine     Machine   `json:"machine"`
	Repetitions int       `json:"repetitions"`
	WarmupMS    int64     `json:"warmup_ms"`
	LastMS      int64     `json:"last_ms"`
	Results     []Result  `json:"results"`
	Verdicts    []Verdict `json:"verdicts"`
	Absent      []string  `json:"absent,omitempty"` // contenders that could not take part, and why
	Broken      string    `json:"broken,omitempty"` // why the run ended early; only finished cases are here
}

// Machine is what figures belong to.
type Machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Arch   string `json:"arch"`
	Go     string `json:"go"`
}

// NewReport makes a report of results.
func NewReport(o Options, command string, started time.Time, results []Result, absent []string) *Report {
	r := &Report{
		Version: ReportVersion, Command: command, Started: started, Machine: ThisMachine(),
		Repetitions: o.Repetitions, WarmupMS: o.Warmup.Milliseconds(), LastMS: o.Last.Milliseconds(),
		Results: results, Absent: absent,
	}
	for _, result := range results {
		r.Verdicts = append(r.Verdicts, result.Verdicts()...)
	}
	return r
}

// ThisMachine describes where the program runs.
func ThisMachine() Machine {
	m := Machine{Kernel: "unknown", CPU: "unknown", CPUs: runtime.NumCPU(), Arch: runtime.GOARCH, Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	return m
}

func (m Machine) String() string {
	return fmt.Sprintf("Linux %s, %d × %s, %s, %s", m.Kernel, m.CPUs, m.CPU, m.Arch, m.Go)
}

// WriteJSON prints the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// units are how benchstat is to be told of metrics; it wants no blanks.
var units = strings.NewReplacer(" ", "-", "%", "pct", "µs", "us")

// WriteBenchstat prints every sample in Go's benchmark format, with the
// contender as a key: "benchstat -col /contender FILE" compares them.
func (r *Report) WriteBenchstat(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: linux\ngoarch: %s\npkg: github.com/umacvlan/umacvlan/bench\ncpu: %s\nkernel: %s\n", r.Machine.Arch, r.Machine.CPU, r.Machine.Kernel)
	for _, result := range r.Results {
		for _, s := range result.Series {
			name := fmt.Sprintf("BenchmarkForwarding/%s/contender=%s-%d", result.Case.Name(), strings.ReplaceAll(s.Contender, " ", "_"), r.Machine.CPUs)
			for _, sample := range s.Samples {
				fmt.Fprintf(&b, "%s\t1\t%.6g %s", name, sample.Value, units.Replace(result.Case.Unit))
				for _, k := range slices.Sorted(maps.Keys(sample.Metrics)) {
					if k != result.Case.Unit {
						fmt.Fprintf(&b, "\t%.6g %s", sample.Metrics[k], units.Replace(k))
					}
				}
				b.WriteByte('\n')
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
