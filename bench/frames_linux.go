package bench

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// framesOrder tells a sender of frames what to do.
type framesOrder struct {
	Device   int // ifindex, in the sender's namespace
	From     [6]byte
	To       [][6]byte // in turn
	Size     int       // or Super, or Mix
	Rate     int       // frames a second, 0 is flat out
	Numbered bool      // each has a number and a checksum
	Last     time.Duration
}

// framesReport says how many frames were offered and how many of these the
// device refused at once because it was full.
type framesReport struct {
	Offered, Refused, Bytes uint64
}

// batch is how many frames go with one system call.
const batch = 64

// frames are what o sends, over and over: at least a batch.
func (o *framesOrder) frames() (list [][]byte) {
	sizes := lengths(o.Size)
	if o.Size == Super {
		return [][]byte{superFrame(o.To[0], o.From)}
	}
	for len(list) < batch {
		for _, to := range o.To {
			for _, size := range sizes {
				list = append(list, blank(to, o.From, size))
			}
		}
	}
	return list
}

// frameSource sends frames of an ethertype that no stack answers, a batch at a
// time, through a packet socket that bypasses the device's queueing discipline,
// which is also what trafgen does unless told otherwise.
func frameSource(in *json.Decoder, out *json.Encoder) error {
	var o framesOrder
	if err := in.Decode(&o); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return fmt.Errorf("PACKET_QDISC_BYPASS: %w", err)
	}
	if o.Size == Super {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			return fmt.Errorf("PACKET_VNET_HDR: %w", err)
		}
	}
	if err := errors.Join(bounded(fd), unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: o.Device})); err != nil {
		return fmt.Errorf("bind to device %d: %w", o.Device, err)
	}
	v := newVolley(o.frames())
	if err := await(in, out); err != nil {
		return err
	}
	runtime.LockOSThread()
	r, err := o.send(fd, v)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return out.Encode(r)
}

func (o *framesOrder) send(fd int, v *volley) (r framesReport, err error) {
	at, start := 0, time.Now()
	for {
		gone := time.Since(start)
		if gone >= o.Last && r.Offered > 0 { // a busy machine may let it begin only now
			return r, nil
		}
		n := min(batch, len(v.frames)-at)
		if o.Rate > 0 {
			due := int64(gone.Seconds()*float64(o.Rate)) - int64(r.Offered)
			if due <= 0 {
				pause := unix.NsecToTimespec(20_000)
				_ = unix.Nanosleep(&pause, nil)
				continue
			}
			n = min(n, int(due))
		}
		if o.Numbered {
			for i := range n {
				number(v.frames[at+i], r.Offered+uint64(i))
			}
		}
		took, err := v.send(fd, at, n)
		offered := took
		switch {
		case err == nil && took == n, errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case err == nil, errors.Is(err, unix.ENOBUFS): // stopped at a frame that was refused
			offered++
			r.Refused++
		default:
			return r, err
		}
		for _, f := range v.frames[at : at+offered] {
			r.Bytes += uint64(len(f))
		}
		r.Offered += uint64(offered)
		at = (at + offered) % len(v.frames)
	}
}

// inspectOrder tells an inspector which device to look at.
type inspectOrder struct{ Device int }

// inspectReport is what came, and what the inspector itself was too slow for.
type inspectReport struct {
	checkerReport
	Missed uint64
}

// inspect looks at numbered frames until it is told that no more will come.
func inspect(in *json.Decoder, out *json.Encoder) error {
	var o inspectOrder
	if err := in.Decode(&o); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	const room = 64 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room) // as much as the system allows
	}
	wait := unix.NsecToTimeval((50 * time.Millisecond).Nanoseconds())
	if err := errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: o.Device, Protocol: bigEndian(etherType)})); err != nil {
		return fmt.Errorf("listen on device %d: %w", o.Device, err)
	}
	if err := out.Encode(ready{}); err != nil {
		return err
	}
	var last atomic.Bool
	go func() {
		if in.Decode(&ready{}) != nil {
			abandoned()
		}
		last.Store(true)
	}()
	var c checker
	buf := make([]byte, 1<<16)
	for {
		ending := last.Load()
		n, err := unix.Read(fd, buf)
		switch {
		case err == nil:
			c.look(buf[:n])
		case errors.Is(err, unix.EAGAIN):
			if ending {
				stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
				if err != nil {
					return fmt.Errorf("PACKET_STATISTICS: %w", err)
				}
				return out.Encode(inspectReport{c.checkerReport, uint64(stats.Drops)})
			}
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("receive: %w", err)
		}
	}
}

// bigEndian returns v in network byte order, as a sockaddr_ll wants it.
func bigEndian(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
