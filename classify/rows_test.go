package classify

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// rows are the observations of a real kernel that are the decision's to
// reproduce: number, topology, who sends what, what each vmac receives (host,
// broadcast, multicast, other; "-" is none), then P if the parent's own stack
// gets the frame and W if the wire does. "vb" injects on the wire; any other
// sender is a vmac, whose own address is the source unless one is given.
// Options: len= octets, type= ethertype and what follows, in hexadecimal.
const rows = `
1   MIX vb ext>p1      p1=host
2   MIX vb ext>v1      v1=host
3   MIX vb ext>b1      b1=host
4   MIX vb ext>sn      - P
5   MIX vb ext>bd      - P
6   MIX vb ext>unknown - P
7   MIX vb ext>parent  - P
8   MIX vb ext>bcast   b1,b2,b3,p1,p2,v1,v2=broadcast P
9   MIX vb ext>SUB     b1,b2,p1,v1=multicast P
10  MIX vb ext>unsub   - P
11  MIX vb ext>STP     - P
12  MIX vb ext>allhosts b1,b2,b3,p1,p2,v1,v2=multicast P
13  MIX vb listed>unknown s1,s2=other P
14  MIX vb listed>parent  s1,s2=host P
15  MIX vb listed>b1   b1=host;s1,s2=other
16  MIX vb listed>s1   s1=host;s2=other P
17  MIX vb listed>bcast b1,b2,b3,p1,p2,s1,s2,v1,v2=broadcast P
18  MIX vb listed>SUB  b1,b2,p1,s1,s2,v1=multicast P
19  MIX vb listed>unsub s1,s2=multicast P
20  MIX vb p1>bcast    p1=broadcast
21  MIX vb p1>SUB      p1=multicast
22  MIX vb p1>unsub    p1=multicast
23  MIX vb p1>p1       p1=host
24  MIX vb p1>p2       p2=host
25  MIX vb p1>b1       b1=host
26  MIX vb p1>parent   - P
27  MIX vb v1>bcast    b1,b2,b3,v2=broadcast P
28  MIX vb v1>SUB      b1,b2=multicast P
29  MIX vb v1>v1       v1=host
30  MIX vb v1>v2       v2=host
31  MIX vb v1>p1       p1=host
32  MIX vb b1>bcast    v1,v2=broadcast P
33  MIX vb b1>SUB      v1=multicast P
34  MIX vb b1>b1       b1=host
35  MIX vb b1>b2       b2=host
36  MIX vb b1>v1       v1=host
37  MIX vb sn>bcast    sn=broadcast
38  MIX vb sn>b1       b1=host
39  MIX vb s1>bcast    s1=broadcast
40  MIX vb bd>bcast    b1,b2,b3,p1,p2,v1,v2=broadcast P
41  MIX vb parent>bcast b1,b2,b3,p1,p2,v1,v2=broadcast P
42  MIX vb parent>parent - P
43  MIX vb parent>b1   b1=host
44  MIX vb mcsrc>b1    b1=host
45  MIX vb bcast>bcast b1,b2,b3,p1,p2,v1,v2=broadcast P
46  MIX vb zero>b1     b1=host
47  MIX vb ext>zero    - P
48  MIX p1 >p2         - W
49  MIX p1 >b1         - W
50  MIX p1 >parent     - W
51  MIX p1 >p1         - W
52  MIX p1 >bcast      - W
53  MIX p1 >unknown    - W
54  MIX v1 >v2         - W
55  MIX v1 >b1         - W
56  MIX v1 >v1         - W
57  MIX v1 >bcast      - W
58  MIX b1 >b2         b2=host
59  MIX b1 >b1         b1=host
60  MIX b1 >v1         - W
61  MIX b1 >p1         - W
62  MIX b1 >sn         - W
63  MIX b1 >bd         - W
64  MIX b1 >parent     - W
65  MIX b1 >unknown    - W
66  MIX b1 >bcast      b2,b3=broadcast W
67  MIX b1 >SUB        b2=multicast W
68  MIX b1 >unsub      - W
69  MIX s1 >b1         - W
70  MIX s1 >s2         - W
71  MIX s1 >bcast      - W
72  MIX b1 b2>bcast    b2,b3=broadcast W
73  MIX b1 listed>b2   b2=host;s1,s2=other
74  MIX b1 listed>bcast b2,b3=broadcast W
75  MIX v1 ext>unknown - W
78  MIX vb ext>b1    len=14 b1=host
79  MIX vb ext>bcast len=14 b1,b2,b3,p1,p2,v1,v2=broadcast P
80  MIX vb ext>b1    len=15 b1=host
81  MIX vb ext>bcast len=15 b1,b2,b3,p1,p2,v1,v2=broadcast P
82  MIX b1 >bcast    len=14 b2,b3=broadcast W
83  MIX b1 >bcast    len=13 -
84  MIX vb ext>b1    len=64 type=8100000a88b5 b1=host
85  MIX vb ext>bcast len=64 type=8100000a88b5 b1,b2,b3,p1,p2,v1,v2=broadcast P
86  MIX vb ext>b1    len=64 type=8100600088b5 b1=host
87  MIX vb ext>bcast len=64 type=8100600088b5 b1,b2,b3,p1,p2,v1,v2=broadcast P
88  MIX vb ext>b1    len=64 type=88a8001488b5 b1=host
89  MIX vb ext>bcast len=64 type=88a8001488b5 b1,b2,b3,p1,p2,v1,v2=broadcast P
90  MIX vb ext>b1    len=64 type=88a800148100000a88b5 b1=host
91  MIX b1 >b2       len=64 type=8100000a88b5 b2=host
92  MIX b1 >bcast    len=64 type=8100000a88b5 b2,b3=broadcast W
93  MIX vb ext>b1    len=16 type=8100000a88b5 -
94  MIX vb ext>pause type=8808 - P
95  MIX vb ext>bcast type=8808 - P
96  MIX vb ext>b1    type=8808 b1=host
97  MIX vb p1>bcast  type=8808 p1=broadcast
98  MIX vb listed>bcast type=8808 s1,s2=broadcast P
99  MIX b1 >bcast    type=8808 - W
100 MIX vb ext>lldp  type=88cc - P
101 MIX vb ext>eapol type=888e - P
102 MIX vb ext>lacp  type=8809 - P
103 MIX vb ext>bcast type=0806 b1,b2,b3,p1,p2,v1,v2=broadcast P
104 MIX vb ext>SUB6  b1,b2,p1,v1=multicast P
105 MIX vb ext>ffffffff b1,b2,b3,p1,p2,v1,v2=multicast P
110 FRAG vb ext>b1   len=1058 type=0800 b1=host
114 FRAG b1 >SUB     len=1058 type=0800 b2=multicast W
115 FRAG vb ext>SUB  len=1058 type=0800 b1,b2,p1=multicast P
118 PT vb ext>unknown pt=host
119 PT vb ext>parent pt=host
120 PT vb ext>bcast  pt=broadcast P
121 PT vb ext>SUB    pt=multicast P
122 PT vb ext>unsub  - P
123 PT vb pt>unknown pt=host
124 PT vb pt>bcast   pt=broadcast
125 PT vb pt>unsub   pt=multicast
126 PT pt >bcast     - W
127 PT pt ext>pt     - W
129 PTdown vb ext>unknown -
130 PTdown vb ext>parent  -
131 PTdown vb ext>bcast   - P
132 NODST vb listed>b1     s1,s2=other
133 NODST vb listed>bcast  s1,s2=broadcast
134 NODST vb listed>parent s1,s2=host
135 NODST vb listed>s1     s1=host;s2=other
136 NODST vb ext>b1        b1=host
137 NODSTs1 vb listed>b1   s2=other
138 NODSTs1s2 vb listed>bcast -
139 NODSTb1 b1 >b2         s1=other
140 NODSTb1 b1 >bcast      b2=broadcast W
141 OWNLIST vb s1>bcast    s1=broadcast;s1=broadcast
142 VRRPp vb virt>vrrp     vr=multicast
143 VRRPp vb ext>virt      vr=host
144 VRRPb vb virt>vrrp     o1=multicast P
145 VRRPb vb ext>virt      vr=host
146 VRRPv vb virt>vrrp     o1=multicast P
147 VRRPv vb ext>virt      vr=host
148 MTU b1 >bcast len=1018 b2=broadcast W
149 MTU b1 >bcast len=1019 - W
150 MTU b1 >b2    len=1514 b2=host
151 MTU vb ext>b2 len=1514 b2=host
152 MTU vb ext>bcast len=1514 b1,b2=broadcast P
154 JUMBO vb ext>b1  len=9014 b1=host
155 JUMBO b1 >bcast  len=9014 b2=broadcast W
157 BCQ b1 >bcast    b2=broadcast W
158 BCQ vb ext>bcast b1,b2=broadcast P
159 PROMISC vb ext>unknown - P
160 PROMISC vb ext>unsub   b1=multicast P
161 PROMISC b2 >unsub      b1=multicast W
162 ALLMULTI vb ext>unsub  b1=multicast P
163 PARENTDOWN b1 >b2      -
164 PARENTDOWN b1 >bcast   -
166 PROTO vb ext>bcast type=0806 p1,v1,b1,b2=broadcast P
167 PROTO vb ext>b1    type=0806 b1=host
168 PROTO vb ext>sol   type=86dd b1=multicast P
169 PROTO vb ext>sol2  type=86dd - P
170 PROTO vb ext>ra    type=86dd p1,v1,b1,b2=multicast P
171 PROTO vb ext>rs    type=86dd - P
171 PROTO vb ext>mld   type=86dd - P
172 PROTO vb ext>allhosts type=0800 p1,v1,b1,b2=multicast P
173 PROTO vb ext>igmp  type=0800 - P
173 PROTO vb ext>mdns  type=0800 - P
174 PROTO vb ext>bcast type=0800 len=314 p1,v1,b1,b2=broadcast P
175 PROTO vb ext>STP   type=0026 - P
175 PROTO vb ext>lacp  type=8809 - P
175 PROTO vb ext>eapol type=888e - P
175 PROTO vb ext>lldp  type=88cc - P
175 PROTO vb ext>ptp   type=88f7 - P
175 PROTO vb ext>cdp   type=0026 - P
176 PROTOjoined vb ext>STP   type=0026 b1=multicast P
176 PROTOjoined vb ext>lacp  type=8809 b1=multicast P
176 PROTOjoined vb ext>eapol type=888e b1=multicast P
176 PROTOjoined vb ext>lldp  type=88cc b1=multicast P
176 PROTOjoined vb ext>ptp   type=88f7 b1=multicast P
176 PROTOjoined vb ext>cdp   type=0026 b1=multicast P
176 PROTOjoined vb ext>pause type=8808 - P
177 PROTO vb virt>vrrp type=0800 - P
178 PROTO vb ext>virt  - P
179 PROTO vb ext>bcast type=0842 p1,v1,b1,b2=broadcast P
184 PARENTEQ vb ext>b1   b1=host
184 PARENTEQ vb ext>parent b1=host
185 PARENTEQ vb b1>bcast v1=broadcast P
205 BROADCASTMAC vb ext>bcast b2=broadcast P
205 BROADCASTMAC vb ext>01:02:03:04:05:06 b1=broadcast P
`

