package tap

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/tap/vnet"
)

const maxRaw = vnet.HdrLen + 22 + 65536

// packetSocket is an ETH_P_ALL socket on the device, with virtio headers.
func packetSocket(t testing.TB, index int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	for opt, v := range map[int]int{unix.PACKET_VNET_HDR: 1, unix.PACKET_IGNORE_OUTGOING: 1} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, opt, v); err != nil {
			t.Fatal(err)
		}
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// recv waits for the next frame on a packet socket.
func recv(t testing.TB, fd int) []byte {
	t.Helper()
	buf := make([]byte, maxRaw)
	var n int
	eventually(t, "frame on the packet socket", func() bool {
		var err error
		n, err = unix.Read(fd, buf)
		if err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
		return err == nil
	})
	return buf[:n]
}

// read waits for the next frame from a device that want accepts.
func read(t testing.TB, d *Device, want func(frame []byte) bool) []byte {
	t.Helper()
	buf := make([]byte, maxRaw)
	var n int
	eventually(t, "frame from the device", func() bool {
		var err error
		n, err = d.Read(buf)
		if err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
		return err == nil && want(buf[vnet.HdrLen:n])
	})
	return buf[:n]
}

func anything(frame []byte) bool { return true }

// large tells super-frames from what the stack answers to them.
func large(frame []byte) bool { return len(frame) > 2000 }

func isUDP(frame []byte) bool {
	return len(frame) > 34 && frame[12] == 8 && frame[13] == 0 && frame[23] == unix.IPPROTO_UDP
}

var (
	myMAC   = [6]byte{2, 0, 0, 0, 1, 1}
	peerMAC = [6]byte{2, 0, 0, 0, 2, 2}
	myIP    = net.IPv4(10, 9, 9, 1).To4()
	peerIP  = net.IPv4(10, 9, 9, 2).To4()
)

// upTap makes a device with an address and a neighbour, and sets it up.
func upTap(t testing.TB, h *netlink.Handle, name string, plain bool) (*Device, int) {
	t.Helper()
	d := mustCreate(t, Config{Name: name, MAC: myMAC, Plain: plain})
	plumb(t, h, d)
	index, err := d.Index()
	if err != nil {
		t.Fatal(err)
	}
	return d, index
}

// plumb gives the device an address and a neighbour, in the namespace of h.
func plumb(t testing.TB, h *netlink.Handle, d *Device) {
	t.Helper()
	name, err := d.Name()
	if err != nil {
		t.Fatal(err)
	}
	l, err := h.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SetUp(true); err != nil {
		t.Fatal(err)
	}
	if err := h.AddrReplace(l, &netlink.Addr{IPNet: &net.IPNet{IP: myIP, Mask: net.CIDRMask(24, 32)}}); err != nil {
		t.Fatal(err)
	}
	err = h.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: peerIP, HardwareAddr: peerMAC[:]})
	if err != nil {
		t.Fatal(err)
	}
}

func udpSocket(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 5000}); err != nil {
		t.Fatal(err)
	}
	return fd
}

var peer = &unix.SockaddrInet4{Port: 5001, Addr: [4]byte(peerIP)}

// ethernet starts a raw frame of the device, or of the peer on the wire, up to its
// type.
func ethernet(fromDevice bool, tags ...uint16) []byte {
	src, dst := peerMAC, myMAC
	if fromDevice {
		src, dst = dst, src
	}
	f := append(append(make([]byte, vnet.HdrLen), dst[:]...), src[:]...)
	for _, tci := range tags {
		f = binary.BigEndian.AppendUint16(f, unix.ETH_P_8021Q)
		f = binary.BigEndian.AppendUint16(f, tci)
	}
	return f
}

