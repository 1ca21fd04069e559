package bench

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/lab"
)

// frameLen is the smallest Ethernet frame without its checksum.
const frameLen = 60

// framesOrder tells a sender of small frames what to do.
type framesOrder struct {
	Device   int // ifindex, in the sender's namespace
	From, To net.HardwareAddr
	Last     time.Duration
}

// framesReport says how many frames were offered and how many of these the
// device refused at once because it was full.
type framesReport struct {
	Offered, Refused uint64
}

// frameSource sends small frames of an ethertype that no stack answers, flat
// out: batches of 64 through a packet socket that bypasses the device's queueing
// discipline, which is also what trafgen does unless told otherwise.
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
	if err := errors.Join(bounded(fd), unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: o.Device})); err != nil {
		return fmt.Errorf("bind to device %d: %w", o.Device, err)
	}
	frame := make([]byte, frameLen)
	copy(frame, o.To)
	copy(frame[6:], o.From)
	binary.BigEndian.PutUint16(frame[12:], lab.EtherType)
	v := newVolley(frame, 64)
	if err := await(in, out); err != nil {
		return err
	}
	var r framesReport
	for end := time.Now().Add(o.Last); time.Now().Before(end); {
		n, err := v.send(fd)
		r.Offered += uint64(n)
		switch {
		case err == nil && n == len(v.msgs), errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case err == nil, errors.Is(err, unix.ENOBUFS): // stopped at a frame that was refused
			r.Offered++
			r.Refused++
		default:
			return fmt.Errorf("send: %w", err)
		}
	}
	return out.Encode(r)
}