// More of the same, observed while this package was written.
const moreRows = `
301 MIX vb ext>b1    len=19 type=8100000a88b5 -
302 MIX vb ext>b1    len=20 type=8100000a88b5 b1=host
303 MIX vb ext>bcast len=19 type=88a8000a88b5 -
304 MIX b1 >b2       len=19 type=8100000a88b5 -
305 MIX b1 >b2       len=20 type=8100000a88b5 b2=host
306 MIX b1 >bcast    len=64 type=8100000a8808 b2,b3=broadcast W
307 MIX vb ext>bcast len=64 type=8100000a8808 - P
308 MIX vb ext>bcast len=64 type=8100000a8100000b8808 b1,b2,b3,p1,p2,v1,v2=broadcast P
309 MIX vb ext>bcast len=64 type=9100000a8808 b1,b2,b3,p1,p2,v1,v2=broadcast P
`

func TestRows(t *testing.T) {
	n := 0
	for _, line := range strings.Split(rows+moreRows, "\n") {
		if line == "" {
			continue
		}
		n++
		r := parseRow(line)
		t.Run(fmt.Sprintf("row=%s/%d", r.number, n), func(t *testing.T) { r.run(t, line) })
	}
}

type row struct {
	number string
	spec   *Spec
	from   int
	frame  []byte
	want   []string
	host   bool
	wire   bool
}

