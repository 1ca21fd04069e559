package bench

import (
	"fmt"

	"github.com/umacvlan/umacvlan/classify"
)

var (
	pair   = Scene{Vmacs: 2, Mode: classify.Bridge}
	arrows = map[Way]string{In: "wire→vmac", Out: "vmac→wire", Sibling: "vmac→vmac", Host: "wire→host"}
)

// The keys of metrics that samples carry beside their value.
const (
	Jain        = "jain fairness"
	Loss        = "loss %"
	P99         = "p99 µs"
	Retransmits = "retransmits"
	CPUPerGB    = "CPU s/GB"
	CPUPerFrame = "CPU s/Mframe"
	Allocs      = "allocs/frame"
)

// Cases are all, in the order in which they run.
func Cases() []Case {
	var cases []Case
	for _, list := range [][]Case{headline(), sizes(), crowds(), streams(), modes(), offers(), checks()} {
		cases = append(cases, list...)
	}
	return cases
}

func tcpCase(key, title string, way Way) Case {
	return Case{Key: key, Title: title, Unit: "Gbit/s", Kind: TCP, Way: way, Scene: pair, Streams: 1}
}

func framesCase(key, title string, way Way) Case {
	return Case{Key: key, Title: title, Unit: "kframes/s", Kind: Frames, Way: way, Scene: pair, Size: Smallest}
}

func requestCase(key, title string, way Way) Case {
	return Case{Key: key, Title: title, Unit: "µs", Kind: Request, Way: way, Scene: pair, Least: true}
}

// noAllocs is met by none to two digits: the daemon has a household of its own,
// whose allocations are counted too.
func noAllocs(what string) Goal {
	return Goal{Row: "allocations per frame, " + what, Metric: Allocs, Own: true, Most: true, Must: 0.005}
}

