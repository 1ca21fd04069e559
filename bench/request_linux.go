package bench

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// requestLen is the length of a request and of its answer, without headers.
const requestLen = 64

// echoOrder tells a server where to answer.
type echoOrder struct{ Listen netip.AddrPort }

// askOrder tells a client whom to ask, how often and for how long.
type askOrder struct {
	Server       netip.AddrPort
	Rate         int // requests a second; 0 is one as soon as the last is answered
	Warmup, Last time.Duration
}

// askReport is how long answers took.
type askReport struct {
	Answered, Lost int
	Latency        []Quantile
}

// answerWithin is when a request counts as lost.
const answerWithin = 200 * time.Millisecond

// echo sends every datagram of its first client back.
func echo(in *json.Decoder, out *json.Encoder) error {
	var o echoOrder
	if err := in.Decode(&o); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, address(o.Listen)); err != nil {
		return fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	if err := await(in, out); err != nil {
		return err
	}
	runtime.LockOSThread()
	buf := make([]byte, 2048)
	n, client, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if err := unix.Connect(fd, client); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	for {
		if _, err = rawWrite(fd, buf[:n]); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("answer: %w", err)
		}
		if n, err = rawRead(fd, buf); errors.Is(err, unix.ECONNREFUSED) {
			return nil // the client is gone
		} else if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
	}
}

// ask sends one request at a time and waits for its answer.
func ask(in *json.Decoder, out *json.Encoder) error {
	var o askOrder
	if err := in.Decode(&o); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t := unix.NsecToTimeval(answerWithin.Nanoseconds())
	if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &t), unix.Connect(fd, address(o.Server))); err != nil {
		return fmt.Errorf("connect to %s: %w", o.Server, err)
	}
	nanos := make([]uint32, 0, 1<<20)
	if err := await(in, out); err != nil {
		return err
	}
	runtime.LockOSThread()
	var r askReport
	var request, answer [requestLen]byte
	start := time.Now()
	for n := uint64(1); ; n++ {
		sent := time.Now()
		gone := sent.Sub(start)
		if late := gone - o.Warmup - o.Last; late >= 0 && (len(nanos) > r.Lost || late > patience/2) {
			break
		}
		binary.BigEndian.PutUint64(request[:], n)
		if _, err := rawWrite(fd, request[:]); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		for {
			_, err = rawReadUntil(sent.Add(answerWithin), fd, answer[:])
			if err != nil || binary.BigEndian.Uint64(answer[:]) == n { // else the late answer to a lost one
				break
			}
		}
		took := time.Since(sent)
		if gone >= o.Warmup && len(nanos) < cap(nanos) {
			nanos = append(nanos, uint32(took)) // of a lost one the time that was waited for it
			if err != nil {
				r.Lost++
			}
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("receive: %w", err)
		}
		if o.Rate > 0 {
			time.Sleep(time.Second/time.Duration(o.Rate) - took)
		}
	}
	if r.Answered = len(nanos) - r.Lost; r.Answered == 0 {
		return errors.New("no request was answered")
	}
	r.Latency = latencies(nanos)
	return out.Encode(r)
}