// super is a TCP or UDP frame over IPv4 with an unfinished checksum; with a
// segment size it is a super-frame.
func super(fromDevice bool, proto byte, payload, gso int, tags ...uint16) []byte {
	raw := append(ethernet(fromDevice, tags...), 8, 0)
	l3 := len(raw)
	hlen := 8
	if proto == unix.IPPROTO_TCP {
		hlen = 20
	}
	src, dst := peerIP, myIP
	if fromDevice {
		src, dst = dst, src
	}
	raw = append(raw, 0x45, 0)
	raw = binary.BigEndian.AppendUint16(raw, uint16(20+hlen+payload))
	raw = append(raw, 0xff, 0xf0, 0x40, 0, 64, proto, 0, 0)
	raw = append(append(raw, src...), dst...)
	ip := raw[l3:]
	binary.BigEndian.PutUint16(ip[10:], ^onesum(ip))

	h := vnet.Hdr{Flags: vnet.FlagNeedsCsum, HdrLen: uint16(l3 - vnet.HdrLen + 20 + hlen), CsumStart: uint16(l3 - vnet.HdrLen + 20)}
	pseudo := onesum(append(append(append([]byte{}, ip[12:20]...), 0, proto), byte((hlen+payload)>>8), byte(hlen+payload)))
	if proto == unix.IPPROTO_TCP {
		raw = append(raw, 0x13, 0x89, 0x13, 0x88, 0xff, 0xff, 0xf0, 0, 0, 0, 0, 1, 0x50, 0x99, 1, 0)
		raw = append(binary.BigEndian.AppendUint16(raw, pseudo), 0, 0)
		h.CsumOffset, h.GSOType = 16, vnet.GSOTCPv4|vnet.GSOECN
	} else {
		raw = append(raw, 0x13, 0x89, 0x13, 0x88)
		raw = binary.BigEndian.AppendUint16(raw, uint16(hlen+payload))
		raw = binary.BigEndian.AppendUint16(raw, pseudo)
		h.CsumOffset, h.GSOType = 6, vnet.GSOUDPL4
	}
	for i := range payload {
		raw = append(raw, byte(i>>8^i))
	}
	h.GSOSize = uint16(gso)
	if gso == 0 {
		h.GSOType = vnet.GSONone
	}
	h.Put(raw)
	return raw
}

func onesum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i]) << 8
		if i+1 < len(b) {
			s += uint32(b[i+1])
		}
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

func TestReadWrite(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	for _, plain := range []bool{false, true} {
		d, index := upTap(t, h, "rw%d", plain)
		sock := packetSocket(t, index)
		buf := make([]byte, maxRaw)
		if _, err := d.Read(buf); err != unix.EAGAIN {
			t.Fatalf("Read with nothing to read: %v", err)
		}
		in := append(ethernet(false), make([]byte, 48)...)
		in[vnet.HdrLen+12] = 0x88
		in[vnet.HdrLen+13] = 0xb5
		if err := d.Write(in); err != nil {
			t.Fatal(err)
		}
		if got := recv(t, sock); !bytes.Equal(got, in) {
			t.Errorf("plain %v: wrote\n%x, seen\n%x", plain, in, got)
		}
		out := slices.Clone(in)
		copy(out[vnet.HdrLen:], ethernet(true)[vnet.HdrLen:])
		if _, err := unix.Write(sock, out); err != nil {
			t.Fatal(err)
		}
		for i := range buf[:vnet.HdrLen] {
			buf[i] = 0xee
		}
		if got := read(t, d, anything); !bytes.Equal(got, out) {
			t.Errorf("plain %v: sent\n%x, read\n%x", plain, out, got)
		}
		for _, n := range []int{0, vnet.HdrLen, vnet.HdrLen + 13} {
			if err := d.Write(in[:n]); err != unix.EINVAL {
				t.Errorf("Write of %d bytes: %v", n, err)
			}
		}
		if err := d.Write(in[:vnet.HdrLen+14]); err != nil {
			t.Errorf("Write of 14 bytes of frame: %v", err)
		}
		if err := d.SetUp(false); err != nil {
			t.Fatal(err)
		}
		if err := d.Write(in); err != unix.EIO {
			t.Errorf("Write while down: %v", err)
		}
		d.Close()
	}
}