func parseRow(line string) row {
	f := strings.Fields(line)
	r := row{number: f[0], spec: topology(f[1]), from: FromWire}
	addr := map[string]MAC{}
	for i, v := range r.spec.Vmacs {
		addr[v.Name] = v.MAC
		if v.Name == f[2] {
			r.from = i
		}
	}
	mac := func(s string) MAC {
		if m, ok := addr[s]; ok {
			return m
		}
		return named(s)
	}
	src, dst, _ := strings.Cut(f[3], ">")
	if src == "" {
		src = f[2]
	}
	size, etherType := 60, []byte{0x88, 0xb5}
	for _, w := range f[4:] {
		switch {
		case w == "P":
			r.host = true
		case w == "W":
			r.wire = true
		case w == "-":
		case strings.HasPrefix(w, "len="):
			if _, err := fmt.Sscanf(w, "len=%d", &size); err != nil {
				panic(err)
			}
		case strings.HasPrefix(w, "type="):
			b, err := hex.DecodeString(w[5:])
			if err != nil {
				panic(err)
			}
			etherType = b
		default:
			for _, part := range strings.Split(w, ";") {
				who, typ, _ := strings.Cut(part, "=")
				for _, v := range strings.Split(who, ",") {
					r.want = append(r.want, v+"="+typ)
				}
			}
		}
	}
	slices.Sort(r.want)
	r.frame = make([]byte, 12, size+64)
	mac(dst).Put(r.frame)
	mac(src).Put(r.frame[6:])
	r.frame = append(r.frame, etherType...)
	r.frame = r.frame[:size]
	return r
}

