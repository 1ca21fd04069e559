package vnet

import "testing"

// What the data path calls for frames that aren't plain; see also
// BenchmarkSegment64K, BenchmarkComplete, BenchmarkCheck and TestAllocs.

func BenchmarkParse(b *testing.B) {
	raw, _ := packet{payload: 1448, gso: 1000}.raw(rng(1))
	b.ReportAllocs()
	for b.Loop() {
		_ = Parse(raw)
	}
}

func BenchmarkCompleteUnmarked(b *testing.B) {
	raw, _ := packet{payload: 1448}.plain(1)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		_ = CompleteUnmarked(raw[HdrLen:])
	}
}

func BenchmarkInsertVLAN(b *testing.B) {
	raw, _ := packet{payload: 1448}.plain(1)
	buf := append(make([]byte, TagRoom), raw...)
	b.ReportAllocs()
	for b.Loop() {
		InsertVLAN(buf, 0x8100, 7)
	}
}