// TestPartialChecksum sends from a real socket and to one.
func TestPartialChecksum(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	fd := udpSocket(t)
	for _, plain := range []bool{false, true} {
		d, _ := upTap(t, h, "csum0", plain)
		plain := !d.Offload()
		if err := unix.Sendto(fd, []byte("from the vmac"), 0, peer); err != nil {
			t.Fatal(err)
		}
		raw := read(t, d, isUDP)
		if got := vnet.Parse(raw).NeedsCsum(); got == plain {
			t.Errorf("plain %v: unfinished checksum %v", plain, got)
		}
		if err := vnet.Complete(raw); err != nil {
			t.Fatal(err)
		}
		scratch := slices.Clone(raw[vnet.HdrLen:])
		scratch[40] ^= 0xff
		if err := vnet.CompleteUnmarked(scratch); err != nil || !bytes.Equal(scratch, raw[vnet.HdrLen:]) {
			t.Errorf("plain %v: the checksum is not the one computed from scratch: %v", plain, err)
		}

		in := super(false, unix.IPPROTO_UDP, 100, 0)
		if plain {
			if err := d.Write(in); err != unix.EINVAL {
				t.Errorf("unfinished checksum into a plain device: %v", err)
			}
			if err := vnet.Complete(in); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Write(in); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 200)
		eventually(t, "datagram", func() bool {
			n, err := unix.Read(fd, got)
			return err == nil && n == 100
		})
		d.Close()
	}
}

// TestSuperFrames passes 64 KiB both ways in one piece; on a device without
// headers none is taken, and what the kernel sends comes in segments.
func TestSuperFrames(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	d, index := upTap(t, h, "gso0", false)
	sock := packetSocket(t, index)
	out := super(true, unix.IPPROTO_TCP, 65000, 1448)
	if !d.Offload() {
		if err := d.Write(super(false, unix.IPPROTO_TCP, 65000, 1448)); err != unix.EINVAL {
			t.Errorf("Write of a super-frame: %v", err)
		}
		if _, err := unix.Write(sock, out); err != nil {
			t.Fatal(err)
		}
		const headers = vnet.HdrLen + 14 + 20 + 20
		for left := 65000; left > 0; {
			got := read(t, d, func(raw []byte) bool { return len(raw) > headers })
			left -= len(got) - headers
			if len(got) > vnet.HdrLen+14+1500 || vnet.Parse(got) != (vnet.Hdr{}) || left < 0 {
				t.Fatalf("read %d bytes with %+v, %d left", len(got), vnet.Parse(got), left)
			}
			sum := slices.Clone(got[vnet.HdrLen:])
			sum[50] ^= 0xff
			if err := vnet.CompleteUnmarked(sum); err != nil || !bytes.Equal(sum, got[vnet.HdrLen:]) {
				t.Fatalf("a segment's checksum is not the one computed from scratch: %v", err)
			}
		}
		return
	}
	for _, tags := range [][]uint16{nil, {7}} {
		in := super(false, unix.IPPROTO_TCP, 65000, 1448, tags...)
		if err := d.Write(in); err != nil {
			t.Fatal(err)
		}
		got := recv(t, sock)
		if len(tags) > 0 { // the kernel has taken the tag out
			in = super(false, unix.IPPROTO_TCP, 65000, 1448)
		}
		if !bytes.Equal(got[vnet.HdrLen:], in[vnet.HdrLen:]) || !sameOffload(got, in) {
			t.Errorf("tags %v: wrote %d bytes with %+v, seen %d with %+v", tags, len(in), vnet.Parse(in), len(got), vnet.Parse(got))
		}
	}
	if _, err := unix.Write(sock, out); err != nil {
		t.Fatal(err)
	}
	if got := read(t, d, large); !bytes.Equal(got[vnet.HdrLen:], out[vnet.HdrLen:]) || !sameOffload(got, out) {
		t.Errorf("sent %d bytes with %+v, read %d with %+v", len(out), vnet.Parse(out), len(got), vnet.Parse(got))
	}
}

