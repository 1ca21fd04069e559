package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// endless takes longer than anybody waits.
var endless = `title Endless
vmac b1 mode bridge
vmac n1 mode bridge netns other
` + strings.Repeat("send wire: ext > b1 times 1000000\n", 100)

func TestPlayerCancelled(t *testing.T) {
	players(t, func(t *testing.T, p *Player) {
		s := parse(t, endless)
		ctx, stop := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer stop()
		start := time.Now()
		if _, err := p.Play(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled: %v", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		// The player goes on.
		if wrong := expect(t, p, "title Again\nvmac b1 mode bridge\nsend wire: ext > broadcast\n  b1 stack get broadcast\n"); wrong != nil {
			t.Error(wrong)
		}
	})
}

// Players that run side by side don't hear each other.
func TestPlayersInParallel(t *testing.T) {
	Need(t, NeedNS, NeedTUN, NeedMacvlan)
	before := Measure()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			p := KernelPlayer()
			if i%2 == 1 {
				p = EmulatorPlayer()
			}
			s, err := scenario.Parse("parallel", []byte(playable(p, everything)))
			if err != nil {
				t.Error(err)
				return
			}
			for range 2 {
				r, err := p.Play(context.Background(), s)
				if err != nil {
					t.Error(err)
					continue
				}
				for _, d := range scenario.Check(s, r) {
					t.Errorf("%s, line %d: %s %s", p.Way(), s.Steps[d.Step].Line, d.Who, d.What)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
}

// A topology that can't be made is an error that says why, and leaves nothing.
func TestPlayerRefused(t *testing.T) {
	players(t, func(t *testing.T, p *Player) {
		s := parse(t, "title Twice\nvmac b1 mode passthru\nvmac b2 mode bridge\nsend wire: ext > b1\n")
		if _, err := p.Play(context.Background(), s); err == nil || !strings.Contains(err.Error(), "vmac b2: EINVAL") {
			t.Errorf("%v", err)
		}
	})
}

// playChild plays an endless scenario until a signal, or for a moment and then
// panics. It says which namespaces it has by printing its process number.
func playChild(how string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT)
	defer stop()
	p := EmulatorPlayer()
	if strings.HasPrefix(how, "kernel") {
		p = KernelPlayer()
	}
	s, err := scenario.Parse("endless", []byte(endless))
	if err != nil {
		return 1
	}
	fmt.Println(os.Getpid())
	if strings.HasSuffix(how, "panic") {
		time.AfterFunc(time.Second, func() { panic("as asked") })
	}
	_, err = p.Play(ctx, s)
	if err := p.Close(); err != nil {
		return 1
	}
	if errors.Is(err, context.Canceled) {
		return 130
	}
	return 1
}

// However a player's process ends, its namespaces and what is in them go.
func TestPlayerEnds(t *testing.T) {
	Need(t, NeedNS, NeedTUN, NeedMacvlan)
	for _, way := range []string{"kernel", "emulator"} {
		for _, how := range []string{"SIGINT", "SIGKILL", "panic"} {
			t.Run(way+" "+how, func(t *testing.T) {
				t.Parallel()
				endPlayer(t, way, how)
			})
		}
	}
}

func endPlayer(t *testing.T, way, how string) {
	watch, err := NewNS()
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	rt, err := openRtnl(watch)
	if err != nil {
		t.Fatal(err)
	}
	defer rt.close()
	cmd := exec.Command("/proc/self/exe", "play-child", way+"-"+how)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, _ := out.Read(buf)
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		t.Fatal(err)
	}
	// Parent's, wire's and a vmac's namespace, beside the one that it lives in.
	seen := 0
	err = poll(10*time.Second, func() (bool, error) {
		seen = numbered(rt, pid)
		return seen >= 3, nil
	})
	if err != nil {
		t.Errorf("the player has %d namespaces: %v", seen, err)
	}
	time.Sleep(100 * time.Millisecond)
	switch how {
	case "SIGINT":
		err = cmd.Process.Signal(unix.SIGINT)
	case "SIGKILL":
		err = cmd.Process.Signal(unix.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
	code := exitCode(cmd.Wait())
	if want := map[string]int{"SIGINT": 130, "panic": 2, "SIGKILL": -1}[how]; code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	if err := poll(10*time.Second, func() (bool, error) { return len(nsids(t, rt)) == 0, nil }); err != nil {
		t.Errorf("%d namespaces are left", len(nsids(t, rt)))
	}
}

// numbered gives every namespace that a process has open a number in ours, which
// goes with the namespace, and returns how many there are.
func numbered(rt *rtnl, pid int) int {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir)
	seen := map[string]bool{}
	home, _ := os.Readlink("/proc/self/ns/net")
	for _, e := range entries {
		to, _ := os.Readlink(dir + "/" + e.Name())
		if !strings.HasPrefix(to, "net:[") || to == home || seen[to] {
			continue
		}
		f, err := os.Open(dir + "/" + e.Name())
		if err != nil {
			continue
		}
		attrs := []nl.NetlinkRequestData{rtgen{}, nl.NewRtAttr(unix.NETNSA_FD, nl.Uint32Attr(uint32(f.Fd()))), nl.NewRtAttr(unix.NETNSA_NSID, nl.Uint32Attr(^uint32(0)))}
		if _, err := rt.execute(unix.RTM_NEWNSID, unix.NLM_F_ACK, 0, attrs...); err == nil || errors.Is(err, unix.EEXIST) {
			seen[to] = true
		}
		f.Close()
	}
	return len(seen)
}

type rtgen struct{}

func (rtgen) Len() int          { return 4 }
func (rtgen) Serialize() []byte { return make([]byte, 4) }

// nsids are the numbers of namespaces that still exist.
func nsids(t *testing.T, rt *rtnl) (ids []int32) {
	msgs, err := rt.execute(unix.RTM_GETNSID, unix.NLM_F_DUMP, unix.RTM_NEWNSID, rtgen{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		attrs, err := nl.ParseRouteAttr(m[4:])
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.NETNSA_NSID {
				ids = append(ids, int32(binary.NativeEndian.Uint32(a.Value)))
			}
		}
	}
	return ids
}
