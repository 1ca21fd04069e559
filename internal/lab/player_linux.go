package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/feature"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Player runs scenarios on real devices in namespaces of its own: on the
// kernel's macvlan, or on the emulator. It needs CAP_SYS_ADMIN, CAP_NET_ADMIN
// and CAP_NET_RAW, and the emulator /dev/net/tun. Nothing that it makes has a
// name or outlives the process. Players don't disturb each other; calls of one
// Player's methods wait for each other.
type Player struct {
	way   scenario.Way
	under func() under

	mu   sync.Mutex
	idle []*rig
	free sync.WaitGroup // rigs being cleaned
	back chan *rig
}

// KernelPlayer runs scenarios on the kernel's macvlan driver.
func KernelPlayer() *Player {
	return newPlayer(scenario.Kernel, func() under { return kernelUnder{} })
}

// EmulatorPlayer runs scenarios on umacvlan's engine, in this process.
func EmulatorPlayer() *Player {
	return newPlayer(scenario.Emulator, func() under { return emulatorUnder{NewEmulator()} })
}

// maxIdle is how many rigs are kept for later scenarios.
const maxIdle = 4

func newPlayer(w scenario.Way, u func() under) *Player {
	return &Player{way: w, under: u, back: make(chan *rig, 64)}
}

// Way is scenario.Kernel or scenario.Emulator.
func (p *Player) Way() scenario.Way { return p.way }

// Close deletes everything that was kept for later scenarios.
func (p *Player) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free.Wait()
	p.collect()
	var errs []error
	for _, r := range p.idle {
		errs = append(errs, r.close())
	}
	p.idle = nil
	return errors.Join(errs...)
}

// Play runs one scenario. It fails if the topology can't be made, or ctx ends;
// errors.ErrUnsupported says that the kernel lacks what the emulator needs for it.
//
// A vmac's filter lets some groups through that it hasn't joined, which ones
// depends on a pointer (macvlan_hash_mix). A take that this spoils is repeated
// with other vmacs, so that a result doesn't depend on chance.
func (p *Player) Play(ctx context.Context, s *scenario.Scenario) (*scenario.Result, error) {
	if err := p.lacks(s); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer pin()()
	var spoilt []*take
	defer func() {
		for _, t := range spoilt {
			p.giveBack(t)
		}
	}()
	for n := 1; ; n++ {
		r, err := p.rig(s.Parent)
		if err != nil {
			return nil, err
		}
		t := newTake(ctx, s, r)
		result, err := t.play()
		spoilt = append(spoilt, t)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s on the %s: %w", s.File, p.way, err)
		case !t.leaked || n == maxTakes:
			return result, nil
		case p.way == scenario.Emulator:
			// Its filters depend on how many vmacs its engine has made.
			spoilt = nil
			if err := t.clean(); err != nil || r.spoilt {
				r.close()
			} else {
				p.idle = append([]*rig{r}, p.idle...)
			}
		}
	}
}

// lacks is an errors.ErrUnsupported if the emulator can't do on this kernel what
// happens in the scenario. That vmacs go with a parent that is moved, where
// nobody tells where to, is a test of control's.
func (p *Player) lacks(s *scenario.Scenario) error {
	if p.way != scenario.Emulator || !feature.Off(feature.NewNetns) && !feature.Off(feature.ListenAll) {
		return nil
	}
	for _, step := range s.Steps {
		if c := step.Control; c != nil && c.Who == scenario.Port && c.Attr == scenario.AttrNetns {
			return fmt.Errorf("%s: nobody tells where the parent is moved to: %w", s.File, errors.ErrUnsupported)
		}
	}
	return nil
}

// maxTakes bounds repetition: what happens every time is no chance.
const maxTakes = 10

// rig returns an idle rig with such a parent, or a new one.
func (p *Player) rig(parent scenario.Parent) (*rig, error) {
	p.collect()
	for i, r := range p.idle {
		if r.parent == parent {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return r, nil
		}
	}
	return newRig(p.under(), parent)
}

// giveBack cleans a rig beside the next scenario: the kernel takes its time to
// delete devices.
func (p *Player) giveBack(t *take) {
	p.free.Go(func() {
		r := t.rig
		if err := t.clean(); err != nil || r.spoilt {
			r.close()
			return
		}
		p.back <- r
	})
}

// collect takes cleaned rigs over, the oldest making room.
func (p *Player) collect() {
	for {
		select {
		case r := <-p.back:
			p.idle = append(p.idle, r)
			if len(p.idle) > maxIdle {
				old := p.idle[0]
				p.idle = p.idle[1:]
				p.free.Go(func() { old.close() })
			}
		default:
			return
		}
	}
}

var nextCPU atomic.Uint32

// pin keeps the goroutine on one CPU until the function returned is called.
// What it sends through veth is then received before anything that it sends
// later, and before it runs on: the backlog is per CPU.
func pin() (unpin func()) {
	runtime.LockOSThread()
	var old, one unix.CPUSet
	if unix.SchedGetaffinity(0, &old) != nil {
		return runtime.UnlockOSThread
	}
	n := int(nextCPU.Add(1)) % max(1, old.Count())
	for cpu := 0; ; cpu++ {
		if old.IsSet(cpu) {
			if n == 0 {
				one.Set(cpu)
				break
			}
			n--
		}
	}
	_ = unix.SchedSetaffinity(0, &one)
	return func() {
		_ = unix.SchedSetaffinity(0, &old)
		runtime.UnlockOSThread()
	}
}

// KernelVersion is this machine's, such as "Linux 6.18.44".
func KernelVersion() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "Linux"
	}
	release := unix.ByteSliceToString(u.Release[:])
	if i := strings.IndexFunc(release, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i > 0 {
		release = release[:i]
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + release
}
