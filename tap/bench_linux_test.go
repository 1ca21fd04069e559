package tap

import "testing"

func BenchmarkCreateClose(b *testing.B) {
	enterNS(b)
	for b.Loop() {
		d, err := Create(Config{Name: "bench0", MAC: myMAC, MTU: 1400, Alias: "vmac of eth0"})
		if err != nil {
			b.Fatal(err)
		}
		d.Close()
	}
}

func BenchmarkCreate(b *testing.B) {
	enterNS(b)
	var made []*Device
	for b.Loop() {
		d, err := Create(Config{Name: "bench%d", MAC: myMAC, MTU: 1400, Alias: "vmac of eth0"})
		if err != nil {
			b.Fatal(err)
		}
		made = append(made, d)
	}
	b.StopTimer()
	for _, d := range made {
		d.Close()
	}
}

func BenchmarkSetMTUElsewhere(b *testing.B) {
	ns := enterNS(b)
	d := mustCreate(b, Config{Name: "bench0"})
	h := handle(b, ns)
	l, err := h.LinkByName("bench0")
	if err != nil {
		b.Fatal(err)
	}
	if err := h.LinkSetNsFd(l, int(otherNS(b))); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if err := d.SetMTU(1300 + i%2); err != nil {
			b.Fatal(err)
		}
	}
}