// headline is what the project promises something about.
func headline() []Case {

	in := tcpCase("tcp-in", "TCP wire→vmac", In)
	in.Floor, in.Goals = 0.6, []Goal{
		{Row: "TCP 1 stream wire→vmac", Must: 0.78, Aim: 0.95},
		{Row: "CPU seconds per GB of the whole system, TCP in", Metric: CPUPerGB, Most: true, Must: 1.6, Aim: 1.2},
		{Row: "TCP in, against Open vSwitch netdev (TSO on)", Against: "ovs", Must: 1.3},
	}
	out := tcpCase("tcp-out", "TCP vmac→wire", Out)
	out.Floor, out.Goals = 0.6, []Goal{{Row: "TCP 1 stream vmac→wire", Must: 0.75, Aim: 0.95}}
	sibling := tcpCase("tcp-sibling", "TCP vmac→vmac", Sibling)
	sibling.Floor, sibling.Goals = 0.6, []Goal{{Row: "TCP 1 stream vmac→vmac (bridge)", Must: 0.70, Aim: 0.9}}
	eight := tcpCase("tcp-in-8", "TCP wire→8 vmacs, 8 streams", In)
	eight.Scene.Vmacs, eight.Streams, eight.Spread = 8, 8, true
	eight.Goals = []Goal{
		{Row: "TCP 8 streams to 8 vmacs, sum", Must: 0.75, Aim: 0.95},
		{Row: "TCP 8 streams to 8 vmacs, Jain fairness", Metric: Jain, Own: true, Must: 0.95, Aim: 0.99},
	}
	fin := framesCase("frames-in", "60-byte frames wire→vmac", In)
	fin.Floor, fin.Goals = 0.5, []Goal{
		{Row: "60-byte frames wire→vmac, from one flat-out sender", Must: 0.75, Aim: 0.95},
		{Row: "60-byte frames wire→vmac, loss in %", Metric: Loss, Own: true, Most: true, Must: 0.1},
		{Row: "60-byte in, against Open vSwitch netdev (TSO on)", Against: "ovs", Must: 2},
		noAllocs("in"),
	}
	fout := framesCase("frames-out", "60-byte frames vmac→wire", Out)
	fout.Floor, fout.Goals = 0.35, []Goal{{Row: "60-byte frames vmac→wire", Must: 0.65, Aim: 0.9}, noAllocs("out")}
	request := requestCase("request-in", "UDP request/response wire→vmac", In)
	request.Goals = []Goal{
		{Row: "UDP request/response p50", Most: true, Must: 1, Aim: 0.5},
		{Row: "UDP request/response p99", Metric: P99, Most: true, Must: 1.5, Aim: 1},
	}
	shaped := tcpCase("tcp-in-1g", "TCP wire→vmac, link of 1 Gbit/s", In)
	shaped.Shaped, shaped.Goals = 1e9, []Goal{
		{Row: "TCP in on a parent shaped to 1 Gbit/s, rate", Must: 0.99, Aim: 1},
		{Row: "TCP in on a parent shaped to 1 Gbit/s, retransmits", Metric: Retransmits, Most: true, Must: 1.1, Aim: 1},
	}
	all := framesCase("broadcast-64", "copies of broadcasts to 64 vmacs", In)
	all.Unit, all.Broadcast, all.Scene.Vmacs, all.Scene.Crowd = "kcopies/s", true, 0, 64
	all.Goals = []Goal{{Row: "broadcast from the wire to 64 vmacs, copies/s", Must: 0.25, Aim: 0.33}, noAllocs("broadcast")}
	host := tcpCase("tcp-host", "TCP wire→host", Host)
	host.Sides = []Side{{"none", "no vmacs", Scene{Mode: classify.Bridge}}, {"kernel", "kernel macvlan", pair}, {"umacvlan", "umacvlan", pair}}
	host.Goals = []Goal{{Row: "host's own TCP through the parent, daemon running against not", Must: 0.97, Aim: 1}}
	flood := requestCase("request-flood", "UDP request/response beside a flooded vmac", In)
	flood.Flood, flood.Goals = true, []Goal{
		{Row: "quiet vmac's p99 while a sibling is flooded at full rate", Metric: P99, Most: true, Must: 3, Aim: 1.2},
	}
	idle := Case{
		Key: "idle-64", Title: "CPU of the switch, 64 idle vmacs", Unit: "% of a core", Kind: Idle, Way: In, Least: true,
		Scene: Scene{Vmacs: 1, Crowd: 63, Mode: classify.Bridge},
		Sides: []Side{{"umacvlan", "umacvlan", Scene{Vmacs: 1, Crowd: 63, Mode: classify.Bridge}}},
		Goals: []Goal{{Row: "idle CPU with 64 vmacs, % of a core", Own: true, Most: true, Must: 0.3}},
	}
	waking := tcpCase("tcp-in-waking", "TCP wire→vmac, with the default waking", In)
	waking.Sides = []Side{{"umacvlan:waking=sleep", "umacvlan waking=sleep", pair}, {"umacvlan", "umacvlan", pair}}
	waking.Goals = []Goal{{Row: "TCP in with the default waking against the same without its yield phase", Must: 0.97, Aim: 1}}
	cases := []Case{in, out, sibling, eight, fin, fout, request, waking, shaped, all, host, flood, idle}
	for i := range cases {
		cases[i].Quick, cases[i].Wide = true, len(cases[i].Sides) == 0
	}
	busy := framesCase("busy-4096", "60-byte frames to 1 vmac of 4096", In)
	busy.Scene = Scene{Vmacs: 1, Crowd: 4095, Mode: classify.Bridge}
	busy.Sides = []Side{{"umacvlan", "1 alone", Scene{Vmacs: 1, Mode: classify.Bridge}}, {"umacvlan", "1 of 4096", busy.Scene}}
	busy.Goals = []Goal{{Row: "1 busy vmac among 4096, against 1 alone", Must: 0.97, Aim: 1}}
	return append(cases, busy)
}