func (r row) run(t *testing.T, line string) {
	table, err := NewTable(r.spec)
	if err != nil {
		t.Fatal(err)
	}
	var copies []Copy
	var v Verdict
	m := Meta{}
	if r.from == FromWire {
		m.Type = slowEthTypeTrans(slowMAC(r.frame), r.spec.Parent, 0)
		copies, v = table.Ingress(r.frame, m, nil)
	} else {
		copies, v = table.Egress(r.from, r.frame, m, nil)
	}
	var got []string
	for _, c := range copies {
		if c.Path != Skipped {
			got = append(got, fmt.Sprintf("%s=%v", r.spec.Vmacs[c.Vmac].Name, c.Type))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, r.want) || v.Host != r.host || v.Wire != r.wire {
		t.Errorf("%s\ngot  %v %+v\nwant %v host %v wire %v\n%v", line, got, v, r.want, r.host, r.wire, table.Explain(r.frame, r.from, m))
	}
	checkEqual(t, r.spec, table, r.frame, r.from, m)
}

// Rows 76, 77 and 128: what the parent itself sends is nobody's.
func TestRowsOwnFrames(t *testing.T) {
	for _, name := range []string{"MIX", "PT"} {
		table, err := NewTable(topology(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, typ := range []PacketType{TypeOutgoing, TypeLoopback} {
			frame := make([]byte, 60)
			Broadcast.Put(frame)
			if c, v := table.Ingress(frame, Meta{Type: typ}, nil); len(c) != 0 || v.Reason != OwnFrame {
				t.Errorf("%s: %v: %v %+v", name, typ, c, v)
			}
		}
	}
}

// Rows 156 and 158, 203 and 204: what goes through the broadcast queue.
func TestRowsQueue(t *testing.T) {
	one, two, three := named("01:00:5e:00:01:01"), named("01:00:5e:00:02:02"), named("01:00:5e:00:03:03")
	spec := parseTopology("b1:bridge:01 b2:bridge:02 b3:bridge:03 down:bridge:04:down")
	spec.FilterAll = false
	for i := range spec.Vmacs {
		spec.Vmacs[i].Groups = [][]MAC{{one, two, three}, {two, two, three}, {three}, {one, two, three}}[i]
		spec.Vmacs[i].BCQueueLen = uint32(3 * i)
	}
	const none = 'n' // neither filter has it
	for _, c := range []struct {
		bclim int32
		want  string // of broadcast, one, two, three, unsubscribed: q queued, i inline, n not admitted
	}{{1, "qiqqn"}, {0, "qqqqn"}, {2, "qiiqn"}, {3, "qiiin"}, {-1, "iiiin"}, {-5, "iiiin"}} {
		spec.BCLim = c.bclim
		table, err := NewTable(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.BCQueueLen(); got != 9 {
			t.Errorf("BCQueueLen is %d, the down vmac's is the largest: 9", got)
		}
		for i, dst := range []MAC{Broadcast, one, two, three, named("01:00:5e:7f:00:99")} {
			frame := make([]byte, 60)
			dst.Put(frame)
			_, v := table.Ingress(frame, Meta{Type: TypeMulticast}, nil)
			got := map[bool]byte{true: 'q', false: 'i'}[v.Queued]
			if v.Reason == NoGroup {
				got = none
			}
			if got != c.want[i] {
				t.Errorf("bclim %d, %v: %c, want %c (%+v)", c.bclim, dst, got, c.want[i], v)
			}
		}
	}
	spec.FilterAll, spec.BCLim = true, -1
	spec.Vmacs[0].BCQueueLen = 20
	table, err := NewTable(spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.BCQueueLen(); got != 20 {
		t.Errorf("BCQueueLen is %d, the first vmac's is the largest: 20", got)
	}
	if _, v := table.Ingress(binary.BigEndian.AppendUint64(make([]byte, 0, 60), ^uint64(0))[:60], Meta{}, nil); v.Queued || v.Reason != Flooded {
		t.Errorf("bclim -1 on a promiscuous parent: %+v", v)
	}
}

// order returns the names of the vmacs that get a copy, in order.
func order(t *testing.T, spec *Spec, src, dst MAC) (names []string) {
	t.Helper()
	table, err := NewTable(spec)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 60)
	dst.Put(frame)
	src.Put(frame[6:])
	copies, _ := table.Ingress(frame, Meta{Type: TypeBroadcast}, nil)
	for _, c := range copies {
		if c.Path != Skipped {
			names = append(names, spec.Vmacs[c.Vmac].Name)
		}
	}
	return names
}

// Row 199: source copies, the newest entry first.
func TestRowsSourceOrder(t *testing.T) {
	got := order(t, topology("SOURCES"), named("listed"), named("unknown"))
	if want := []string{"s3", "s2", "s1", "s0"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Rows 200 and 221: ascending bucket, and inside one the last up first.
func TestRowsFloodOrder(t *testing.T) {
	spec := &Spec{Parent: named("parent"), FilterAll: true, BCLim: DefaultBCLim}
	inOne := []MAC{}
	bucket := named("02:00:00:00:01:01").bucket()
	for m := named("02:00:00:00:01:01"); len(inOne) < 3; m += 1 << 24 {
		if m.bucket() == bucket {
			inOne = append(inOne, m)
		}
	}
	for i, m := range inOne {
		spec.Vmacs = append(spec.Vmacs, Vmac{Name: fmt.Sprintf("q%d", i), Mode: Bridge, MAC: m, Up: true, UpSeq: uint64(i)})
	}
	if got, want := order(t, spec, named("ext"), Broadcast), []string{"q2", "q1", "q0"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	spec.Vmacs[0].UpSeq = 9
	if got, want := order(t, spec, named("ext"), Broadcast), []string{"q0", "q2", "q1"}; !slices.Equal(got, want) {
		t.Errorf("after a bounce of q0: got %v, want %v", got, want)
	}
	spec.Vmacs = nil
	for i := range 14 {
		m := MAC(0x9e3779b97f4a7c15*uint64(i+1)) & Broadcast &^ 1
		spec.Vmacs = append(spec.Vmacs, Vmac{Name: fmt.Sprint(i), Mode: Vepa, MAC: m, Up: true})
	}
	last := -1
	for _, n := range order(t, spec, named("ext"), Broadcast) {
		var i int
		if _, err := fmt.Sscan(n, &i); err != nil {
			t.Fatal(err)
		}
		b := slowEthHash(spec.Vmacs[i].MAC)
		if b < last {
			t.Errorf("bucket %d after %d", b, last)
		}
		last = b
	}
}