// sameOffload compares all of two headers but the hint.
func sameOffload(a, b []byte) bool {
	x, y := vnet.Parse(a), vnet.Parse(b)
	x.HdrLen, y.HdrLen = 0, 0
	return x == y
}

// TestSegmentLikeKernel gives the same super-frame to the kernel's segmentation,
// which works for a plain device, and to ours.
func TestSegmentLikeKernel(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	d, index := upTap(t, h, "seg0", true)
	sock := packetSocket(t, index)
	for _, tt := range []struct {
		name         string
		proto        byte
		payload, gso int
		tags         []uint16
	}{
		{"tcp", unix.IPPROTO_TCP, 60000, 1400, nil},
		{"tcp, last one full", unix.IPPROTO_TCP, 14000, 1400, nil},
		{"tcp, odd", unix.IPPROTO_TCP, 5001, 333, nil},
		{"tcp, tagged", unix.IPPROTO_TCP, 9999, 1400, []uint16{42}},
		{"tcp, two tags", unix.IPPROTO_TCP, 9999, 1400, []uint16{42, 43}},
		{"udp", unix.IPPROTO_UDP, 9999, 1400, nil},
		{"udp, tagged", unix.IPPROTO_UDP, 9999, 777, []uint16{42}},
	} {
		raw := super(true, tt.proto, tt.payload, tt.gso, tt.tags...)
		if _, err := unix.Write(sock, raw); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		segs, _, err := vnet.Segment(raw, make([]byte, 1<<18), nil)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for i, seg := range segs {
			if got := read(t, d, anything); !bytes.Equal(got, seg) {
				t.Fatalf("%s: segment %d of %d is\n%x, the kernel's\n%x", tt.name, i, len(segs), seg[:90], got[:90])
			}
		}
		if _, err := d.Read(make([]byte, maxRaw)); err != unix.EAGAIN {
			t.Errorf("%s: the kernel makes more than %d segments", tt.name, len(segs))
		}
	}
}

// TestUSO sends with UDP_SEGMENT: the datagrams come as one super-frame.
func TestUSO(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	d, _ := upTap(t, h, "uso0", false)
	if !slices.Contains(d.Offloads(), "uso4") {
		t.Skip("the kernel has no uso4 on a TAP (6.2)")
	}
	fd := udpSocket(t)
	const udpSegment = 103
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, udpSegment, 1000); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendto(fd, make([]byte, 30500), 0, peer); err != nil {
		t.Fatal(err)
	}
	raw := read(t, d, isUDP)
	if hdr := vnet.Parse(raw); hdr.GSOType != vnet.GSOUDPL4 || hdr.GSOSize != 1000 || vnet.Check(raw) != nil {
		t.Fatalf("header %+v", hdr)
	}
	segs, _, err := vnet.Segment(raw, make([]byte, 1<<17), nil)
	if err != nil || len(segs) != 31 {
		t.Errorf("%d segments, %v", len(segs), err)
	}
}

func TestAllocs(t *testing.T) {
	ns := enterNS(t)
	h := handle(t, ns)
	for _, plain := range []bool{false, true} {
		d, index := upTap(t, h, "al%d", plain)
		sock := packetSocket(t, index)
		out := append(ethernet(true), make([]byte, 50)...)
		in := append(ethernet(false), make([]byte, 50)...)
		buf := make([]byte, maxRaw)
		n := testing.AllocsPerRun(100, func() {
			if _, err := unix.Write(sock, out); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Read(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Read(buf); err != unix.EAGAIN {
				t.Fatal(err)
			}
			if err := d.Write(in); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("plain %v: %v allocations", plain, n)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	ns := enterNS(b)
	d, _ := upTap(b, handle(b, ns), "bw0", false)
	for _, size := range []struct {
		name string
		raw  []byte
	}{
		{"frame=60B", append(ethernet(false), make([]byte, 48)...)},
		{"frame=64K", super(false, unix.IPPROTO_TCP, 65000, 1448)},
	} {
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(len(size.raw) - vnet.HdrLen))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Write(size.raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
