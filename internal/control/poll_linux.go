package control

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/classify"
)

// Joins made below IP (ip maddr, packet sockets) are announced nowhere, and
// before Linux 6.14 none are, so the group lists of up vmacs are read every
// pollEvery; but not more often than so that it takes one part in pollShare of a
// core, which a thousand namespaces do.
const (
	pollEvery = 800 * time.Millisecond
	pollShare = 30
)

// poller reads the group lists of whole namespaces that have an up vmac, in one
// thread that goes from one to the next: 15 µs each, a tenth of what a visit
// costs. A socket that stayed in one would keep it alive.
type poller struct {
	e    *Engine
	last map[uint64][]joined // by namespace
	buf  []byte
}

// joined is one line of a device's group list.
type joined struct {
	index int32
	group classify.MAC
}

func (e *Engine) pollUntil(ctx context.Context) {
	p := &poller{e: e, last: map[uint64][]joined{}, buf: make([]byte, 8<<10)}
	wait := time.NewTimer(pollEvery)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		wait.Reset(max(pollEvery, pollShare*p.poll()))
	}
}

// poll marks what has changed since the last time to be looked at, and returns
// how much of the processor it took.
func (p *poller) poll() (took time.Duration) {
	e := p.e
	in := map[uint64]*device{}
	e.mu.Lock()
	for _, port := range e.state.Ports() {
		for _, v := range port.Vmacs {
			if d := e.devices[v.ID]; v.Up && d != nil {
				in[d.at.netns] = d
			}
		}
	}
	e.mu.Unlock()
	for inode := range p.last {
		if in[inode] == nil {
			delete(p.last, inode)
		}
	}
	if len(in) == 0 {
		return 0
	}
	err := onThread(func() error {
		begin := threadTime()
		for inode, d := range in {
			list, err := p.enter(inode, d)
			if err != nil {
				delete(p.last, inode)
				e.mu.Lock()
				at := d.at
				e.mu.Unlock()
				e.touch(at, nil) // it has moved, or gone
				continue
			}
			for _, index := range changed(p.last[inode], list) {
				e.touch(place{inode, int(index)}, nil)
			}
			p.last[inode] = list
		}
		took = threadTime() - begin
		return nil
	})
	if err != nil {
		e.log.Warn("read group lists", "err", err)
	}
	return took
}

func threadTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var errElsewhere = errors.New("the device is elsewhere")

// enter takes the thread to the namespace in which d should be, and reads it.
func (p *poller) enter(inode uint64, d *device) ([]joined, error) {
	// The descriptor of a device that is still known is open.
	p.e.mu.Lock()
	fd, err := -1, errElsewhere
	if p.e.devices[d.id] == d && d.at.netns == inode {
		fd, err = d.tap.Netns()
	}
	p.e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Ino != inode {
		return nil, errElsewhere
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	return p.read()
}

// read lists the groups of the thread's namespace, in the kernel's order. Unlike
// a dump by rtnetlink it takes no RTNL, for which everybody waits.
func (p *poller) read() (list []joined, err error) {
	fd, err := unix.Open("/proc/thread-self/net/dev_mcast", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	rest := 0 // of a line that a read has cut
	for {
		n, err := unix.Read(fd, p.buf[rest:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return list, err
		}
		b := p.buf[:rest+n]
		for {
			line, after, whole := bytes.Cut(b, []byte{'\n'})
			if !whole {
				break
			}
			if j, ok := parseJoined(line); ok {
				list = append(list, j)
			}
			b = after
		}
		rest = copy(p.buf, b)
	}
}

// parseJoined reads what dev_mc_seq_show writes: index, name, users, global users
// and the address in hexadecimal.
func parseJoined(line []byte) (j joined, ok bool) {
	for index := 0; ; index++ {
		line = bytes.TrimLeft(line, " ")
		word, rest, more := bytes.Cut(line, []byte{' '})
		switch {
		case index == 0:
			for _, c := range word {
				j.index = j.index*10 + int32(c-'0')
			}
		case index == 4 && len(word) == 12:
			var mac [6]byte
			_, err := hex.Decode(mac[:], word)
			j.group = classify.MACFrom(mac[:])
			return j, err == nil
		}
		if !more {
			return j, false
		}
		line = rest
	}
}

// changed lists the devices whose groups differ. A list has a device's lines
// together.
func changed(before, now []joined) (indexes []int32) {
	if slices.Equal(before, now) {
		return nil
	}
	of := func(list []joined, index int32) []joined {
		i := slices.IndexFunc(list, func(j joined) bool { return j.index == index })
		if i < 0 {
			return nil
		}
		n := slices.IndexFunc(list[i:], func(j joined) bool { return j.index != index })
		if n < 0 {
			return list[i:]
		}
		return list[i : i+n]
	}
	for _, list := range [][]joined{before, now} {
		for _, j := range list {
			if !slices.Contains(indexes, j.index) && !slices.Equal(of(before, j.index), of(now, j.index)) {
				indexes = append(indexes, j.index)
			}
		}
	}
	return indexes
}
