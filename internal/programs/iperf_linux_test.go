package programs

import (
	"testing"
)

// iperf3 moves bytes through a vmac: TCP and UDP, both ways.
func TestIperf(t *testing.T) {
	need(t, "iperf3:iperf3", "ping:iputils-ping")
	p := newPair(t)
	const much, some = 32 << 20, 2 << 20
	p.other.start("iperf3", "--server", "--forceflush").waitFor("Server listening")
	for _, c := range []struct {
		name string
		args []string
		all  float64
	}{
		{"TCP from the vmac", []string{"-n", "32M"}, much},
		{"TCP to the vmac", []string{"-n", "32M", "-R"}, much},
		{"UDP from the vmac", []string{"-u", "-b", "20M", "-n", "2M"}, some},
		{"UDP to the vmac", []string{"-u", "-b", "20M", "-n", "2M", "-R"}, some},
	} {
		type sum struct {
			Bytes   float64
			Packets float64
			Lost    float64 `json:"lost_packets"`
			Bits    float64 `json:"bits_per_second"`
		}
		var report struct {
			Error string
			End   struct {
				Sum         sum
				SumReceived sum `json:"sum_received"`
			}
		}
		p.within(c.name, func() bool {
			out, _, err := p.guest.try(append([]string{"iperf3", "--json", "-c", "10.0.0.9"}, c.args...)...)
			report.Error = ""
			if e := unmarshal(out, &report); e != nil {
				t.Fatalf("%v %v %s", e, err, out)
			}
			// The server is busy with the last one's end for a moment.
			return err == nil && report.Error == ""
		})
		end := report.End
		if len(c.args) == 2 || len(c.args) == 3 {
			// The sender is done when its last bytes are on their way.
			if end.SumReceived.Bytes < c.all/2 {
				t.Errorf("%s: %.0f of %.0f bytes arrived", c.name, end.SumReceived.Bytes, c.all)
			}
			t.Logf("%s: %.0f Mbit/s", c.name, end.SumReceived.Bits/1e6)
			continue
		}
		if end.Sum.Packets == 0 || end.Sum.Lost > end.Sum.Packets/2 {
			t.Errorf("%s: %.0f of %.0f packets lost", c.name, end.Sum.Lost, end.Sum.Packets)
		}
		t.Logf("%s: %.0f of %.0f packets lost", c.name, end.Sum.Lost, end.Sum.Packets)
	}
	p.carried(p.guest, "vmac0", much/2+some/2, much/2+some)
}