// sizes vary the length of frames, in every direction.
func sizes() (cases []Case) {
	for _, way := range []Way{In, Out, Sibling} {
		for _, size := range []int{Smallest, 512, Largest, Super, Mix} {
			key := fmt.Sprintf("frames-%s-%s", way, sizeName(size))
			title := sizeName(size) + "-byte frames " + arrows[way]
			switch {
			case size == Smallest && way != Sibling:
				continue // headlines
			case size == Smallest:
				key = "frames-sibling"
			case size == Super:
				title = "64 KiB super-frames " + arrows[way]
			case size == Mix:
				title = "mixed frames " + arrows[way]
			}
			c := framesCase(key, title, way)
			c.Size = size
			if size == Super { // which some cut into segments
				c.Unit = "Gbit/s"
			}
			if key == "frames-sibling" {
				c.Goals = []Goal{noAllocs("sibling")}
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// crowds vary how many vmacs share the work.
func crowds() (cases []Case) {
	for _, n := range []int{1, 16, 256, 4096} {
		c := framesCase(fmt.Sprintf("frames-in-vmacs-%d", n), fmt.Sprintf("60-byte frames to %d vmacs in turn", n), In)
		c.Scene, c.Spread = Scene{Crowd: n, Mode: classify.Bridge}, true
		cases = append(cases, c)
	}
	return cases
}

// streams vary how many connections share the work, and what disturbs them.
func streams() (cases []Case) {
	for _, n := range []int{8, 64} {
		for _, way := range []Way{In, Out} {
			c := tcpCase(fmt.Sprintf("tcp-%s-streams-%d", way, n), fmt.Sprintf("TCP %s, %d streams", arrows[way], n), way)
			c.Streams = n
			cases = append(cases, c)
		}
	}
	for _, way := range []Way{In, Out} {
		for _, rate := range []uint64{200e6, 1e9} {
			name := map[uint64]string{200e6: "200m", 1e9: "1g"}[rate]
			if way == In && rate == 1e9 {
				continue // a headline
			}
			c := tcpCase(fmt.Sprintf("tcp-%s-%s", way, name), fmt.Sprintf("TCP %s, link of %d Mbit/s", arrows[way], rate/1e6), way)
			c.Shaped = rate
			cases = append(cases, c)
		}
	}
	c := tcpCase("tcp-in-churn", "TCP wire→vmac, others coming and going", In)
	c.Churn = true
	return append(cases, c)
}

// modes vary the vmacs' mode and the devices' offloads.
func modes() (cases []Case) {
	for _, m := range []classify.Mode{classify.Private, classify.Vepa, classify.Passthru, classify.Source} {
		scene := Scene{Vmacs: 2, Mode: m}
		if m == classify.Passthru {
			scene.Vmacs = 1 // it has the parent to itself
		}
		for _, way := range []Way{In, Out} {
			t := tcpCase(fmt.Sprintf("tcp-%s-%s", way, m), fmt.Sprintf("TCP %s, mode %s", arrows[way], m), way)
			f := framesCase(fmt.Sprintf("frames-%s-%s", way, m), fmt.Sprintf("60-byte frames %s, mode %s", arrows[way], m), way)
			t.Scene, f.Scene = scene, scene
			cases = append(cases, t, f)
		}
	}
	for _, way := range []Way{In, Out, Sibling} {
		c := tcpCase(fmt.Sprintf("tcp-%s-software", way), fmt.Sprintf("TCP %s, all offloads off", arrows[way]), way)
		c.Scene.Software = true
		cases = append(cases, c)
	}
	return cases
}

// offers vary how much is offered: frames per second, or one request at a time.
func offers() (cases []Case) {
	for _, way := range []Way{In, Out} {
		for _, rate := range []int{100, 200, 300, 400, 500, 600, 700} {
			c := framesCase(fmt.Sprintf("loss-%s-%dk", way, rate), fmt.Sprintf("%d,000 60-byte frames a second %s", rate, arrows[way]), way)
			c.Rate = rate * 1000
			cases = append(cases, c)
		}
	}
	for _, way := range []Way{Out, Sibling} {
		cases = append(cases, requestCase("request-"+string(way), "UDP request/response "+arrows[way], way))
	}
	return cases
}

// checks look at every frame.
func checks() (cases []Case) {
	for _, way := range []Way{In, Out, Sibling} {
		cases = append(cases, Case{
			Key: "checked-" + string(way), Title: "numbered mixed frames " + arrows[way], Unit: "kframes/s", Kind: Checked, Way: way,
			Scene: pair, Size: Mix, Rate: 50_000, Wide: true,
		})
	}
	return cases
}
